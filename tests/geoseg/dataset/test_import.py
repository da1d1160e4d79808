"""`python -m geoseg.dataset import`: every layout becomes the same data set."""

import shutil

import numpy as np
import pytest

from geoseg import PatchDataset
from geoseg.dataset import importing
from geoseg.dataset.__main__ import main
from geoseg.dataset.challenge import write_masks
from geoseg.synthetic import make_synthetic_dataset
from geoseg.twins import join_twins
from tests.helpers.patch_folders import assert_same
from tests.helpers.synthetic_data import exit_code

SIZE = (36, 36)


@pytest.fixture(scope="module")
def patches():
    """Return the images and masks of one well."""
    dataset = make_synthetic_dataset(1, 8, seed=4)
    assert dataset.masks.any()
    return dataset.images.numpy(), dataset.masks.numpy()


def run(source, out, *options) -> PatchDataset:
    assert main(["import", str(source), "--out", str(out), *map(str, options)]) == 0
    return PatchDataset.load(out, cache=False)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_folders(root, patches, images="images_train", labels="y_train"):
    for i, (image, mask) in enumerate(zip(*patches, strict=True)):
        save(root / images / f"well_1_patch_{i}.npy", image)
        if labels:
            save(root / labels / f"well_1_patch_{i}.npy", mask)


def write_csv(root, patches):
    write_folders(root, patches, labels=None)
    write_masks(root / "y_train.csv", {f"well_1_patch_{i}": m for i, m in enumerate(patches[1])})


def write_stack(root, patches):
    save(root / "X_train.npy", patches[0][..., None])
    save(root / "y_train.npy", patches[1][..., None] * 255)


def write_stack_and_csv(root, patches):
    write_csv(root, patches)
    shutil.rmtree(root / "images_train")
    save(root / "X_train.npy", patches[0])


def write_logs(root, patches):
    save(root / "X" / "well_1.npy", patches[0].reshape(-1, 36))
    save(root / "y" / "well_1.npy", patches[1].reshape(-1, 36))


def write_twins(root, patches):
    for folder, arrays in zip("Xy", patches, strict=True):
        logs = [join_twins(pair) for pair in arrays.reshape(-1, 2, *SIZE)]
        save(root / folder / "any name.npy", np.concatenate([*logs, np.zeros((7, 72))]))


def write_data_set(root, patches):
    write_folders(root / "data" / "data", patches, "train/images", "train/labels")


LAYOUTS = [
    write_folders,
    write_csv,
    write_stack,
    write_stack_and_csv,
    write_logs,
    write_twins,
    write_data_set,
]


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_becomes_the_same_data_set(write, patches, tmp_path):
    write(tmp_path / "source", patches)
    (tmp_path / "source/.DS_Store").touch()
    dataset = run(tmp_path / "source", tmp_path / "out")
    assert dataset.names == tuple(f"train/images/well_1_patch_{i}.npy" for i in range(8))
    assert np.array_equal(dataset.images, patches[0])
    assert np.array_equal(dataset.masks, patches[1])
    assert dataset.labelled.all()
    assert dataset.rejections == ()


def test_patches_are_copied_byte_for_byte_and_validation_wells_are_chosen(cases, tmp_path, capsys):
    source = cases / "21-challenge-layout"
    dataset = run(source, tmp_path / "out", "--validation", 2, 3)
    for path in (tmp_path / "out").glob("*/images/*.npy"):
        folder = "images_test" if "test" in path.parts else "images_train"
        assert path.read_bytes() == (source / folder / path.name).read_bytes()
    assert set(dataset.wells[dataset.in_splits("validation")].tolist()) == {2, 3}
    assert set(dataset.wells[dataset.in_splits("train")].tolist()) == {1}
    assert "validation/: 10 patches, 10 labelled" in capsys.readouterr().out
    assert main(["import", str(source), "--out", str(tmp_path / "no"), "--validation", "9"]) == 2
    assert "there is no well 9 in train/; the wells are [1, 2, 3]" in capsys.readouterr().err


def test_sections_are_renumbered_with_gaps_and_a_table_of_names(patches, tmp_path):
    for i, image in enumerate(patches[0]):
        save(tmp_path / "in" / f"well_3_section_{i // 3}_patch_{i % 3 + 4}.npy", image)
    dataset = run(tmp_path / "in", tmp_path / "out")
    assert dataset.indices.tolist() == [4, 5, 6, 14, 15, 16, 24, 25]
    assert np.array_equal(dataset.images, patches[0])
    lines = (tmp_path / "out/names.csv").read_text().splitlines()
    assert lines[0] == "old,new"
    assert lines[4] == "well_3_section_1_patch_4,train/images/well_3_patch_14.npy"


def test_stitched_logs_are_cut_into_the_same_patches(patches, tmp_path):
    write_data_set(tmp_path, patches)
    (tmp_path / "data/data/train/labels/well_1_patch_3.npy").unlink()
    save(tmp_path / "data/data/test/images/well_1_patch_0.npy", patches[0][5])
    assert main(["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "logs"), "--twins"]) == 0
    dataset = run(tmp_path / "logs", tmp_path / "out")
    assert np.array_equal(dataset.images[dataset.in_splits("test")][0], patches[0][5])
    kept = [i for i in range(8) if i != 3]  # without a label
    train = dataset.select(dataset.in_splits("train"))
    assert train.indices.tolist() == kept
    assert np.array_equal(train.images, patches[0][kept])
    assert np.array_equal(train.masks, patches[1][kept])


def test_dry_run_writes_nothing_and_an_interrupt_leaves_nothing(patches, tmp_path, monkeypatch):
    write_csv(tmp_path / "in", patches)
    before = sorted(tmp_path.iterdir())
    command = ["import", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main([*command, "--dry-run"]) == 0
    assert sorted(tmp_path.iterdir()) == before

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(importing.shutil, "copyfile", fail)
    assert exit_code(main, command) != 0
    assert sorted(tmp_path.iterdir()) == before


def test_unused_files_and_assumptions_are_said(patches, tmp_path, capsys):
    write_stack(tmp_path / "in", patches)
    (tmp_path / "in/readme.txt").touch()
    run(tmp_path / "in", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "readme.txt is not used." in printed
    assert "The 8 patches of the stack X_train.npy are taken for one well." in printed
    assert "255 was taken for grooves" in printed
    assert "No well is in validation/" in printed


def turn_csv(root, patches):
    write_csv(root, (patches[0], patches[1].swapaxes(1, 2)))


def turn_log(root, patches):
    write_logs(root, patches)
    save(root / "y" / "well_1.npy", patches[1].reshape(-1, 36).T)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda root, _: root.mkdir(), "holds ; expected images_train/"),
        (lambda root, _: save(root / "x/line.npy", np.ones(3)), "has the shape (3,)"),
        (
            lambda root, p: [w(root, p) for w in (write_csv, write_stack)],
            "holds X_train.npy and im",
        ),
        (turn_csv, "y_train.csv lie across the pipe"),
        (turn_log, "well_1.npy has the size 36x288, its image 288x36: it fits only transposed"),
        (lambda root, p: write_stack(root, (p[0], p[1][:3])), "has 8 patches but 3 masks"),
        (lambda root, _: save(root / "X/short.npy", np.ones((9, 36))), "has 9 rows, fewer than"),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(write, words, patches, tmp_path, capsys):
    write(tmp_path / "in", patches)
    assert main(["import", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_import_of_an_import_changes_nothing(cases, tmp_path):
    first = run(cases / "21-challenge-layout", tmp_path / "one", "--validation", 3)
    assert_same(run(tmp_path / "one", tmp_path / "two"), first)

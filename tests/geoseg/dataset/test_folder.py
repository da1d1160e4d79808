"""Read a folder of patches: what is kept, and what is rejected and why."""

import errno
import os
import shutil

import numpy as np
import pytest
import torch

from geoseg.dataset import DatasetError, PatchDataset, Rejection
from tests.helpers.patch_folders import assert_same, break_rules, make_image, write_patch


def test_patches_are_ordered_by_split_well_and_depth(root):
    dataset = PatchDataset.load(root)
    assert len(dataset) == 22
    assert dataset.images.shape == dataset.masks.shape == (22, 4, 6)
    assert dataset.wells.tolist() == [1] * 12 + [2] * 3 + [13] * 5 + [1] * 2
    assert dataset.indices.tolist() == [*range(12), *range(3), *range(5), *range(2)]
    assert dataset.splits == ("train",) * 15 + ("validation",) * 5 + ("test",) * 2
    assert dataset.labelled.tolist() == [True] * 20 + [False] * 2
    assert dataset.names[0] == "train/images/well_1_patch_0.npy"
    assert dataset.names[-1] == "test/images/well_1_patch_1.npy"
    for i, name in enumerate(dataset.names):
        np.testing.assert_array_equal(dataset.images[i], np.load(root / name))
        label = root / name.replace("images", "labels")
        mask = np.load(label) if label.exists() else np.zeros((4, 6))
        np.testing.assert_array_equal(dataset.masks[i], mask)
    assert dataset.rejections == ()
    assert dataset.rejection_summary() == "22 patches kept, 0 files rejected"


def test_some_splits_are_selected_with_their_rejections(root):
    (root / "test/images/junk.txt").touch()
    (root / "train/images/junk.txt").touch()
    dataset = PatchDataset.load(root, ["test", "validation"])
    assert set(dataset.splits) == {"validation", "test"}
    assert [rejection.name for rejection in dataset.rejections] == ["test/images/junk.txt"]


def test_patch_with_more_than_half_nulls_is_rejected(root):
    half, more = make_image(1, 20), make_image(1, 21)
    half.flat[:12] = -999.25
    more.flat[:13] = np.nan
    write_patch(root, "test", 1, 20, half)
    write_patch(root, "test", 1, 21, more)
    dataset = PatchDataset.load(root)
    assert dataset.names[-1] == "test/images/well_1_patch_20.npy"
    assert torch.isnan(dataset.images[-1]).sum() == 12
    assert dataset.rejections == (
        Rejection(
            "test/images/well_1_patch_21.npy",
            "54.2% of its pixels are null, more than 50%",
            "mostly null",
        ),
    )


def test_every_broken_rule_is_a_rejection(root):
    before = PatchDataset.load(root)
    broken = break_rules(root)
    dataset = PatchDataset.load(root)
    assert dataset.names == before.names
    assert [rejection.name for rejection in dataset.rejections] == sorted(broken)
    for rejection in dataset.rejections:
        kind, reason = broken[rejection.name]
        assert rejection.kind == kind
        assert reason in rejection.reason


def test_summary_counts_each_rule_with_examples(root):
    break_rules(root)
    (root / "train/images/Thumbs.db").touch()  # ignored
    for name in ("a.npy", "b.npy"):
        (root / "train/images" / name).touch()
    lines = PatchDataset.load(root).rejection_summary().splitlines()
    assert lines[:3] == [
        "22 patches kept, 13 files rejected",
        "  4 misnamed",
        "    test/images/well_??1.npy: is not named well_K_patch_I.npy; rename or remove it",
    ]
    assert (
        sum(line.endswith("is not named well_K_patch_I.npy; rename or remove it") for line in lines)
        == 3
    )
    assert "  1 unusable label" in lines


def test_upper_case_hidden_files_and_a_surplus_folder_change_nothing(root, tmp_path):
    before = PatchDataset.load(root)
    for path in [*root.rglob("well_*.npy")]:
        copy = tmp_path / "unpacked/data" / path.relative_to(root).as_posix().upper()
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        (copy.parent / f"._{path.name}").touch()
        (copy.parent / "desktop.ini").touch()
    (tmp_path / "unpacked/__MACOSX").mkdir()
    for folder in (tmp_path / "unpacked", tmp_path / "unpacked/data"):
        assert_same(PatchDataset.load(folder), before)
    again = PatchDataset.load(tmp_path / "unpacked", ["validation"])
    assert set(again.splits) == {"validation"}


def test_names_that_differ_in_case_alone_are_rejected_or_refused(root):
    shutil.copy(root / "train/images/well_1_patch_3.npy", root / "train/images/WELL_1_PATCH_3.npy")
    rejections = PatchDataset.load(root).rejections
    assert [(r.name, r.kind) for r in rejections] == [
        ("train/images/WELL_1_PATCH_3.npy", "name more than once"),
        ("train/images/well_1_patch_3.npy", "name more than once"),
        ("train/labels/well_1_patch_3.npy", "label without an image"),
    ]
    (root / "Train").mkdir()
    with pytest.raises(DatasetError, match="holds Train and train; keep one of them"):
        PatchDataset.load(root)


def test_stack_in_a_folder_is_rejected_with_the_remedy(root):
    np.save(root / "train/images/well_1_patch_3.npy", np.ones((5, 4, 6)))
    (rejection,) = PatchDataset.load(root).rejections
    assert rejection.reason.startswith("is a stack of 5 patches; lay it out with python -m")


def test_labels_of_0_and_255_are_read_and_said(root, cases):
    before = PatchDataset.load(root)
    for path in root.glob("*/labels/*.npy"):
        np.save(path, np.load(path) * 255)
    dataset = PatchDataset.load(root)
    assert dataset.masks.equal(before.masks)
    notes = [note for note in dataset.notes if "mask" in note]
    assert notes == [
        f"{split}/labels: {n} of {n} masks: The mask holds 0 and 255, so 255 was taken for grooves."
        for split, n in (("train", 15), ("validation", 5))
    ]
    other = PatchDataset.load(root, ["test"]).notes
    assert other
    assert all(note.startswith("test/") for note in other)
    assert PatchDataset.load(cases / "20-mask-0-255/data", cache=False).masks.any(2).any(1).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: shutil.rmtree(root), "is not a folder; expected <root>/{train,"),
        (lambda root: [shutil.rmtree(path) for path in root.iterdir()], "holds no patches"),
        (lambda root: [path.unlink() for path in root.rglob("*.npy")], "holds no patches"),
        (
            lambda root: [path.write_bytes(b"") for path in root.rglob("*.npy")],
            r"no usable patch .* 22 files rejected, the first test/.*\(is empty",
        ),
        (
            lambda root: (shutil.rmtree(root / "test/images"), (root / "test/images").touch()),
            r"cannot be listed \(.*\); it must be a folder that you may read",
        ),
    ],
)
def test_folder_without_patches_is_an_error(root, make, words):
    make(root)
    with pytest.raises(DatasetError, match=words):
        PatchDataset.load(root)


def test_folder_without_read_permission_is_an_error(root, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)  # root, who may run the tests, has all permissions
    with pytest.raises(DatasetError, match=r"cannot be listed \(Permission denied\)"):
        PatchDataset.load(root)


def test_unknown_split_error_lists_the_splits(root):
    with pytest.raises(DatasetError, match=r"no split 'dev' .* train, validation, test"):
        PatchDataset.load(root, ["dev"])


def test_progress_of_reading_is_shown_on_a_terminal(root, monkeypatch, capsys):
    PatchDataset.load(root, cache=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    PatchDataset.load(root, cache=False, progress=False)
    assert capsys.readouterr().err == ""
    PatchDataset.load(root, cache=False)
    assert "100%" in capsys.readouterr().err


def test_damaged_real_patches_are_rejected_or_have_nulls(real):
    dataset = PatchDataset.load(real / "patches", cache=False)
    assert [(rejection.name, rejection.kind) for rejection in dataset.rejections] == [
        ("test/images/well_15_patch_202.npy", "mostly null"),
        ("test/images/well_3_patch_459.npy", "null everywhere"),
        ("test/images/well_3_patch_460.npy", "null everywhere"),
    ]
    nulls = torch.isnan(dataset.images).sum((1, 2)).tolist()
    kept = {name: count for name, count in zip(dataset.names, nulls, strict=True) if count}
    assert kept == {
        "validation/images/well_2_patch_110.npy": 1,
        "validation/images/well_2_patch_116.npy": 1,
        "validation/images/well_2_patch_117.npy": 2,
        "test/images/well_1_patch_5.npy": 2,
        "test/images/well_1_patch_9.npy": 14,
        "test/images/well_1_patch_14.npy": 5,
        "test/images/well_1_patch_18.npy": 1,
        "test/images/well_1_patch_23.npy": 36,
        "test/images/well_2_patch_0.npy": 145,
        "test/images/well_2_patch_1.npy": 6,
        "test/images/well_2_patch_10.npy": 34,
        "test/images/well_3_patch_24.npy": 35,
        "test/images/well_3_patch_98.npy": 78,
        "test/images/well_5_patch_1935.npy": 382,
        "test/images/well_15_patch_201.npy": 11,
    }


def test_real_labelled_patches(real):
    dataset = PatchDataset.load(real / "patches", cache=False)
    assert repr(dataset) == "PatchDataset(83 patches of 36x36: 53 validation, 30 test)"
    labelled = dataset.select(dataset.labelled)
    assert set(labelled.splits) == {"validation"}
    counts = {
        well: int((labelled.wells == well).sum()) for well in labelled.wells.unique().tolist()
    }
    assert counts == {1: 1, 2: 25, 3: 3, 7: 2, 13: 22}
    for image, mask, name in zip(labelled.images, labelled.masks, labelled.names, strict=True):
        stored = np.load(real / "patches" / name)
        np.testing.assert_array_equal(image.nan_to_num(-999.25), stored)
        label = np.load(real / "patches" / name.replace("images", "labels"))
        np.testing.assert_array_equal(mask, label)

"""`python -m geoseg.dataset check`: the table, the problems and the picture."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoseg import read_mask, read_patch
from geoseg.dataset.__main__ import main
from geoseg.twins import split_twins, twin_correlation
from tests.helpers.synthetic_data import exit_code, make_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write wells 1 and 3, twins, and 2 to train; well 4 to validate."""
    return make_data(tmp_path_factory.mktemp("set") / "data", 4, 96)


@pytest.fixture
def folder(data, tmp_path):
    return Path(shutil.copytree(data, tmp_path / "data"))


def move_to_validation(root: Path, name: str) -> None:
    for kind in ("images", "labels"):
        shutil.move(root / "train" / kind / name, root / "validation" / kind / name)


def check(folder, capsys, *options) -> tuple[int, str]:
    code = main(["check", str(folder), *map(str, options)])
    return code, capsys.readouterr().out


def get_row(output: str, split: str, well: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.split()[:2] == [split, well]]
    return line.split()[2:]


def test_sound_folder_has_no_problem(data, capsys):
    code, output = check(data, capsys)
    assert code == 0
    assert "No problem found" in output
    assert get_row(output, "train", "1")[:5] == ["24", "0", "72", "in", "twins"]
    assert get_row(output, "train", "2")[:3] == ["24", "0", "36"]
    masks = [read_mask(p) for p in (data / "validation" / "labels").glob("well_4_*.npy")]
    groove, pixels = np.mean([m.any() for m in masks]), np.mean(masks)
    row = get_row(output, "validation", "4")
    assert row[-6:] == [f"{groove:.0%}", f"{pixels:.1%}", "0", "0", "0", "0"]
    assert get_row(output, "train", "2")[-4:] == [
        "-",
        "-",
        "-",
        "0",
    ]  # only validation patches leak
    assert get_row(output, "train", "all")[0] == "72"
    assert not list(data.glob(".*"))  # the check changes nothing


def test_well_of_several_units_is_named(folder, capsys):
    for index in (3, 5, 8):
        path = folder / "train" / "images" / f"well_2_patch_{index}.npy"
        np.save(path, np.load(path) * 25.4)
    code, output = check(folder, capsys)
    assert code == 0
    said = "train/images: The patches of well_2 have different units, 21 in inch and 3 in mm; check"
    assert said in output
    assert "well_1 have different" not in output
    assert "train/images: Unit: 3 of 72 patches; the first: " in output


def test_nulls_are_no_problem_and_missing_patches_are_counted(folder, capsys):
    names = [folder / "train" / "images" / f"well_2_patch_{i}.npy" for i in (3, 5)]
    np.save(names[0], np.full((36, 36), -999.25, np.float32))
    half = read_patch(names[1])
    half[:9] = np.nan
    np.save(names[1], half)
    code, output = check(folder, capsys)
    assert code == 0
    assert get_row(output, "train", "2")[:2] == ["23", "1"]
    assert float(get_row(output, "train", "2")[3].rstrip("%")) >= 1.0
    assert "null everywhere" in output


def test_well_in_train_and_validation_is_a_leak(folder, capsys):
    """Move patch 8 of well 1: its twin 9 stays in train, and so do neighbours above and below."""
    move_to_validation(folder, "well_1_patch_8.npy")
    for kind in ("images", "labels"):  # the same patch in both splits
        name = f"{kind}/well_2_patch_0.npy"
        shutil.copy(folder / "train" / name, folder / "validation" / name)
    code, output = check(folder, capsys)
    assert code == 1
    assert (
        "both hold patches of well_1, well_2, so the score is biased: of 26 validation patches 1 "
        "are in train/ too, 1 have their twin there and 2 a neighbour" in output
    )
    assert get_row(output, "validation", "1")[-4:] == ["0", "1", "1", "0"]
    assert get_row(output, "validation", "2")[-4:] == ["1", "0", "1", "0"]
    assert get_row(output, "validation", "4")[-4:] == ["0", "0", "0", "0"]
    assert get_row(output, "validation", "all")[-4:] == ["1", "1", "2", "0"]
    assert "looks like" not in output


def test_renamed_wells_are_found(folder, capsys):
    """Add a twin of a well with little noise and a copy in other units."""
    noise = np.random.default_rng(1).normal(0, 0.01, (36, 72))
    quiet = np.mean([np.roll(noise, shift, 1) for shift in range(6)], axis=0, dtype=np.float32)
    for name, side in (("train/{}/well_50_patch_4", 0), ("validation/{}/well_77_patch_0", 1)):
        np.save(folder / f"{name.format('images')}.npy", quiet[:, side::2])
        np.save(folder / f"{name.format('labels')}.npy", np.zeros((36, 36)))
    copied = folder / "test" / "images" / "well_1_patch_0.npy"
    copied.parent.mkdir(parents=True)
    np.save(copied, 25.4 * read_patch(folder / "train" / "images" / "well_2_patch_6.npy"))
    code, output = check(folder, capsys)
    assert code == 1
    assert (
        "well 77 of validation/ looks like the pipe of well 50 of train/: 1 of its 1 patches are "
        "copies or twins (correlation up to 0.9" in output
    )
    assert "leave out both or neither" in output
    assert (
        "well 1 of test/ looks like the pipe of well 2 of train/: 1 of its 1 patches are copies or "
        "twins (correlation up to 1.00: test/images/well_1_patch_0.npy and "
        "train/images/well_2_patch_6.npy), so assume that all are; a score on it is biased"
        in output
    )
    assert get_row(output, "validation", "77")[-4:] == ["0", "0", "0", "1"]
    assert get_row(output, "train", "2")[-1] == "1"


def copy_well(root: Path, well: int, to: int, split="train") -> None:
    for path in [*(root / "train").glob(f"*/well_{well}_*")]:
        name = path.name.replace(f"well_{well}_", f"well_{to}_")
        shutil.copy(path, root / split / path.parent.name / name)


def test_duplicate_wells_in_train_are_found(folder, capsys):
    """Check a copy in one split: if the well is left out, its copy still is in training."""
    copy_well(folder, 2, 50)
    code, output = check(folder, capsys)
    assert code == 1
    assert "well 50 of train/ looks like the pipe of well 2 of train/: 24 of its 24 patch" in output
    assert get_row(output, "train", "50")[-1] == get_row(output, "train", "2")[-1] == "24"


@pytest.mark.parametrize("at_all_depths", [True, False])
def test_moderate_correlation_must_hold_at_all_depths(at_all_depths, folder, capsys):
    """Check that one similar patch, which lattices may cause, is not a duplicate well."""
    rng = np.random.default_rng(2)
    for i in range(12):
        one, other = rng.normal(0, 0.01, (2, 36, 36))
        if at_all_depths or i == 5:
            other = one + 0.95 * other
        for name, image in (("train/{}/well_50", one), ("validation/{}/well_60", other)):
            np.save(folder / f"{name.format('images')}_patch_{i}.npy", image.astype(np.float32))
            np.save(folder / f"{name.format('labels')}_patch_{i}.npy", np.zeros((36, 36)))
    code, output = check(folder, capsys)
    assert code == int(at_all_depths)
    assert ("well 60 of validation/ looks like the pipe of well 50" in output) is at_all_depths


def test_real_twins_under_two_names_are_found(real, folder, capsys):
    """Check that well 7 is found, though noise hides most of its patches."""
    log = read_patch(real / "wells" / "well_7.npy")[: 36 * 200]
    even, odd = split_twins(log).reshape(2, -1, 36, 36)
    for name, patches in (("train/{}/well_7", even), ("validation/{}/well_60", odd)):
        for i, patch in enumerate(patches):
            np.save(folder / f"{name.format('images')}_patch_{i}.npy", patch)
            np.save(folder / f"{name.format('labels')}_patch_{i}.npy", np.zeros((36, 36)))
    code, output = check(folder, capsys)
    assert code == 1
    assert "well 60 of validation/ looks like the pipe of well 7 of train/" in output
    assert 20 < int(get_row(output, "validation", "60")[-1]) < 150


@pytest.mark.parametrize("rows", [36, 1])
def test_patches_without_detail_are_not_compared(rows, tmp_path, capsys):
    """Check patches of one row, and constant ones, which may occur in any pipe."""
    for split, well in (("train", 1), ("validation", 3)):
        for kind, array in (("images", np.zeros((rows, 36))), ("labels", np.eye(rows, 36))):
            folder = tmp_path / split / kind
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(2):
                np.save(folder / f"well_{well}_patch_{i}.npy", array)
    code, output = check(tmp_path, capsys)
    assert code == 0
    assert get_row(output, "train", "1")[2] == "36?"
    assert "?: this well has no neighbouring patches" in " ".join(output.split())


def test_copies_with_nulls_are_found(folder, capsys):
    """Set nearly half of the pixels to null."""
    rng = np.random.default_rng(0)
    for path in folder.glob("*/images/*.npy"):
        image = read_patch(path)
        image[rng.random(image.shape) < 0.45] = np.nan
        np.save(path, image)
    assert check(folder, capsys)[0] == 0
    for i in range(5):
        for part in ("images", "labels"):
            name = folder / "{}" / part / "well_{}_patch_{}.npy"
            shutil.copy(str(name).format("train", 2, i), str(name).format("validation", 99, i))
    code, output = check(folder, capsys)
    assert code == 1
    assert "well 99 of validation/ looks like the pipe of well 2 of train/: 5 of its 5" in output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: (r / "train/images/well_2_patch_1.npy").write_bytes(b"x"), "unreadable image"),
        (lambda r: (r / "train/labels/well_2_patch_1.npy").unlink(), "without a label"),
        (lambda r: (r / "train/images/notes.txt").touch(), "misnamed"),
        (lambda r: shutil.rmtree(r / "validation"), "train with --leave-out, --fold or"),
        (lambda r: shutil.rmtree(r / "train/labels"), "train with --leave-out, --fold or"),
        (
            lambda r: [shutil.rmtree(r / split / "labels") for split in ("train", "validation")],
            "no patch of train/ or validation/ has a label, so there is nothing to train on; add",
        ),
        (
            lambda r: [np.save(p, np.zeros((36, 36))) for p in r.glob("validation/labels/*.npy")],
            "validation/ has no groove",
        ),
    ],
)
def test_problem_for_training_is_reported(folder, change, words, capsys):
    change(folder)
    code, output = check(folder, capsys)
    assert code == 1
    problems = [line for line in output.splitlines() if line.startswith("Problem: ")]
    assert [words in line for line in problems].count(True) == 1, output
    assert get_row(output, "train", "all")


def test_picture_shows_every_well_and_its_splits(folder, tmp_path, capsys):
    move_to_validation(folder, "well_2_patch_0.npy")
    code, output = check(folder, capsys, "--picture", tmp_path / "new" / "wells.png")
    assert code == 1
    assert "wells.png" in output
    picture = np.asarray(Image.open(tmp_path / "new" / "wells.png"))
    assert {TRAIN, VALIDATION} <= get_colours(picture[:-40])  # without the legend
    # Two wells of 36 rows and two of 72, each with a bar of 6 and a gap of 14, then the legend.
    assert picture.shape[0] == 2 * 36 + 2 * 72 + 4 * 20 + 47
    alarm = (picture == (205, 20, 20)).all(-1)
    assert alarm[:, :200].any()
    assert not alarm[:, 200:].any()


TRAIN, VALIDATION, BOTH = (64, 125, 255), (245, 158, 11), (255, 56, 50)


def get_colours(picture) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, picture.shape[-1]).tolist()}


def draw_picture(root: Path, patches, rows=36) -> np.ndarray:
    """Return the picture, without its legend, of patches (split, well, index)."""
    rng = np.random.default_rng(3)
    for split, well, index in patches:
        folder = root / split / "images"
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.normal(0, 0.01, (rows, 36)).astype(np.float32)
        np.save(folder / f"well_{well}_patch_{index}.npy", image)
    assert main(["check", str(root), "--picture", str(root / "wells.png")]) == 1  # no labels
    return np.asarray(Image.open(root / "wells.png"))[:-40]


def test_pixel_of_two_splits_has_the_colour_of_both(tmp_path, monkeypatch):
    """Draw 40 rows per pixel, so that most pixels have rows of both splits."""
    monkeypatch.setattr("geoseg.dataset.check.picture.WIDTH", 120)
    patches = [("train" if i % 2 else "validation", 1, i) for i in range(250)]
    picture = draw_picture(tmp_path, patches, rows=20)
    both, train = (picture == BOTH).all(-1).sum(), (picture == TRAIN).all(-1).sum()
    assert both > 50 * max(1, train)


def test_long_gaps_are_shortened(tmp_path):
    patches = [("train", 1, index) for index in (0, 500, 501, 40_000)]
    picture = draw_picture(tmp_path, patches)
    bar = (picture == TRAIN).all(-1).any(0)
    assert bar.sum() == 4 * 36 * 3  # six patches are drawn at triple size
    starts = np.flatnonzero(np.diff(bar.astype(int)) == 1)
    assert np.diff(starts).tolist() == [72 * 3, 108 * 3]


def test_long_name_is_not_cut(tmp_path):
    """Check that the names are left of the logs."""
    picture = draw_picture(tmp_path, [("test", 123456789, 0), ("train", 1, 0)])
    left = int(np.flatnonzero((picture == TRAIN).all(-1).any(0))[0])
    assert left > 110
    assert (picture[:, left - 12 : left] == 255).all()


def test_huge_gaps_take_little_memory(tmp_path):
    patches = [("train", well, index) for well in range(6) for index in (0, 1, 51_000)]
    tracemalloc.start()
    draw_picture(tmp_path, patches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_wrong_arguments_are_errors(tmp_path, data, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main(["check", str(data), "--picture", "/dev/null/wells.png"]) == 2
    assert "/dev/null/wells.png" in capsys.readouterr().err
    assert exit_code(main, ["check", str(data), "--picture", str(tmp_path / "wells.jpg")]) == 2
    assert "is not a PNG; give FILE.png" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit, match="2"):
        main(["frobnicate"])
    with pytest.raises(SystemExit, match="0"):
        main(["check", "--help"])


def test_real_twins_correlate_and_neighbours_do_not(real):
    for well, twins in ((2, True), (7, True), (11, False), (13, False)):
        log = read_patch(real / "wells" / f"well_{well}.npy")
        rows = len(log) // 72 * 72
        if twins:
            even, odd = split_twins(log[:rows]).reshape(2, -1, 36, 36)
        else:
            even, odd = log[:rows].reshape(-1, 2, 36, 36).swapaxes(0, 1)
        assert (twin_correlation(even, odd) > 0.35) is twins
        assert twins or abs(twin_correlation(even, odd)) < 0.05


def test_correlation_without_valid_variation_is_nan():
    empty = np.full((2, 36, 36), np.nan, np.float32)
    assert np.isnan(twin_correlation(empty, empty))
    assert np.isnan(twin_correlation(np.zeros((2, 36, 36)), np.ones((2, 36, 36))))

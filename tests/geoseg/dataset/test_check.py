"""`python -m geoseg.dataset check`: what it shows of a folder, and what it warns of."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoseg import read_patch
from geoseg.dataset.__main__ import main
from geoseg.twins import split_twins, twin_correlation
from tests.helpers.synthetic_data import make_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Wells 1 and 3, twins, and 2 to train; well 4 to validate."""
    return make_data(tmp_path_factory.mktemp("set") / "data", 4, 96)


@pytest.fixture
def copy(data, tmp_path):
    return Path(shutil.copytree(data, tmp_path / "data"))


def move(root: Path, name: str, to: str, split="train") -> None:
    for kind in ("images", "labels"):
        shutil.move(root / split / kind / name, root / "validation" / kind / to)


def check(folder, capsys, *more) -> tuple[int, str]:
    code = main(["check", str(folder), *map(str, more)])
    return code, capsys.readouterr().out


def row(told: str, split: str, well: str) -> list[str]:
    (line,) = [line for line in told.splitlines() if line.split()[:2] == [split, well]]
    return line.split()[2:]


def test_a_sound_folder(data, capsys):
    code, told = check(data, capsys)
    assert code == 0
    assert "Sound" in told
    assert row(told, "train", "1")[:5] == ["24", "0", "72", "in", "twins"]
    assert row(told, "train", "2")[:3] == ["24", "0", "36"]
    masks = [read_patch(p) for p in (data / "validation" / "labels").glob("well_4_*.npy")]
    groove, pixels = np.mean([m.any() for m in masks]), np.mean(masks)
    told_of_4 = row(told, "validation", "4")
    assert told_of_4[-6:] == [f"{groove:.0%}", f"{pixels:.1%}", "0", "0", "0", "0"]
    assert row(told, "train", "2")[-4:] == ["-", "-", "-", "0"]  # these are no answers to train on
    assert row(told, "train", "all")[0] == "72"
    assert not list(data.glob(".*"))  # a look leaves nothing behind


def test_nulls_alone_are_no_problem_and_gaps_are_counted(copy, capsys):
    names = [copy / "train" / "images" / f"well_2_patch_{i}.npy" for i in (3, 5)]
    np.save(names[0], np.full((36, 36), -999.25, np.float32))
    half = read_patch(names[1])
    half[:9] = np.nan
    np.save(names[1], half)
    code, told = check(copy, capsys)
    assert code == 0
    assert row(told, "train", "2")[:2] == ["23", "1"]
    assert float(row(told, "train", "2")[3].rstrip("%")) >= 1.0
    assert "null everywhere" in told


def test_a_well_on_both_sides(copy, capsys):
    """Well 1 is in twins: patch 8 leaves its twin 9 behind, and neighbours either side."""
    move(copy, "well_1_patch_8.npy", "well_1_patch_8.npy")
    for kind in ("images", "labels"):  # and this one is there twice
        name = f"{kind}/well_2_patch_0.npy"
        shutil.copy(copy / "train" / name, copy / "validation" / name)
    code, told = check(copy, capsys)
    assert code == 1
    assert (
        "both hold patches of well_1, well_2, so no score is honest: of 26 validation patches 1 "
        "are in train/ too, 1 have their twin there and 2 a neighbour" in told
    )
    assert row(told, "validation", "1")[-4:] == ["0", "1", "1", "0"]
    assert row(told, "validation", "2")[-4:] == ["1", "0", "1", "0"]
    assert row(told, "validation", "4")[-4:] == ["0", "0", "0", "0"]
    assert row(told, "validation", "all")[-4:] == ["1", "1", "2", "0"]
    assert "looks like" not in told


def test_wells_that_were_renamed(copy, capsys):
    """A twin of a quiet well and, in other units, a copy: only their pixels tell."""
    noise = np.random.default_rng(1).normal(0, 0.01, (36, 72))
    quiet = np.mean([np.roll(noise, shift, 1) for shift in range(6)], axis=0, dtype=np.float32)
    for name, side in (("train/{}/well_50_patch_4", 0), ("validation/{}/well_77_patch_0", 1)):
        np.save(copy / f"{name.format('images')}.npy", quiet[:, side::2])
        np.save(copy / f"{name.format('labels')}.npy", np.zeros((36, 36)))
    copied = copy / "test" / "images" / "well_1_patch_0.npy"
    copied.parent.mkdir(parents=True)
    np.save(copied, 25.4 * read_patch(copy / "train" / "images" / "well_2_patch_6.npy"))
    code, told = check(copy, capsys)
    assert code == 1
    assert (
        "well 77 of validation/ looks like the pipe of well 50 of train/: 1 of its 1 patch is a "
        "copy or a twin (likeness up to 0.9" in told
    )
    assert "leave out both or neither" in told
    assert (
        "well 1 of test/ looks like the pipe of well 2 of train/: 1 of its 1 patch is a copy or a "
        "twin (likeness up to 1.00: test/images/well_1_patch_0.npy and "
        "train/images/well_2_patch_6.npy), so take all of it for such; no score on it is" in told
    )
    assert row(told, "validation", "77")[-4:] == ["0", "0", "0", "1"]
    assert row(told, "train", "2")[-1] == "1"


def rename(root: Path, well: int, to: int, split="train") -> None:
    for path in [*(root / "train").glob(f"*/well_{well}_*")]:
        name = path.name.replace(f"well_{well}_", f"well_{to}_")
        shutil.copy(path, root / split / path.parent.name / name)


def test_a_well_that_is_twice_in_train(copy, capsys):
    """Whole wells that are left out would not be: their copies stay."""
    rename(copy, 2, 50)
    code, told = check(copy, capsys)
    assert code == 1
    assert "well 50 of train/ looks like the pipe of well 2 of train/: 24 of its 24 patch" in told
    assert row(told, "train", "50")[-1] == row(told, "train", "2")[-1] == "24"


def test_of_many_pairs_the_first_are_told(copy, capsys):
    for well in range(50, 55):
        rename(copy, 2, well, "validation" if well == 54 else "train")
    told = check(copy, capsys)[1]
    problems = [line for line in told.splitlines() if line.startswith("Problem: ")]
    assert len(problems) == 11
    assert all("validation/ looks" in line for line in problems[:5])
    assert "5 more pairs of wells look alike" in problems[-1]


@pytest.mark.parametrize("all_along", [True, False])
def test_what_is_half_alike_must_be_so_all_along(all_along, copy, capsys):
    """One patch of two wells may be alike by chance, as lattices are, but not every one."""
    rng = np.random.default_rng(2)
    for i in range(12):
        one, other = rng.normal(0, 0.01, (2, 36, 36))
        if all_along or i == 5:
            other = one + 0.95 * other
        for name, image in (("train/{}/well_50", one), ("validation/{}/well_60", other)):
            np.save(copy / f"{name.format('images')}_patch_{i}.npy", image.astype(np.float32))
            np.save(copy / f"{name.format('labels')}_patch_{i}.npy", np.zeros((36, 36)))
    code, told = check(copy, capsys)
    assert code == int(all_along)
    assert ("well 60 of validation/ looks like the pipe of well 50" in told) is all_along


def test_real_twins_under_two_names(real, copy, capsys):
    """Noise hides most of the patches of well 7, and none of the well."""
    log = read_patch(real / "wells" / "well_7.npy")[: 36 * 200]
    even, odd = split_twins(log).reshape(2, -1, 36, 36)
    for name, patches in (("train/{}/well_7", even), ("validation/{}/well_60", odd)):
        for i, patch in enumerate(patches):
            np.save(copy / f"{name.format('images')}_patch_{i}.npy", patch)
            np.save(copy / f"{name.format('labels')}_patch_{i}.npy", np.zeros((36, 36)))
    code, told = check(copy, capsys)
    assert code == 1
    assert "well 60 of validation/ looks like the pipe of well 7 of train/" in told
    assert 20 < int(row(told, "validation", "60")[-1]) < 150


@pytest.mark.parametrize("rows", [36, 1])
def test_copies_without_any_detail(rows, tmp_path, capsys):
    """Patches of one row are copies where they are so bit by bit; constant ones tell nothing."""
    ramp = np.linspace(0, 0.01, 36)[None] if rows == 1 else np.zeros((36, 36))
    for split, well, offset in (("train", 1, 0), ("train", 2, 0.02), ("validation", 3, 0)):
        for kind, array in (("images", ramp + offset), ("labels", np.eye(rows, 36))):
            folder = tmp_path / split / kind
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(2):
                np.save(folder / f"well_{well}_patch_{i}.npy", array)
    code, told = check(tmp_path, capsys)
    said = "well 3 of validation/ looks like the pipe of well 1 of train/: 2 of its 2" in told
    assert (code, said) == ((1, True) if rows == 1 else (0, False))
    assert "well 2" not in told
    assert row(told, "train", "1")[2] == "36?"
    assert "?: no patches 2k and 2k + 1 to tell by" in " ".join(told.split())


@pytest.mark.parametrize("kind", ["random", "rows"])
def test_nulls_hide_no_copy(kind, copy, capsys):
    """Nearly half of the pixels are null, or every other row but one."""
    rng = np.random.default_rng(0)
    for path in copy.glob("*/images/*.npy"):
        image = read_patch(path)
        image[rng.random(image.shape) < 0.45 if kind == "random" else slice(0, 34, 2)] = np.nan
        np.save(path, image)
    assert check(copy, capsys)[0] == 0
    for i in range(5):
        for part in ("images", "labels"):
            name = copy / "{}" / part / "well_{}_patch_{}.npy"
            shutil.copy(str(name).format("train", 2, i), str(name).format("validation", 99, i))
    code, told = check(copy, capsys)
    assert code == 1
    assert "well 99 of validation/ looks like the pipe of well 2 of train/: 5 of its 5" in told


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: (r / "train/images/well_2_patch_1.npy").write_bytes(b"x"), "unreadable image"),
        (lambda r: (r / "train/labels/well_2_patch_1.npy").unlink(), "without a label"),
        (lambda r: (r / "train/images/notes.txt").touch(), "misnamed"),
        (lambda r: shutil.rmtree(r / "validation"), "a training needs --leave-out, --fold or"),
        (lambda r: shutil.rmtree(r / "train/labels"), "well 4 alone has labels, so label another"),
        (
            lambda r: [shutil.rmtree(r / split / "labels") for split in ("train", "validation")],
            "no patch of train/ or validation/ has a label, so there is nothing to train on; add",
        ),
        (
            lambda r: [
                (r / f"train/{kind}/well_2_patch_1.npy").rename(
                    r / f"train/{kind}/well_2_patch_999999999.npy"
                )
                for kind in ("images", "labels")
            ],
            "its last patch is number 999,999,999; rename or remove it",
        ),
        (
            lambda r: [np.save(p, np.zeros((36, 36))) for p in r.glob("validation/labels/*.npy")],
            "validation/ has no groove",
        ),
    ],
)
def test_what_a_training_should_know_of(copy, spoil, words, capsys):
    spoil(copy)
    code, told = check(copy, capsys)
    assert code == 1
    problems = [line for line in told.splitlines() if line.startswith("Problem: ")]
    assert [words in line for line in problems].count(True) == 1, told
    assert row(told, "train", "all")


def test_the_picture_shows_every_well_and_where_it_goes(copy, tmp_path, capsys):
    move(copy, "well_2_patch_0.npy", "well_2_patch_0.npy")
    code, told = check(copy, capsys, "--picture", tmp_path / "new" / "wells.png")
    assert code == 1
    assert "wells.png" in told
    picture = np.asarray(Image.open(tmp_path / "new" / "wells.png"))
    assert {TRAIN, VALIDATION} <= colours(picture[:-40])  # without the legend
    # Two wells of 36 rows and two of 72, each with a bar of 6 and a gap of 14, then the legend.
    assert picture.shape[0] == 2 * 36 + 2 * 72 + 4 * 20 + 47
    alarm = (picture == (205, 20, 20)).all(-1)
    assert alarm[:, :200].any()
    assert not alarm[:, 200:].any()


TRAIN, VALIDATION, BOTH = (64, 125, 255), (245, 158, 11), (255, 56, 50)


def colours(picture) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, picture.shape[-1]).tolist()}


def draw(root: Path, places, rows=36) -> np.ndarray:
    """The picture, without its legend, of patches (split, well, index)."""
    rng = np.random.default_rng(3)
    for split, well, index in places:
        folder = root / split / "images"
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.normal(0, 0.01, (rows, 36)).astype(np.float32)
        np.save(folder / f"well_{well}_patch_{index}.npy", image)
    assert main(["check", str(root), "--picture", str(root / "wells.png")]) == 1  # no labels
    return np.asarray(Image.open(root / "wells.png"))[:-40]


def test_a_pixel_of_two_splits_has_the_colour_of_both(tmp_path):
    """36 rows and more a pixel: in most of them there are patches of both."""
    places = [("train" if i % 2 else "validation", 1, i) for i in range(2500)]
    picture = draw(tmp_path, places, rows=20)
    bars = (picture == BOTH).all(-1).sum(), (picture == TRAIN).all(-1).sum()
    assert bars[0] > 50 * max(1, bars[1])


def test_long_gaps_leave_room_for_the_patches(tmp_path):
    places = [("train", 1, index) for index in (0, 500, 501, 40_000)]
    picture = draw(tmp_path, places)
    bar = (picture == TRAIN).all(-1).any(0)
    assert bar.sum() == 4 * 36 * 3  # six patches fit in three times their size
    starts = np.flatnonzero(np.diff(bar.astype(int)) == 1)
    assert np.diff(starts).tolist() == [72 * 3, 108 * 3]


def test_a_long_name_is_not_cut(tmp_path):
    """It stands left of everything else, in black or red."""
    picture = draw(tmp_path, [("test", 123456789, 0), ("train", 1, 0)])
    left = int(np.flatnonzero((picture == TRAIN).all(-1).any(0))[0])
    assert left > 110
    assert (picture[:, left - 12 : left] == 255).all()


def test_stray_numbers_take_no_memory(tmp_path):
    places = [("train", well, index) for well in range(6) for index in (0, 1, 51_000)]
    tracemalloc.start()
    draw(tmp_path, places)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_mistakes(tmp_path, data, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main(["check", str(data), "--picture", "/dev/null/wells.png"]) == 2
    assert "/dev/null/wells.png" in capsys.readouterr().err
    assert main(["check", str(data), "--picture", str(tmp_path / "wells.jpg")]) == 2
    assert "would be a PNG; name it FILE.png" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit, match="2"):
        main(["frobnicate"])
    with pytest.raises(SystemExit, match="0"):
        main(["check", "--help"])


def test_real_twins_are_told_from_neighbours(real):
    for well, twins in ((2, True), (7, True), (11, False), (13, False)):
        log = read_patch(real / "wells" / f"well_{well}.npy")
        rows = len(log) // 72 * 72
        if twins:
            even, odd = split_twins(log[:rows]).reshape(2, -1, 36, 36)
        else:
            even, odd = log[:rows].reshape(-1, 2, 36, 36).swapaxes(0, 1)
        assert (twin_correlation(even, odd) > 0.35) is twins
        assert twins or abs(twin_correlation(even, odd)) < 0.05


def test_likeness_of_too_little():
    empty = np.full((2, 36, 36), np.nan, np.float32)
    assert np.isnan(twin_correlation(empty, empty))
    assert np.isnan(twin_correlation(np.zeros((2, 36, 36)), np.ones((2, 36, 36))))

"""`python -m geoseg.dataset check`: what it shows of a folder, and what it warns of."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoseg import read_patch
from geoseg.dataset.__main__ import main
from geoseg.twins import split_twins, twin_likeness
from tests.making import make_data


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
    assert row(told, "validation", "4")[-2:] == [f"{groove:.0%}", f"{pixels:.1%}"]
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
        "both hold patches of [1, 2], so no score is honest: of 26 validation patches 1 are in "
        "train/ too, 1 have their twin there and 2 a neighbour" in told
    )
    assert "look like copies" not in told


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
    twin = "validation/images/well_77_patch_0.npy of train/images/well_50_patch_4.npy"
    assert (
        f"1 patches of validation/ look like copies or twins of patches of train, such as {twin}"
        in told
    )
    assert (
        "test/images/well_1_patch_0.npy of train/images/well_2_patch_6.npy (likeness 1.00)" in told
    )


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
    assert "5 patches of validation/ look like copies" in told


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: (r / "train/images/well_2_patch_1.npy").write_bytes(b"x"), "unreadable image"),
        (lambda r: (r / "train/labels/well_2_patch_1.npy").unlink(), "without a label"),
        (lambda r: (r / "train/images/notes.txt").touch(), "misnamed"),
        (lambda r: shutil.rmtree(r / "validation"), "validation/ has no labelled patch"),
        (lambda r: shutil.rmtree(r / "train/labels"), "train/ has no labelled patch"),
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
    assert any(words in line for line in problems), told


def test_the_picture_shows_every_well_and_where_it_goes(copy, tmp_path, capsys):
    move(copy, "well_2_patch_0.npy", "well_2_patch_0.npy")
    code, told = check(copy, capsys, "--picture", tmp_path / "new" / "wells.png")
    assert code == 1
    assert "wells.png" in told
    picture = np.asarray(Image.open(tmp_path / "new" / "wells.png"))
    seen = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {(64, 125, 255), (245, 158, 11)} <= seen
    # Two wells of 36 rows and two of 72, each with a bar of 6 and a gap of 10, then the legend.
    assert picture.shape[0] == 2 * 36 + 2 * 72 + 4 * 16 + 34


def test_mistakes(tmp_path, data, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main(["check", str(data), "--picture", "/dev/null/wells.png"]) == 1
    assert "/dev/null/wells.png" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["frobnicate"])


def test_real_twins_are_told_from_neighbours(real):
    for well, twins in ((2, True), (7, True), (11, False), (13, False)):
        log = read_patch(real / "wells" / f"well_{well}.npy")
        rows = len(log) // 72 * 72
        if twins:
            even, odd = split_twins(log[:rows]).reshape(2, -1, 36, 36)
        else:
            even, odd = log[:rows].reshape(-1, 2, 36, 36).swapaxes(0, 1)
        assert (twin_likeness(even, odd) > 0.35) is twins
        assert twins or abs(twin_likeness(even, odd)) < 0.05


def test_likeness_of_too_little():
    empty = np.full((2, 36, 36), np.nan, np.float32)
    assert np.isnan(twin_likeness(empty, empty))
    assert np.isnan(twin_likeness(np.zeros((2, 36, 36)), np.ones((2, 36, 36))))

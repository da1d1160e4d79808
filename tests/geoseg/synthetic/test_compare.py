"""Compare synthetic wells with real logs, from the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from geoseg.pictures import NULL, grey
from geoseg.synthetic import synthesize
from geoseg.synthetic.compare import find_range, format_number, is_outside, main, make_wells
from geoseg.synthetic.validation.log_statistics import UNITS
from geoseg.synthetic.validation.strips import COLUMNS, GAP, ROWS, SCALE, cut_strips

SMALL = ["--wells", "3", "--rows", "300"]


@pytest.fixture
def wells(tmp_path):
    """Write logs with nulls, of 36 and 72 columns, and masks with unknown pixels, npy and npz."""
    (tmp_path / "masks").mkdir()
    for name, columns in (("well_3", 36), ("well_4", 72)):
        image, mask = (x[0].numpy() for x in synthesize(1, 400, columns=columns, seed=9))
        image[60:63] = -999.25
        np.save(tmp_path / f"{name}.npy", image)
        mask[100:110, :4] = 255
        if columns == 36:
            np.save(tmp_path / "masks" / f"{name}.npy", mask)
        else:
            np.savez_compressed(tmp_path / "masks" / f"{name}.npz", mask=mask)
    return tmp_path


def logs(folder):
    return [str(folder / f"well_{k}.npy") for k in (3, 4)]


def test_table_json_and_picture_agree(wells, capsys):
    command = [*logs(wells), *SMALL, "--masks", str(wells / "masks"), "--seed", "5"]
    command += ["--picture", str(wells / "out" / "strips.png"), "--json", str(wells / "all.json")]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "3 synthetic wells" in table
    assert "well_3" in table
    assert "groove drift" in table
    report = json.loads((wells / "all.json").read_text())
    assert list(report["synthetic"]) == ["36-1", "36-2", "72-1"]
    assert list(report["real"]) == ["well_3", "well_4"]
    assert list(report["real"]["well_4"]) == list(report["units"]) == list(UNITS)
    assert report["real"]["well_3"]["nulls, whole rows"] >= 3 / 400
    for name in UNITS:
        values = [w[name] for w in report["synthetic"].values() if w[name] is not None]
        real = report["real"]["well_3"][name]
        outside = real is not None and not (values and min(values) <= real <= max(values))
        assert (name in report["outside"]["well_3"]) == outside
    with Image.open(wells / "out" / "strips.png") as picture:
        assert picture.width == GAP + 16 * (GAP + SCALE * COLUMNS)
        assert picture.height > SCALE * ROWS


def test_groove_values_without_masks_are_dashes(wells, capsys):
    assert main([*logs(wells)[:1], *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    drift = next(line for line in lines if "groove drift " in line)
    noise = next(line for line in lines if " noise " in line)
    assert drift.split("│")[-2].strip() == "-"
    assert float(noise.split("│")[-2].strip(" *")) > 0


def test_one_of_two_logs_may_have_a_mask(wells, capsys):
    assert main([*logs(wells), *SMALL, "--masks", str(wells / "masks" / "well_4.npz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = next(line for line in lines if "grooves, rows" in line).split("│")
    assert rows[-3].strip() == "-"
    assert float(rows[-2].strip(" *")) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{wells}/none.npy"], "none.npy does not exist"),
        (["{wells}/well_3.npy", "{wells}/well_3.npy"], "two logs have the same name; rename one"),
        (["{wells}/patch.npy"], "patch: the log has 36 rows; give at least 72"),
        (["{wells}/narrow.npy"], "narrow: the log has 30 columns; give 36"),
        (
            ["{wells}/well_3.npy", "--masks", "{wells}/other"],
            "no mask has the name of a log, such as",
        ),
        (["{wells}/well_3.npy", "--masks", "{wells}/gone"], "no mask has the name of a log"),
        (
            ["{wells}/well_3.npy", "--masks", "{wells}/well_4.npy"],
            "no mask has the name of a log",
        ),
        (["{wells}/well_3.npy", "--masks", "{wells}/well_3.npy"], "but a mask holds only 0"),
        (
            ["{wells}/well_3.npy", "--masks", "{wells}/short"],
            "well_3: the mask has the shape (300, 36)",
        ),
        (["{wells}/well_3.npy", "--wells", "1"], "--wells is 1; give at least 2"),
        (["{wells}/well_3.npy", "--rows", "50"], "--rows is 50; give at least 72"),
    ],
)
def test_wrong_arguments_are_one_line_errors(arguments, message, wells, capsys):
    np.save(wells / "patch.npy", np.zeros((36, 36), np.float32))
    np.save(wells / "narrow.npy", np.zeros((100, 30), np.float32))
    (wells / "other").mkdir()
    (wells / "short").mkdir()
    np.save(wells / "short" / "well_3.npy", np.zeros((300, 36), np.uint8))
    arguments = [argument.format(wells=wells) for argument in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("compare: ")
    assert message in error
    assert error.count("\n") == 1


def test_unwritable_picture_is_an_error(wells, capsys):
    (wells / "file").touch()
    assert main([*logs(wells)[:1], *SMALL, "--picture", str(wells / "file" / "a.png")]) == 1
    assert "a.png cannot be written" in capsys.readouterr().err


def test_wells_have_36_or_72_columns_and_repeat():
    first, again = (make_wells(5, 100, seed=2) for _ in range(2))
    assert [image.shape[1] for image, _ in first.values()] == [36, 36, 36, 72, 72]
    for name, pair in first.items():
        for one, two in zip(pair, again[name], strict=True):
            np.testing.assert_array_equal(one, two)


def test_outside_means_beyond_every_synthetic_well():
    limits = find_range([0.001, 0.003, float("nan")])
    assert limits == pytest.approx((0.001, 0.002, 0.003))
    assert [is_outside(v, limits) for v in (0.0009, 0.001, 0.003, 0.0031)] == [True, 0, 0, True]
    assert not is_outside(float("nan"), limits)
    assert is_outside(0.1, find_range([float("nan")])), "no synthetic well shows it"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.00152, "0.00152"), (-0.04, "-0.0400"), (12.34, "12.3"), (3096.4, "3096"), (0.0, "0")],
)
def test_numbers_have_three_significant_digits(value, shown):
    assert format_number(value) == shown


def test_strips_are_shuffled_by_the_seed_and_name_their_source():
    synthetic = {f"s{i}": np.full((250, 36), i, np.float32) for i in range(3)}
    real = {"r": np.tile(np.arange(72, dtype=np.float32), (500, 1))}

    def cut(seed):
        return cut_strips(synthetic, real, 4, np.random.default_rng(seed))

    strips = cut(1)
    assert {strip.image.shape for strip in strips} == {(ROWS, COLUMNS)}
    assert sum(strip.source.startswith("real r row ") for strip in strips) == 4
    assert [s.source for s in strips] == [s.source for s in cut(1)] != [s.source for s in cut(2)]
    twin = next(strip.image for strip in strips if strip.source.startswith("real"))
    np.testing.assert_array_equal(twin[0], np.arange(0, 72, 2))


def test_grey_is_clipped_at_the_window_and_nulls_have_their_colour():
    colours = grey(np.array([[-0.2, -0.05, 0, 0.05, 0.3, np.nan]], np.float32))[0]
    assert colours[:5, 0].tolist() == [0, 0, 128, 255, 255]
    assert (colours[:5] == colours[:5, :1]).all()
    assert tuple(colours[5]) == NULL

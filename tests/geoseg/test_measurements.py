"""What an array measures, and what is said of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.measurements import (
    UNITS,
    MeasurementOptions,
    describe_columns,
    interpret,
    read_logs,
    read_npy_log,
    read_patch,
    summarise_assumptions,
)
from geoseg.patches import AllNullError, PatchError
from geoseg.samples import read_sample
from geoseg.synthetic import make_synthetic_dataset

SAMPLE = read_sample("well_3_patch_14")


def test_an_array_that_needs_nothing_comes_back_bit_for_bit():
    for image in make_synthetic_dataset(2, 40).images.numpy():
        log = interpret(image)
        np.testing.assert_array_equal(log.image, image)
        assert set(log.assumptions) <= {"nulls"}


def test_real_patches_come_back_bit_for_bit(real):
    paths = sorted((real / "patches").glob("*/images/*.npy"))
    assert len(paths) > 80
    for path in paths:
        raw = np.load(path)
        raw[~(np.abs(raw) < 900)] = np.nan
        if np.isnan(raw).all():
            with pytest.raises(AllNullError):
                read_patch(path)
            continue
        log = read_npy_log(path)
        np.testing.assert_array_equal(log.image, raw, path.name)
        assert set(log.assumptions) <= {"nulls"}
        np.testing.assert_array_equal(interpret(log.image).image, log.image)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_any_unit_gives_inches(unit, dtype):
    log = interpret((SAMPLE.astype(np.float64) / UNITS[unit]).astype(dtype))
    np.testing.assert_allclose(log.image, SAMPLE, rtol=1e-5, atol=1e-8)
    assert log.unit == unit
    assert log.inches == UNITS[unit]
    assert ("unit" in log.assumptions) == (unit != "inch")


def test_integer_counts_give_the_same_image():
    counts = np.round(SAMPLE * 25400).astype(np.int16)
    np.testing.assert_allclose(interpret(counts).image, SAMPLE, atol=0.6 / 25400)


def test_an_unknown_unit_is_scaled_and_said():
    log = interpret(SAMPLE * 1e7)
    assert log.unit == "unknown"
    assert "unknown" in log.assumptions["unit"]
    ratio = log.image / SAMPLE
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


def test_units_of_real_logs_are_told_apart(real):
    for path in sorted((real / "wells").glob("*.npy")):
        log = read_npy_log(path).image
        for top in range(0, len(log) - 35, 36 * 5):
            patch = log[top : top + 36, :36]
            if np.isfinite(patch).mean() < 0.5:
                continue
            for unit, inches in UNITS.items():
                assert interpret(patch / np.float32(inches)).unit == unit, (path.name, top)


def test_the_given_unit_is_believed():
    log = interpret(SAMPLE, MeasurementOptions(unit="mm"))
    np.testing.assert_allclose(log.image * 25.4, SAMPLE, rtol=1e-6)
    assert "millimetres" in log.assumptions["unit"]


@pytest.mark.parametrize("offset", [0.4, 10.0, -0.545])
def test_row_means_are_subtracted_and_said(offset):
    rows = np.random.default_rng(0).normal(offset, 0.01, (36, 1))
    log = interpret((SAMPLE + rows).astype(np.float32))
    np.testing.assert_allclose(log.image, SAMPLE, atol=2e-6)
    assert "row means" in log.assumptions


def test_row_means_of_joints_of_different_thickness_are_subtracted(real):
    """Only the overall mean was removed; the walls of joints differ by 3%."""
    for path in sorted((real / "wells").glob("*.npy")):
        log = read_npy_log(path).image[:1200]
        joints = np.random.default_rng(0).normal(0, 0.012, 15).repeat(80)[:, None]
        found = interpret((log + joints - joints.mean()).astype(np.float32))
        assert "row means" in found.assumptions, path.name
        means = np.nansum(log, axis=1) / np.isfinite(log).sum(1).clip(min=1)
        expected = log - means[:, None]
        np.testing.assert_allclose(found.image, expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.45, 0.55])
def test_row_means_of_a_heavier_section_are_subtracted(real, share):
    log = np.load(real / "wells" / "well_10.npy")[:1000]
    heavier = log.copy()
    heavier[-round(share * 1000) :] += np.float32(0.1)
    found = interpret(heavier)
    assert "row means" in found.assumptions
    thickness = interpret(log + np.float32(0.4))  # every mean is subtracted
    np.testing.assert_allclose(found.image, thickness.image, atol=1e-6)


def test_a_named_code_that_float32_holds_only_nearly_is_found():
    patch = make_synthetic_dataset(2, 2).images[0].numpy().copy()
    patch[3] = np.float32(-999.99)
    log = interpret(patch, MeasurementOptions(nulls=(-999.99,)))
    assert np.isnan(log.image[3]).all()
    assert "-999.99" in log.assumptions["nulls"]
    patch[4, 5] = np.nan
    unused = interpret(patch, MeasurementOptions(nulls=(-12345.0,)))
    assert "-12345" not in unused.assumptions["nulls"], "no pixel holds it"


def test_row_means_leave_out_nulls():
    image = SAMPLE + np.float32(0.4)
    image[4:9] = -999.25
    image[:, 3] = np.nan
    log = interpret(image)
    assert np.isnan(log.image).sum() == 5 * 36 + 31
    np.testing.assert_allclose(
        np.nanmean(np.delete(log.image, range(4, 9), 0), axis=1), 0, atol=1e-7
    )


@pytest.mark.parametrize("fill", [0.0, 0.4, 1e-3, -7.0])
def test_a_constant_array_is_blank(fill):
    np.testing.assert_array_equal(interpret(np.full((36, 36), fill, np.float32)).image, 0)


def test_positive_losses_are_negated():
    log = interpret(-SAMPLE, MeasurementOptions(losses="positive"))
    np.testing.assert_array_equal(log.image, SAMPLE)
    assert "sign" in log.assumptions


def test_nulls_are_counted_and_named():
    image = SAMPLE.copy()
    image[10:14] = -99
    image[0, 0] = np.nan
    log = interpret(image)
    assert log.assumptions["nulls"] == (
        "145 of 1,296 pixels are nulls (code -99); their mask is 0 and their probability NaN."
    )


def test_given_null_codes_replace_those_that_are_found():
    image = SAMPLE.copy()
    image[3, 3], image[4] = SAMPLE[0, 0], -999.25
    log = interpret(image, MeasurementOptions(nulls=[float(SAMPLE[0, 0])]))
    assert np.isnan(log.image).sum() == 2
    assert not np.isnan(interpret(image, MeasurementOptions(nulls=[])).image).any()


@pytest.mark.parametrize("shape", [(36, 5000), (72, 361)])
def test_more_columns_than_a_turn_are_transposed(shape):
    with pytest.raises(PatchError, match="transposed"):
        interpret(np.zeros(shape, np.float32))


def test_more_rows_and_columns_than_a_turn_are_refused():
    with pytest.raises(PatchError, match="up to 360 columns"):
        interpret(np.zeros((400, 400), np.float32))


def is_refused(array):
    try:
        interpret(array)
    except PatchError:
        return True
    return False


def test_transposed_real_patches_are_found_and_no_other(real):
    found = tried = 0
    for path in sorted((real / "wells").glob("*.npy")):
        log = read_npy_log(path).image
        for rows in (36, 108, 252):
            for top in range(0, len(log) - rows + 1, 36 * 7):
                patch = log[top : top + rows]
                if np.isfinite(patch).mean() < 0.8:
                    continue
                interpret(patch)
                tried += 1
                found += is_refused(patch.T)
    assert tried > 300
    assert found / tried > 0.95


@pytest.mark.parametrize("most", [1, 255])
def test_a_mask_is_no_image(most):
    mask = np.zeros((36, 36), np.uint8)
    mask[:, 4:7] = most
    with pytest.raises(PatchError, match="is a mask"):
        interpret(mask)


@pytest.mark.parametrize(
    ("columns", "words"),
    [(36, ""), (72, "2 sets"), (144, "4 sets"), (100, "interpolated"), (16, "cannot")],
)
def test_columns_are_described(columns, words):
    sentence = describe_columns(columns)
    assert words in sentence
    assert bool(sentence) == (columns != 36)


def test_stacks_are_several_logs(tmp_path):
    stack = make_synthetic_dataset(2, 5).images.numpy()
    for array in (stack, stack[..., None], np.asfortranarray(stack), stack.astype(">f8")):
        np.save(tmp_path / "x.npy", array)
        logs = read_logs(tmp_path / "x.npy")
        np.testing.assert_array_equal([log.image for log in logs], stack)
        assert [log.name for log in logs] == [f"x.npy [{i}]" for i in range(5)]
    with pytest.raises(PatchError, match="stack of 5"):
        read_npy_log(tmp_path / "x.npy")


def test_assumptions_of_several_logs_are_counted():
    logs = [interpret(SAMPLE), interpret(SAMPLE * 25.4), interpret(SAMPLE * 25.4)]
    (sentence,) = summarise_assumptions(logs)
    assert sentence.startswith("Unit: 2 of 3 patches")


@pytest.mark.parametrize(
    "options", [{"losses": "up"}, {"unit": "furlong"}], ids=lambda options: next(iter(options))
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match="choose"):
        MeasurementOptions(**options)


@given(st.integers(1, 80), st.sampled_from([16, 24, 36, 37, 72, 360]), st.integers(0, 2**31))
def test_the_image_of_a_log_is_read_as_itself(rows, columns, seed):
    random = np.random.default_rng(seed)
    image = random.normal(0, 0.02, (rows, columns)) * random.choice([1, 25.4, 25400])
    image += random.choice([0, 50])
    image[random.random(image.shape) < 0.1] = -999.25
    try:
        log = interpret(image)
    except AllNullError:
        return
    again = interpret(log.image)
    np.testing.assert_array_equal(again.image, log.image)
    assert set(again.assumptions) <= {"nulls", "azimuth"}

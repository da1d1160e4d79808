"""Planted null codes are found, and no reading of a real log is taken for one."""

import numpy as np
import pytest

from geoseg.null_codes import find_null_codes
from geoseg.synthetic import make_synthetic_dataset

INCHES = {"inch": 1.0, "mm": 25.4, "mil": 1000.0, "um": 25400.0}
CODES = (-999.25, -999.0, -9999.0, -99.0, -99.99, 1e30, -9999.25, 999.25)
# Scale from inches, step of the file's integers (None for floats), dtype, offset, and the code.
KINDS = {
    **{f"{u} {c}": (f, None, np.float32, 0.0, c) for u, f in INCHES.items() for c in CODES},
    "converted from mm to inch": (1.0, None, np.float32, 0.0, -999.25 / 25.4),
    "converted from inch to mm": (25.4, None, np.float32, 0.0, -999.25 * 25.4),
    "another, near": (1.0, None, np.float32, 0.0, -1.0),
    "another, positive": (1.0, None, np.float32, 0.0, 7.77),
    "another in mm": (25.4, None, np.float64, 0.0, -50.0),
    "int16 null times 1e-4": (1.0, 1e-4, np.float32, 0.0, -32768e-4),
    "int16 null times 1e-3": (25.4, 1e-3, np.float32, 0.0, -32768e-3),
    "int16": (5000.0, 1.0, np.int16, 0.0, -32768),
    "int16 -999": (5000.0, 1.0, np.int16, 0.0, -999),
    "int16 micrometres": (25400.0, 1.0, np.int16, 0.0, -32768),
    "int32 micrometres": (25400.0, 1.0, np.int32, 0.0, -(2**31)),
    "int8": (250.0, 1.0, np.int8, 0.0, -128),
    "uint16 thickness, 0": (25400.0, 1.0, np.uint16, 0.4, 0),
    "uint16 thickness, 65535": (25400.0, 1.0, np.uint16, 0.4, 65535),
}
FORMS_AND_SHARES = (
    *(("rows", share) for share in (0.001, 0.02, 0.4)),
    *(("columns", share) for share in (0.005, 0.1)),
    *(("block", share) for share in (0.001, 0.1)),
    *(("scattered", share) for share in (0.002, 0.02, 0.4)),
)


@pytest.fixture(scope="module")
def readings():
    """Return a log of 1,080 rows in inches, without nulls."""
    images = make_synthetic_dataset(3, 30).images.numpy()
    return np.nan_to_num(images, nan=0.001).reshape(-1, 36).astype(np.float64)


def store(readings, scale, step, dtype, offset):
    """Return readings as a file stores them."""
    values = (readings + offset) * scale
    if step:
        values = np.round(values / step) * step
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = values.clip(limits.min, limits.max)
    return values.astype(dtype)


def choose_pixels(random, shape, form, share):
    """Return which pixels are null, bool: whole rows, (parts of) columns, a block, or anywhere."""
    chosen = np.zeros(shape, bool)
    rows, columns = shape
    pixels = max(2, round(share * chosen.size))
    if form == "rows":
        chosen[random.choice(rows, max(1, pixels // columns), replace=False)] = True
    elif form == "columns":
        chosen[
            : min(rows, pixels), random.choice(columns, max(1, pixels // rows), replace=False)
        ] = True
    elif form == "block":
        height = min(rows, max(1, round(pixels**0.5)))
        width = min(columns, max(1, pixels // height))
        top, left = random.integers(rows - height + 1), random.integers(columns - width + 1)
        chosen[top : top + height, left : left + width] = True
    else:
        chosen.flat[random.choice(chosen.size, pixels, replace=False)] = True
    return chosen


@pytest.mark.parametrize("rows", [slice(0, 1080), slice(36, 72), slice(180, 216)], ids=str)
def test_planted_codes_are_found_and_nothing_else(readings, rows):
    random = np.random.default_rng(7)
    planted = found = wrong = 0
    for scale, step, dtype, offset, code in KINDS.values():
        stored = store(readings[rows], scale, step, dtype, offset)
        for form, share in FORMS_AND_SHARES:
            null = choose_pixels(random, stored.shape, form, share)
            values = stored.copy()
            values[null] = code
            equal = values == values.dtype.type(code)
            taken = np.isin(values, [*find_null_codes(values)])
            planted += null.sum()
            found += (taken & null).sum()
            wrong += (taken & ~equal).sum()
    assert len(KINDS) >= 40
    assert found / planted >= 0.99
    assert wrong == 0


FORMS = {
    "inch": lambda x: x,
    "micrometres": lambda x: x * 25400,
    "thickness": lambda x: x + 0.4,
    "int16 counts": lambda x: np.round(np.nan_to_num(x) / 1e-4).astype(np.int16),
    "thickness in 0.1 mm": lambda x: np.round((np.nan_to_num(x) + 0.385) * 254).astype(np.int16),
    "thickness in 10 um": lambda x: np.round((np.nan_to_num(x) + 0.393) * 2540).astype(np.int16),
    "uint8 mils": lambda x: np.round(np.nan_to_num(x) * 1000 + 128).clip(0, 254).astype(np.uint8),
    "int8 counts": lambda x: np.nan_to_num(x / 0.003).round().clip(-128, 127).astype(np.int8),
    "coarse steps": lambda x: x.round(2),
    "clipped": lambda x: x.clip(-0.1, 0.1),
    "clipped hard": lambda x: x.clip(-0.05, 0.05),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_spike_or_collar_of_a_real_log_is_a_null(real, form):
    for path in sorted((real / "wells").glob("*.npy")):
        log = np.load(path).astype(np.float64)
        log[~(np.abs(log) < 900)] = np.nan
        values = FORMS[form](log)
        assert find_null_codes(values) == {}, path.name
        for top in range(0, len(values) - 35, 36 * 11):
            patch = values[top : top + 36, :36]
            assert find_null_codes(patch) == {}, f"{path.name}, row {top}"


def test_real_logs_keep_their_own_codes(real):
    assert find_null_codes(np.load(real / "wells" / "well_2.npy")) == {-999.25: 6}
    assert find_null_codes(np.load(real / "wells" / "well_11.npy")) == {-999.0: 15}


@pytest.mark.parametrize("fill", [0.0, 0.4, -3.0])
def test_a_constant_array_has_no_code(fill):
    assert find_null_codes(np.full((36, 36), fill)) == {}


@pytest.mark.parametrize("code", [-999.25, -999.0, 9999.0])
def test_an_array_of_one_known_code_is_all_null(code):
    assert find_null_codes(np.full((36, 36), code, np.float32)) == {code: 1296}


def test_values_without_a_limit_are_no_readings(readings):
    patch = readings[:36].astype(np.float32)
    patch[3, 4], patch[5, 6] = 3e38, -12345.6
    assert {float(code) for code in find_null_codes(patch)} == {
        float(np.float32(3e38)),
        float(np.float32(-12345.6)),
    }


def test_nan_and_infinities_are_not_counted():
    assert find_null_codes(np.array([[np.nan, np.inf], [-np.inf, np.nan]])) == {}

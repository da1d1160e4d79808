"""Recover every component of a log from logs that are made of it."""

import numpy as np
import pytest

from geoseg.masks import UNKNOWN_LABEL, read_mask
from geoseg.measurements import read_patch
from geoseg.synthetic import synthesize
from geoseg.synthetic.validation.log_statistics import UNITS, measure_log

ROWS = 2000
Z = np.arange(ROWS)[:, None]
A = np.arange(36)
STEP = 2 * np.pi / 36


def noise(sigma, rows=ROWS, columns=36, seed=0):
    return sigma * np.random.default_rng(seed).standard_normal((rows, columns))


def groove_mask(first, width, columns=36, rows=ROWS):
    """Return a groove of whole columns that begins at `first` (rows,) and may cross the seam."""
    distance = (np.arange(columns) - np.broadcast_to(first, rows)[:, None]) % columns
    return (distance < width).astype(np.uint8)


def add_collars_to_noise(spacing, thick, height, sigma=0.001, first=50):
    """Return white noise with a checkerboard of `thick` rows every `spacing` rows."""
    image = noise(sigma)
    rows = (Z[:, 0] - first) % spacing < thick
    image[rows] += height * (-1.0) ** (A + Z)[rows]
    return image


def test_values_are_finite_and_have_a_unit():
    image, mask = (x[0].numpy() for x in synthesize(1, 3000, seed=4))
    values = measure_log(image, mask)
    assert tuple(values) == tuple(UNITS)
    assert np.isfinite(list(values.values())).all()
    without = measure_log(image)
    assert set(UNITS) - set(without) == {name for name in UNITS if name.startswith("groove")}
    assert all(values[name] == value for name, value in without.items())


@pytest.mark.parametrize("sigma", [0.001, 0.004])
@pytest.mark.parametrize("columns", [36, 72])
def test_white_noise_is_measured_as_noise_only(sigma, columns):
    values = measure_log(noise(sigma, columns=columns))
    assert values["noise"] == pytest.approx(sigma, rel=0.05)
    assert values["spread"] == pytest.approx(sigma, rel=0.05)
    assert values["spread, robust"] == pytest.approx(sigma, rel=0.05)
    assert values["ripple"] < 0.3 * sigma
    assert values["noise, unevenness"] < 1.6
    assert values["coherence"] == pytest.approx(2 / 64, abs=0.01)
    assert values["lattice, windows"] == 0
    assert values["spikes"] < 1e-5
    assert np.isnan(values["collars, spacing"])


def test_noise_on_one_side_is_uneven():
    image = noise(0.001) * np.where(A < 18, 1, 5)
    assert 5 < measure_log(image)["noise, unevenness"] < 7, "72 rows give it to about a fifth"


def test_ripple_changes_from_row_to_row_and_is_smooth_round_the_pipe():
    change = noise(0.003, columns=1)
    image = noise(0.001) + 2**0.5 * change * np.cos(STEP * A)
    values = measure_log(image)
    assert values["noise"] == pytest.approx(0.001, rel=0.05)
    # The standard deviation is robust: pixels near the zeros of the cosine count as its maxima.
    assert values["ripple"] == pytest.approx(0.0025, rel=0.2)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_cosine_round_the_pipe_is_its_harmonic(cycles):
    image = 0.01 * np.cos(STEP * cycles * (A - 4)) + 0 * Z
    values = measure_log(image)
    names = ["1 cycle", "2 cycles", "3 cycles"]
    for k, name in enumerate(names, 1):
        assert values[name] == pytest.approx(0.01 * (k == cycles), abs=1e-6)
    assert values["power of 1 cycle"] == pytest.approx(float(cycles == 1), abs=1e-6)
    assert values["coherence"] == pytest.approx(1)


@pytest.mark.parametrize(("cycles", "name"), [(7, "4 to 9 cycles"), (18, "10 to 18 cycles")])
def test_fine_cosine_is_in_its_band_of_harmonics(cycles, name):
    values = measure_log(0.01 * np.cos(STEP * cycles * A) + 0 * Z)
    assert values[name] == pytest.approx(0.01)
    assert values["1 cycle"] == pytest.approx(0, abs=1e-6)


def test_coherence_is_the_share_of_slow_power():
    slow = 0.01 * np.cos(STEP * A) * np.cos(2 * np.pi * Z / 500)
    quick = 0.005 * np.cos(STEP * A) * np.cos(2 * np.pi * Z / 40)
    assert measure_log(slow + quick)["coherence"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("cycles", [1, 4])
@pytest.mark.parametrize("period", [-14.5, 9, 24, 31])
@pytest.mark.parametrize("columns", [36, 72])
def test_helix_is_measured_as_lattice(cycles, period, columns):
    angle = 2 * np.pi / columns * cycles * np.arange(columns)
    image = noise(0.002, columns=columns) + 0.006 * np.cos(angle + 2 * np.pi * Z / period)
    values = measure_log(image)
    assert values["lattice, windows"] == 1
    assert values["lattice, cycles"] == cycles
    assert values["lattice, period"] == pytest.approx(abs(period), rel=0.03)
    assert values["lattice, amplitude"] == pytest.approx(0.006, rel=0.05)


def test_helix_in_half_the_joints_is_in_half_the_windows():
    image = noise(0.002) + 0.006 * np.cos(4 * STEP * A + Z / 2) * (Z % 400 < 200)
    assert 0.4 < measure_log(image)["lattice, windows"] < 0.6


def test_spikes_are_counted():
    random = np.random.default_rng(1)
    image = noise(0.001)
    hit = random.random(image.shape) < 0.01
    image[hit] += np.where(random.random(hit.sum()) < 0.3, -0.2, 0.2)
    values = measure_log(image)
    assert values["spikes"] == pytest.approx(0.01, rel=0.1)
    assert values["spikes, no collars"] == pytest.approx(0.01, rel=0.1)
    assert values["spikes, bright"] == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(("spacing", "thick"), [(80, 2), (165, 5), (345, 9)])
def test_collars_are_measured(spacing, thick):
    image = add_collars_to_noise(spacing, thick, 0.15)
    image[120] += 0.1  # a stray line
    values = measure_log(image)
    assert values["collars, spacing"] == pytest.approx(spacing, rel=0.05)
    assert values["collars, thickness"] == thick
    assert values["collars, height"] == pytest.approx(0.15, rel=0.02)
    assert values["stray lines"] == pytest.approx(100 / ROWS)
    assert values["spread, robust"] == pytest.approx(0.001, rel=0.05)
    assert values["spikes"] > thick / spacing / 2 > values["spikes, no collars"]


def test_eccentricity_turns_across_collars_only():
    joint = (Z - 50) // 165
    phase = 2.0 * joint + 0.001 * Z
    image = add_collars_to_noise(165, 3, 0.15) + 0.01 * np.cos(STEP * A + phase)
    values = measure_log(image)
    apart = np.degrees(0.001 * 30)  # rows between the centres of the compared rows
    assert values["1 cycle, turn across collars"] == pytest.approx(np.degrees(2), abs=4)
    assert values["1 cycle, turn between collars"] == pytest.approx(apart, abs=1)


def test_nulls_are_counted_and_ignored():
    image = noise(0.001)
    image[100:150] = np.nan
    image[700:720, :9] = np.nan
    values = measure_log(image)
    assert values["nulls, whole rows"] == pytest.approx(50 / ROWS)
    assert values["nulls, partial rows"] == pytest.approx(20 / ROWS)
    assert values["nulls"] == pytest.approx((50 + 20 / 4) / ROWS)
    assert values["noise"] == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize("columns", [36, 72])
@pytest.mark.parametrize("rate", [0, 3, -12])
def test_groove_across_the_seam_is_measured(columns, rate):
    fine = columns // 36
    first = np.round(fine * (34 + rate * np.arange(ROWS) / 100)).astype(int)
    mask = groove_mask(first, 4 * fine, columns)
    values = measure_log(noise(0.001, columns=columns) - 0.03 * mask, mask)
    assert values["grooves, rows"] == values["grooves, beside"] == 1
    names = ("", ", 10th percentile", ", 90th percentile")
    assert [values[f"groove width{name}"] for name in names] == [4, 4, 4]
    assert values["groove contrast"] == pytest.approx(-0.03, rel=0.02)
    assert values["groove contrast, 95th percentile"] == pytest.approx(-0.03, rel=0.1)
    assert values["groove length"] == values["groove length, longest"] == ROWS
    assert values["groove drift"] == pytest.approx(abs(rate), abs=0.2)


def test_several_grooves_are_counted_and_measured():
    mask = groove_mask(35, 2)
    mask[1000:1500, 10:13] = 1
    mask[1510:1600, 10:13] = 1
    values = measure_log(noise(0.001) - 0.05 * mask, mask)
    assert values["grooves, beside"] == pytest.approx(1 + 590 / ROWS)
    assert values["groove length"] == 500
    assert values["groove length, longest"] == ROWS
    assert values["groove contrast"] == pytest.approx(-0.05, rel=0.02)


def test_unknown_pixels_are_ignored():
    mask = groove_mask(10, 3)
    image = noise(0.0001) - 0.03 * mask
    image[:, 13:15] -= 0.5  # whatever this is
    mask[:, 13:15] = UNKNOWN_LABEL
    mask[500:510, 10:13] = UNKNOWN_LABEL
    values = measure_log(image, mask)
    assert values["groove contrast"] == pytest.approx(-0.03, rel=0.02)
    assert np.isnan(values["groove width"]), "the width is unknown"
    assert values["groove length"] == ROWS, "unknown rows do not cut it"
    assert values["grooves, rows"] == pytest.approx(1 - 10 / ROWS)


def test_contrast_changes_at_joints():
    joint = ((Z - 50) // 165) % 2
    mask = groove_mask(20, 3)
    image = add_collars_to_noise(165, 3, 0.15) - np.where(joint, 0.02, 0.05) * mask
    values = measure_log(image, mask)
    assert values["groove contrast, across collars"] == pytest.approx(2.5, rel=0.05)
    assert values["groove contrast, between collars"] == pytest.approx(1, abs=0.05)


def test_log_without_grooves_has_no_groove_values():
    values = measure_log(noise(0.001), np.zeros((ROWS, 36), np.uint8))
    assert values["grooves, rows"] == 0
    missing = [name for name in UNITS if name.startswith("groove ")]
    assert np.isnan([values[name] for name in missing]).all()


@pytest.mark.parametrize("columns", [36, 72])
def test_shift_changes_no_value(columns):
    image, mask = (x[0].numpy() for x in synthesize(1, 2500, columns=columns, seed=7))
    mask[200:300, :5] = UNKNOWN_LABEL
    expected = measure_log(image, mask)
    for shift in (1, 17, columns - 2):
        shifted = measure_log(np.roll(image, shift, 1), np.roll(mask, shift, 1))
        assert shifted == pytest.approx(expected, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((100, 35), "35 columns; give 36"), ((71, 36), "71 rows; give at least 72")],
)
def test_small_log_is_an_error(shape, message):
    with pytest.raises(ValueError, match=message):
        measure_log(np.zeros(shape, np.float32))


def test_mask_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"the mask has the shape \(80, 36\)"):
        measure_log(np.zeros((81, 36), np.float32), np.zeros((80, 36), np.uint8))


@pytest.mark.parametrize("level", [0.0, 0.01])
def test_shortest_constant_log_is_measured(level):
    image = np.full((72, 36), level, np.float32)
    image[3] = np.nan
    values = measure_log(image, np.ones((72, 36), np.uint8))
    assert values["noise"] == 0
    assert values["lattice, windows"] == 0


# Ranges over the real wells; synthetic wells may exceed them a little.
REAL_RANGES = {
    "spread": (0.011, 0.024),
    "1 cycle": (0.008, 0.021),
    "2 cycles": (0.002, 0.010),
    "3 cycles": (0.002, 0.009),
    "power of 1 cycle": (0.24, 0.81),
    "coherence": (0.49, 0.97),
    "lattice, windows": (0, 0.75),
    "noise": (0.0009, 0.0044),
    "spikes": (0.008, 0.047),
    "collars, spacing": (80, 345),
    "collars, thickness": (2, 9),
    "nulls": (0, 0.23),
    "groove width": (2, 4),
    "groove contrast": (-0.081, -0.011),
    "groove drift": (0.1, 6),
}


def test_synthetic_wells_are_within_real_ranges():
    images, masks = synthesize(10, 3000, seed=11)
    wells = [measure_log(i, m) for i, m in zip(images.numpy(), masks.numpy(), strict=True)]
    for name, (least, most) in REAL_RANGES.items():
        values = np.array([well[name] for well in wells])
        values = values[np.isfinite(values)]
        slack = 0.35 * (most - least)
        inside = (least - slack <= values) & (values <= most + slack)
        # Training should see somewhat more variation than the few measured real wells.
        assert inside.mean() >= 0.65, f"{name}: {values}"
        assert least - slack <= np.median(values) <= most + slack, f"{name}: {values}"


def test_real_wells_are_within_their_ranges(real):
    wells = {}
    for number in (2, 7, 11, 13):
        mask = read_mask(real / f"proxy_masks/well_{number}.npz", unknown=True)
        wells[number] = measure_log(read_patch(real / f"wells/well_{number}.npy"), mask)
    for well in wells.values():
        for name in ("spread", "1 cycle", "noise", "groove contrast", "nulls"):
            assert REAL_RANGES[name][0] <= well[name] <= REAL_RANGES[name][1], name
    assert wells[2]["lattice, cycles"] == 4
    assert wells[7]["lattice, cycles"] == 1
    assert 9 < wells[2]["lattice, period"] < wells[7]["lattice, period"] < 32
    assert max(wells[11]["lattice, windows"], wells[13]["lattice, windows"]) < 0.05
    spacing = {number: well["collars, spacing"] for number, well in wells.items()}
    assert spacing == pytest.approx({2: 165, 7: 165, 11: 345, 13: 345}, rel=0.05)
    assert max(wells, key=lambda number: wells[number]["spikes, no collars"]) == 11

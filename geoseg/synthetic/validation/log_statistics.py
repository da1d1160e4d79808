"""Measure the components of one log, synthetic or real.

T twin, Z depth, A azimuth, F frequency along depth, K cycles round the pipe. A log of more than 36
columns is measured as the twins that the data set cuts it into, so that one column is always 10
degrees. Azimuth is circular throughout, so a shift changes no value.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.synthetic.validation.collar_detection import Collars, find_collars, pair_rows
from geoseg.synthetic.validation.groove_tracing import measure_grooves
from geoseg.synthetic.validation.robust_statistics import median, quantile, robust_std, share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

COLUMNS = 36  # of a twin, 10 degrees each
COHERENT_ROWS = 64  # longer variations count as coherent along depth
LATTICE_ROWS = 72  # rows of a window in which a lattice is searched, half a window apart
LATTICE_SHARE = 0.4  # of a window's power in one peak; real wells without a lattice reach 0.25
CHANCE = 0.05  # share of windows in which texture may be mistaken for a lattice
CYCLES = (
    ("1 cycle", 1, 1),
    ("2 cycles", 2, 2),
    ("3 cycles", 3, 3),
    ("4 to 9 cycles", 4, 9),
    ("10 to 18 cycles", 10, 18),
)
SPIKE = 8.0  # robust standard deviations

# In the order of the measures below.
_COMPONENTS = (
    ("inch", ["spread", "spread, robust", *(name for name, _, _ in CYCLES)]),
    ("share", ["power of 1 cycle"]),
    ("degree", ["1 cycle, turn across collars", "1 cycle, turn between collars"]),
    ("share", ["coherence", "lattice, windows"]),
    ("cycle", ["lattice, cycles"]),
    ("row", ["lattice, period"]),
    ("inch", ["lattice, amplitude", "noise"]),
    ("ratio", ["noise, unevenness"]),
    ("inch", ["ripple"]),
    ("share", ["spikes", "spikes, no collars", "spikes, bright"]),
    ("row", ["collars, spacing", "collars, thickness"]),
    ("inch", ["collars, height"]),
    ("per 100 rows", ["stray lines"]),
    ("share", ["nulls", "nulls, whole rows", "nulls, partial rows", "grooves, rows"]),
    ("number", ["grooves, beside"]),
    ("column", [f"groove width{part}" for part in ("", ", 10th percentile", ", 90th percentile")]),
    ("inch", [f"groove contrast{part}" for part in ("", ", 5th percentile", ", 95th percentile")]),
    ("ratio", ["groove contrast, across collars", "groove contrast, between collars"]),
    ("row", ["groove length", "groove length, longest"]),
    ("columns per 100 rows", ["groove drift", "groove drift, 95th percentile"]),
)
UNITS = {name: unit for unit, names in _COMPONENTS for name in names}


def measure_log(
    image: NDArray[np.float32], mask: NDArray[np.uint8] | None = None
) -> dict[str, float]:
    """Measure every component of one log.

    Args:
        image: Wall thickness minus its row average (Z, A), inches, NaN at nulls; at least 72 rows,
            and 36 columns or a multiple.
        mask: Labels (Z, A): 1 on grooves, 0 elsewhere, 255 where unknown, which is ignored.

    Returns:
        A value for each name in UNITS, in its unit; NaN if the log does not show the component.
        Values of grooves are included only with a mask.

    Raises:
        ValueError: A shape is not as described.
    """
    rows, columns = image.shape
    if columns % COLUMNS:
        raise ValueError(f"the log has {columns} columns; give 36 (10 degrees each) or a multiple")
    if rows < LATTICE_ROWS:
        raise ValueError(f"the log has {rows} rows; give at least {LATTICE_ROWS}")
    if mask is not None and mask.shape != image.shape:
        raise ValueError(f"the mask has the shape {mask.shape}, its log {image.shape}")
    twins = _split_twins(image).astype(np.float64)
    collars = find_collars(twins)
    filled = np.nan_to_num(twins)
    smooth = ~collars.jump_rows
    null = np.isnan(twins)
    null_rows = null.all((0, 2))
    values = {
        "spread": np.std(twins[~null]),
        "spread, robust": robust_std(twins[:, smooth]),
        **_measure_harmonics(filled, smooth, collars),
        **_measure_lattice(filled, smooth),
        **_measure_noise(twins, smooth),
        **_measure_spikes(twins, smooth),
        **_measure_collars(twins, collars),
        "nulls": null.mean(),
        "nulls, whole rows": null_rows.mean(),
        "nulls, partial rows": (null.any((0, 2)) & ~null_rows).mean(),
    }
    if mask is not None:
        places = pair_rows(collars, rows)
        values |= measure_grooves(twins, _split_twins(mask), collars.jump_rows, places)
    return {name: float(value) for name, value in values.items()}


def _split_twins(log: NDArray[Scalar]) -> NDArray[Scalar]:
    """Split (Z, A) into (T, Z, 36), every T-th column each."""
    return np.moveaxis(log.reshape(len(log), COLUMNS, -1), -1, 0)


def _measure_harmonics(filled: Floats, smooth: Bools, collars: Collars) -> dict[str, float]:
    """Measure amplitudes as root mean squares over depth: a cosine of amplitude a gives a."""
    waves = np.fft.rfft(filled, axis=-1) * (2 / COLUMNS)  # (T, Z, K)
    kept = filled[:, smooth]
    power = np.square(kept).mean()
    squares = (np.abs(waves[:, smooth]) ** 2).mean((0, 1))  # (K,)
    squares[-1] /= 4  # the Nyquist term has no conjugate, so its factor above is 1
    values = {name: float(np.sqrt(squares[first : last + 1].sum())) for name, first, last in CYCLES}
    values["power of 1 cycle"] = squares[1] / 2 / power if power else np.nan
    for place, (above, below) in pair_rows(collars, len(smooth)).items():
        rotation = waves[:, below, 1].mean(-1) * waves[:, above, 1].mean(-1).conj()
        values[f"1 cycle, turn {place}"] = median(np.abs(np.angle(rotation, deg=True)))
    along = np.abs(np.fft.rfft(kept, axis=1)) ** 2
    along[:, 1:] *= 2  # both signs
    slow = np.arange(along.shape[1]) * COHERENT_ROWS < kept.shape[1]
    values["coherence"] = along[:, slow].sum() / along.sum() if power else np.nan
    return values


def _measure_lattice(filled: Floats, smooth: Bools) -> dict[str, float]:
    """Find windows whose power at periods of 8 to 36 rows and 1 to 8 cycles is mostly in one peak.

    A peak is higher than its neighbours in frequency along depth, unlike slowly changing texture.
    The power of twins is averaged.
    """
    starts = np.arange(0, filled.shape[1] - LATTICE_ROWS + 1, LATTICE_ROWS // 2)
    taper = np.hanning(LATTICE_ROWS + 1)[:LATTICE_ROWS, None]
    kept = np.where(smooth[:, None], filled, 0)
    windows = kept[:, starts[:, None] + np.arange(LATTICE_ROWS)] * taper
    spectrum = np.fft.fft(np.fft.rfft(windows, axis=-1)[..., 1:9], axis=-2)
    power = (np.abs(spectrum) ** 2).mean(0)  # (windows, F, K)
    lower, upper = np.roll(power, 1, 1), np.roll(power, -1, 1)
    bins = np.r_[2:10, -9:-1]
    peaks = np.where((power > lower) & (power > upper), power, 0)[:, bins].reshape(len(power), -1)
    window, best = np.arange(len(power)), peaks.argmax(1)
    row, cycle = bins[best // 8], best % 8
    left, centre, right = (p[window, row, cycle] for p in (lower, power, upper))
    peak = left + centre + right
    found = peaks.any(1) & (peak > LATTICE_SHARE * power[:, bins].sum((1, 2)))
    share_found = found.mean()
    found &= share_found > CHANCE
    tiny = np.finfo(float).tiny
    left, centre, right = (np.log(p[found].clip(min=tiny)) for p in (left, centre, right))
    between = (left - right) / 2 / (left - 2 * centre + right)  # vertex of a parabola
    return {
        "lattice, windows": share_found,
        "lattice, cycles": median(1.0 + cycle[found]),
        "lattice, period": median(LATTICE_ROWS / np.abs(row[found] + between)),
        # The three bins of a peak under a Hann window hold 1.5 times the power of the middle bin.
        "lattice, amplitude": median(np.sqrt(peak[found] / 1.5) * 4 / (COLUMNS * LATTICE_ROWS)),
    }


def _measure_noise(twins: Floats, smooth: Bools) -> dict[str, float]:
    """Measure the noise floor from second differences: [1, -2, 1] along depth and along azimuth.

    They multiply the variance of white noise by 36. Along depth alone the factor is 6, and ripple,
    which changes from row to row and is smooth round the pipe, adds to it. Unevenness is the ratio
    of the 90th to the 10th percentile of the noise in sections of 72 rows of one column.
    """
    along = np.diff(twins, 2, axis=1)[:, smooth[1:-1]]
    both = (np.roll(along, 1, -1) - 2 * along + np.roll(along, -1, -1)) / 6
    noise = robust_std(both)
    sections = both[:, : both.shape[1] // LATTICE_ROWS * LATTICE_ROWS]
    sections = np.abs(sections).reshape(len(both), -1, LATTICE_ROWS, COLUMNS)
    local = np.median(sections, axis=2)
    least = quantile(local, 0.1)
    return {
        "noise": noise,
        "noise, unevenness": quantile(local, 0.9) / least if least > 0 else np.nan,
        "ripple": max(robust_std(along) ** 2 / 6 - noise**2, 0) ** 0.5,
    }


def _measure_spikes(twins: Floats, smooth: Bools) -> dict[str, float]:
    """Count pixels far from the median of the two rows above and the two below."""
    beside = np.stack([twins[:, i : len(smooth) - 4 + i] for i in (0, 1, 3, 4)])
    beside.sort(0)
    off = twins[:, 2:-2] - (beside[1] + beside[2]) / 2
    limit = SPIKE * robust_std(off)
    spike, valid = np.abs(off) > limit, np.isfinite(off)
    inner = np.lib.stride_tricks.sliding_window_view(smooth, 5).all(1)
    return {
        "spikes": share(spike, valid),
        "spikes, no collars": share(spike[:, inner], valid[:, inner]),
        "spikes, bright": share(off[:, inner] > limit, spike[:, inner]),
    }


def _measure_collars(twins: Floats, collars: Collars) -> dict[str, float]:
    """Measure collars: thickness in rows, height as the 90th percentile of absolute values."""
    rows = np.arange(len(collars.jump_rows))[:, None]
    inside = ((collars.first <= rows) & (rows <= collars.last)).any(1)
    return {
        "collars, spacing": collars.spacing if inside.any() else np.nan,
        "collars, thickness": median(collars.last - collars.first + 1.0),
        "collars, height": quantile(np.abs(twins[:, inside]), 0.9),
        "stray lines": 100 * collars.strays / len(rows),
    }

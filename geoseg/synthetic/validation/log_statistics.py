"""The components of one log, measured: what the generator makes, and what real pipes show.

T twin, Z depth, A azimuth, F frequency along depth, K cycles round. A log of more than 36 columns
is measured as the twins that the real data set cuts it into, so one column is always 10 degrees.
Azimuth is circular throughout, so turning the pipe changes no measure.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.synthetic.validation.collar_detection import Collars, find_collars, pairs
from geoseg.synthetic.validation.groove_tracing import measure_grooves
from geoseg.synthetic.validation.robust_statistics import deviation, median, quantile, share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

COLUMNS = 36  # of a twin, 10 degrees each
SLOW = 64  # rows: longer variations count as coherent along depth
LATTICE_ROWS = 72  # rows of a window in which a lattice is looked for, half a window apart
LATTICE_SHARE = 0.4  # of a window's power in one peak; the real wells without one stay below 0.25
CHANCE = 0.05  # share of windows that texture alone may pass as a lattice
CYCLES = (
    ("1 cycle", 1, 1),
    ("2 cycles", 2, 2),
    ("3 cycles", 3, 3),
    ("4 to 9 cycles", 4, 9),
    ("10 to 18 cycles", 10, 18),
)
SPIKE = 8.0  # robust standard deviations

UNITS = {
    "spread": "inch",
    "spread, robust": "inch",
    "1 cycle": "inch",
    "2 cycles": "inch",
    "3 cycles": "inch",
    "4 to 9 cycles": "inch",
    "10 to 18 cycles": "inch",
    "power of 1 cycle": "share",
    "1 cycle, turn across collars": "degree",
    "1 cycle, turn between collars": "degree",
    "coherence": "share",
    "lattice, windows": "share",
    "lattice, cycles": "cycle",
    "lattice, period": "row",
    "lattice, amplitude": "inch",
    "noise": "inch",
    "noise, unevenness": "ratio",
    "ripple": "inch",
    "spikes": "share",
    "spikes, no collars": "share",
    "spikes, bright": "share",
    "collars, spacing": "row",
    "collars, thickness": "row",
    "collars, height": "inch",
    "stray lines": "per 100 rows",
    "nulls": "share",
    "nulls, whole rows": "share",
    "nulls, partial rows": "share",
    "grooves, rows": "share",
    "grooves, beside": "number",
    "groove width": "column",
    "groove width, 10th percentile": "column",
    "groove width, 90th percentile": "column",
    "groove contrast": "inch",
    "groove contrast, 5th percentile": "inch",
    "groove contrast, 95th percentile": "inch",
    "groove contrast, across collars": "ratio",
    "groove contrast, between collars": "ratio",
    "groove length": "row",
    "groove length, longest": "row",
    "groove drift": "columns per 100 rows",
    "groove drift, 95th percentile": "columns per 100 rows",
}


def measure(image: NDArray[np.float32], mask: NDArray[np.uint8] | None = None) -> dict[str, float]:
    """Measure every component of one log.

    Args:
        image: Wall thickness minus its row average (Z, A), inches, NaN at nulls; at least 72 rows,
            and 36 columns or a multiple.
        mask: 1 on grooves, 0 elsewhere, 255 where unknown, which is left out; (Z, A).

    Returns:
        A value for each name in UNITS, in its unit; NaN for what the log does not show. Those of
        grooves are there with a mask only.
    """
    rows, columns = image.shape
    if columns % COLUMNS:
        raise ValueError(f"the log has {columns} columns; give 36 (10 degrees each) or a multiple")
    if rows < LATTICE_ROWS:
        raise ValueError(f"the log has {rows} rows; give at least {LATTICE_ROWS}")
    if mask is not None and mask.shape != image.shape:
        raise ValueError(f"the mask has the shape {mask.shape}, its log {image.shape}")
    twins = _twins(image).astype(np.float64)
    collars = find_collars(twins)
    filled = np.nan_to_num(twins)
    quiet = ~collars.loud
    values = (
        _spread(twins, quiet)
        | _harmonics(filled, quiet, collars)
        | _lattice(filled, quiet)
        | _noise(twins, quiet)
        | _spikes(twins, quiet)
        | _collars(twins, collars)
        | _nulls(twins)
    )
    if mask is not None:
        values |= measure_grooves(twins, _twins(mask), collars.loud, pairs(collars, rows))
    return {name: float(values[name]) for name in UNITS if name in values}


def _twins(log: NDArray[Scalar]) -> NDArray[Scalar]:
    """(Z, A) as (T, Z, 36): every T-th column."""
    return np.moveaxis(log.reshape(len(log), COLUMNS, -1), -1, 0)


def _spread(twins: Floats, quiet: Bools) -> dict[str, float]:
    return {
        "spread": float(np.std(twins[np.isfinite(twins)])),
        "spread, robust": deviation(twins[:, quiet]),
    }


def _harmonics(filled: Floats, quiet: Bools, collars: Collars) -> dict[str, float]:
    """Amplitudes are root mean squares over depth: a cosine of amplitude a gives a."""
    waves = np.fft.rfft(filled, axis=-1) * (2 / COLUMNS)  # (T, Z, K)
    kept = filled[:, quiet]
    power = np.square(kept).mean()
    squares = (np.abs(waves[:, quiet]) ** 2).mean((0, 1))  # (K,)
    squares[-1] /= 4  # at 18 cycles a wave and its mirror image are one, counted twice above
    values = {name: float(np.sqrt(squares[first : last + 1].sum())) for name, first, last in CYCLES}
    values["power of 1 cycle"] = squares[1] / 2 / power if power else np.nan
    for place, (above, below) in pairs(collars, len(quiet)).items():
        turned = waves[:, below, 1].mean(-1) * waves[:, above, 1].mean(-1).conj()
        name = f"1 cycle, turn {place}"
        values[name] = median(np.abs(np.angle(turned, deg=True)))
    along = np.abs(np.fft.rfft(kept, axis=1)) ** 2
    along[:, 1:] *= 2  # both signs
    slow = np.arange(along.shape[1]) * SLOW < kept.shape[1]
    values["coherence"] = along[:, slow].sum() / along.sum() if power else np.nan
    return values


def _lattice(filled: Floats, quiet: Bools) -> dict[str, float]:
    """Windows whose power at periods of 8 to 36 rows and 1 to 8 cycles is mostly one peak's.

    A peak is higher than its neighbours in frequency along depth, which texture that changes
    slowly never is. The power of twins is averaged.
    """
    power = _windows(np.where(quiet[:, None], filled, 0))
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
    between = (left - right) / 2 / (left - 2 * centre + right)  # the top of a parabola
    return {
        "lattice, windows": share_found,
        "lattice, cycles": median(1.0 + cycle[found]),
        "lattice, period": median(LATTICE_ROWS / np.abs(row[found] + between)),
        # The three bins of a Hann window's peak hold 1.5 times the power of its top.
        "lattice, amplitude": median(np.sqrt(peak[found] / 1.5) * 4 / (COLUMNS * LATTICE_ROWS)),
    }


def _windows(filled: Floats) -> Floats:
    """Power (windows, F, K) of 1 to 8 cycles in windows half a window apart, tapered in depth."""
    starts = np.arange(0, filled.shape[1] - LATTICE_ROWS + 1, LATTICE_ROWS // 2)
    taper = np.hanning(LATTICE_ROWS + 1)[:LATTICE_ROWS, None]
    windows = filled[:, starts[:, None] + np.arange(LATTICE_ROWS)] * taper
    spectrum = np.fft.fft(np.fft.rfft(windows, axis=-1)[..., 1:9], axis=-2)
    power: Floats = (np.abs(spectrum) ** 2).mean(0)
    return power


def _noise(twins: Floats, quiet: Bools) -> dict[str, float]:
    """The noise floor from second differences: [1, -2, 1] along depth and along azimuth.

    It multiplies the variance of white noise by 36, and by 6 along depth alone, where what changes
    from row to row and is smooth round the pipe (ripple) adds to it. Unevenness is the ratio of the
    90th to the 10th percentile of the noise in stretches of 72 rows of one column.
    """
    along = np.diff(twins, 2, axis=1)[:, quiet[1:-1]]
    both = (np.roll(along, 1, -1) - 2 * along + np.roll(along, -1, -1)) / 6
    noise = deviation(both)
    stretches = both[:, : both.shape[1] // LATTICE_ROWS * LATTICE_ROWS]
    stretches = np.abs(stretches).reshape(len(both), -1, LATTICE_ROWS, COLUMNS)
    local = np.median(stretches, axis=2)
    least = quantile(local, 0.1)
    return {
        "noise": noise,
        "noise, unevenness": quantile(local, 0.9) / least if least > 0 else np.nan,
        "ripple": max(deviation(along) ** 2 / 6 - noise**2, 0) ** 0.5,
    }


def _spikes(twins: Floats, quiet: Bools) -> dict[str, float]:
    """Pixels far from the median of the two rows above and the two below."""
    beside = np.stack([twins[:, i : len(quiet) - 4 + i] for i in (0, 1, 3, 4)])
    beside.sort(0)
    off = twins[:, 2:-2] - (beside[1] + beside[2]) / 2
    limit = SPIKE * deviation(off)
    spike, known = np.abs(off) > limit, np.isfinite(off)
    calm = np.lib.stride_tricks.sliding_window_view(quiet, 5).all(1)
    return {
        "spikes": share(spike, known),
        "spikes, no collars": share(spike[:, calm], known[:, calm]),
        "spikes, bright": share(off[:, calm] > limit, spike[:, calm]),
    }


def _collars(twins: Floats, collars: Collars) -> dict[str, float]:
    """Thickness in rows; height is the 90th percentile of how far their pixels are off zero."""
    rows = np.arange(len(collars.loud))[:, None]
    inside = ((collars.first <= rows) & (rows <= collars.last)).any(1)
    return {
        "collars, spacing": collars.spacing if inside.any() else np.nan,
        "collars, thickness": median(collars.last - collars.first + 1.0),
        "collars, height": quantile(np.abs(twins[:, inside]), 0.9),
        "stray lines": 100 * collars.strays / len(rows),
    }


def _nulls(twins: Floats) -> dict[str, float]:
    """Shares of pixels, and of rows that hold nothing else or something else as well."""
    null = np.isnan(twins)
    whole = null.all((0, 2))
    return {
        "nulls": null.mean(),
        "nulls, whole rows": whole.mean(),
        "nulls, partial rows": (null.any((0, 2)) & ~whole).mean(),
    }

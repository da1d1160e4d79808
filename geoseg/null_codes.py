"""Find the values that stand for "no measurement" in an array.

A null code is one exact value that many pixels share, far outside the rest. No absolute limit
decides: a file may have converted its codes to another unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Codes of logging software, of either sign, and how files convert them between units.
_CODES = np.array([99, 99.99, 999, 999.25, 999.99, 9999, 9999.25, 99999, 1e10, 1e20, 1e30, 1e31])
_FACTORS = (1.0, 25.4, 1 / 25.4, 1000.0, 0.001, 25400.0, 1 / 25400)
_CONVERTED = np.unique(np.outer(_CODES, _FACTORS))
_INTEGER_LIMITS = (127, 128, 255, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
# Distances from the median, in spreads. Readings of nine real logs reach 37 in a usual patch, and
# some 200 in a quiet one.
_OUTSIDE, _DISTANT, _FAR, _NO_READING = 8, 20, 50, 1e4
_SAMPLE = 2**20  # pixels that give the median and the spread of a large array


class _Bulk(NamedTuple):
    """The readings: their median, their spread, and the usual number of pixels of one value."""

    median: float
    spread: float
    repeats: float


def find_null_codes(values: NDArray[np.generic]) -> dict[float, int]:
    """Return the null codes of an array of any shape and real dtype, and their numbers of pixels.

    NaN, infinities and what is beyond float32 are nulls without a code and are ignored.
    """
    finite = values[np.abs(values.astype(np.float64)) <= np.finfo(np.float32).max].astype(
        np.float64
    )
    if not finite.size:
        return {}
    bulk = _measure_bulk(finite)
    if bulk is None:  # codes are all that there is
        codes, counts = np.unique(finite, return_counts=True)
        return dict(zip(codes.tolist(), counts.tolist(), strict=True))
    distance = np.abs(finite - bulk.median)
    inner, counts = np.unique(finite[distance <= _OUTSIDE * bulk.spread], return_counts=True)
    found = set(inner[_find_piled(inner, counts, bulk)].tolist())
    # Half of the least distance, so that what surrounds an outer value is complete.
    outer, counts = np.unique(finite[distance > _OUTSIDE / 2 * bulk.spread], return_counts=True)
    found |= {*outer[_find_outside(outer, counts, bulk, finite.size)].tolist()}
    return {code: int((finite == code).sum()) for code in sorted(found)}


def _measure_bulk(finite: NDArray[np.float64]) -> _Bulk | None:
    """Measure the readings, among which a code counts little even where most pixels hold it.

    Return None if every value is a code of logging software.
    """
    if finite.size > _SAMPLE:
        finite = np.random.default_rng(0).choice(finite, _SAMPLE)
    values, counts = np.unique(finite, return_counts=True)
    readings = ~_is_one_of(values, _CODES)
    if not readings.any():
        return None
    repeats = float(np.median(counts[readings]))
    beside = np.pad(counts, 1)
    weights = np.minimum(counts, 10 * np.maximum(beside[:-2], beside[2:]).clip(min=1))
    median = _weighted_median(values, weights)
    spread = _weighted_median(np.abs(values - median), weights) / 0.6745
    step = float(np.median(np.diff(values))) if len(values) > 1 else 0.0  # of coarse counts
    return _Bulk(median, max(spread, step), repeats)


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def _is_one_of(values: NDArray[np.float64], codes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are sorted codes of either sign, but for the rounding of float32."""
    sizes = np.abs(values)
    place = np.searchsorted(codes, sizes * (1 - 1e-6)).clip(max=len(codes) - 1)
    return np.abs(codes[place] - sizes) <= 1e-6 * sizes


def _find_piled(
    values: NDArray[np.float64], counts: NDArray[np.int64], bulk: _Bulk
) -> NDArray[np.bool_]:
    """Return which values are known codes that ten times as many pixels hold as their neighbours.

    Such a code is found within the range of the readings too: -999.25 in a log in micrometres. In
    coarse counts the neighbours are the next values present: 99 between 98 and 100 is a reading.
    """
    piled = (counts >= 10) & _is_one_of(values, _CODES)
    for position in piled.nonzero()[0]:
        near = np.abs(values - values[position]) <= 0.05 * bulk.spread
        near[position] = False
        if not near.any():
            near[max(0, position - 1) : position + 2] = True
            near[position] = False
            near &= np.abs(values - values[position]) <= 2 * bulk.spread
        piled[position] = not near.any() or counts[position] >= 10 * counts[near].mean()
    return piled


def _find_outside(
    values: NDArray[np.float64], counts: NDArray[np.int64], bulk: _Bulk, pixels: int
) -> NDArray[np.bool_]:
    """Return which of the outer values are codes, and which are too far out for any reading.

    A code is isolated: next to no reading lies within half of its distance from the median, or
    within a quarter for the limit of an integer type.
    """
    distances = np.abs(values - bulk.median)
    limits = np.isin(np.abs(values), _INTEGER_LIMITS) & (counts > 2)
    known = _is_one_of(values, _CONVERTED) | limits
    # Thickness that is not relative to its row is positive; 0 stands for a lost echo.
    one_signed = counts[values < 0].sum() <= pixels // 100
    lost = (values == 0) & (bulk.median > 2 * _OUTSIDE * bulk.spread) & one_signed
    spreads = distances / max(bulk.spread, np.finfo(np.float32).tiny)
    shares = [np.full(len(values), 2), np.full(len(values), max(8, pixels // 2000))]
    enough = counts >= np.select([spreads > _FAR, spreads > _DISTANT], shares, max(8, pixels // 20))
    piled = counts >= 10 * bulk.repeats
    known &= (counts > 1) | (spreads > _FAR)  # a single one is a spike
    suspect = (distances > _OUTSIDE * bulk.spread) & (
        known | lost | enough & (piled | (counts > 1))
    )
    if bulk.repeats > 1:  # counts: readings repeat too
        suspect &= piled | known | lost | (spreads > _FAR)
    readings = np.concatenate([[0], np.cumsum(np.where(suspect, 0, counts))])
    margin = distances * np.where(limits, 0.25, 0.5)
    low = np.searchsorted(values, values - margin)
    high = np.searchsorted(values, values + margin, side="right")
    isolated = readings[high] - readings[low] <= counts // 20
    # A log that was clipped has as many pixels at the other limit.
    mirror = np.searchsorted(values, 2 * bulk.median - values - 0.01 * distances)
    mirror = mirror.clip(max=max(0, len(values) - 1))
    clipped = (np.abs(values[mirror] + values - 2 * bulk.median) <= 0.01 * distances) & suspect[
        mirror
    ]
    clipped &= distances <= _FAR * bulk.spread
    piles = lost & (counts >= 10 * max(1.0, bulk.repeats)) | _find_piled(values, counts, bulk)
    beyond = (distances > _NO_READING * bulk.spread) & (bulk.spread > 0)
    return suspect & isolated & ~(clipped & ~known) | piles | beyond

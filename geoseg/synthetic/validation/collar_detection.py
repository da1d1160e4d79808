"""Where a log's collars are, found by their loudness and their spacing.

T twin, Z depth, A azimuth, N collar.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

LOUD = 4.0  # times the median change from row to row, by which collars and stray lines are told
NEAR = 30  # rows above and below that tell how loud a row usually is
GAP = 8  # rows: a collar is at most 9 rows thick
JOINTS = (60, 450)  # rows: the spacings of collars that are looked for


class Collars(NamedTuple):
    """Rows (Z,) that are `loud`, and among them the collars: spacing, first and last rows (N,).

    `strays` counts the other stretches of loud rows.
    """

    loud: Bools
    spacing: float
    first: Integers
    last: Integers
    strays: int


def find_collars(twins: Floats) -> Collars:
    """Find stretches of rows that begin and end with a jump, and the collars among them.

    A jump is a mean change from one row to the next of LOUD times the median one of the rows near
    (a speckled stretch is no collar); jumps at most GAP rows apart belong to one stretch. Collars
    have another stretch at their usual spacing.
    """
    change = np.abs(np.diff(twins, axis=1))
    known = np.isfinite(change)
    each = np.where(known, change, 0).sum((0, 2)) / known.sum((0, 2)).clip(min=1)
    padded = np.pad(each, NEAR, mode="reflect")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR + 1), axis=-1)
    jumps = 1 + np.flatnonzero(each > LOUD * usual)  # the row below
    apart = np.diff(jumps, prepend=-GAP) > GAP
    first, last = jumps[apart], np.maximum(jumps[np.roll(apart, -1)] - 1, jumps[apart])
    marks = np.zeros(twins.shape[1] + 1, dtype=int)
    marks[first] += 1
    marks[last + 1] -= 1
    loud = marks.cumsum()[:-1] > 0
    spacing = _spacing(loud)
    between = np.abs(first[:, None] - first)
    collar = (np.abs(between - spacing) < 0.07 * spacing).any(1)
    return Collars(loud, spacing, first[collar], last[collar], int((~collar).sum()))


def _spacing(loud: Bools) -> float:
    """The lag, within JOINTS, at which loud rows repeat most, give or take a twentieth."""
    signal = loud - loud.mean()
    power = np.abs(np.fft.rfft(signal, 2 * len(signal))) ** 2
    likeness = np.fft.irfft(power)[: len(signal)]
    total = np.r_[0, likeness.cumsum()]
    lags = np.arange(JOINTS[0], min(JOINTS[1], int(len(signal) / 1.1)))
    if not lags.size or likeness[0] <= 0:
        return np.nan
    reach = np.maximum(lags // 20, 1)
    mean = (total[lags + reach + 1] - total[lags - reach]) / (2 * reach + 1)
    return float(lags[mean.argmax()])


def pairs(collars: Collars, rows: int) -> dict[str, tuple[Integers, Integers]]:
    """Rows above and below (N, 20) of the collars, and of places half-way between them."""
    half = int(np.nan_to_num(collars.spacing)) // 2
    away = np.arange(4, 24)
    result = {}
    for name, shift in (("across collars", 0), ("between collars", half)):
        above = collars.first[:, None] + shift - away
        below = collars.last[:, None] + shift + away
        inside = (above >= 0).all(1) & (below < rows).all(1)
        result[name] = above[inside], below[inside]
    return result

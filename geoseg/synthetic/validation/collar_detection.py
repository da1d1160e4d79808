"""Find the collars of a log by their strong changes and their regular spacing.

T twin, Z depth, A azimuth, N collar.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

JUMP = 4.0  # a jump is this many times the median change from row to row
NEIGHBOURHOOD = 30  # rows above and below over which the median is taken
MAX_GAP = 8  # rows between the jumps of one collar, which is at most 9 rows thick
JOINT_ROWS = (60, 450)  # range of spacings that are searched


class Collars(NamedTuple):
    """Rows (Z,) between jumps, and the collars among them: spacing, first and last rows (N,).

    `strays` counts the other groups of `jump_rows`.
    """

    jump_rows: Bools
    spacing: float
    first: Integers
    last: Integers
    strays: int


def find_collars(twins: Floats) -> Collars:
    """Find groups of rows that begin and end with a jump, and the collars among them.

    A jump is a mean change from one row to the next of JUMP times the median of the rows nearby, so
    that a noisy part of the log is not a collar. Jumps at most MAX_GAP rows apart belong to one
    group. A group is a collar if another group lies at the usual spacing from it.
    """
    change = np.abs(np.diff(twins, axis=1))
    valid = np.isfinite(change)
    mean = np.where(valid, change, 0).sum((0, 2)) / valid.sum((0, 2)).clip(min=1)
    padded = np.pad(mean, NEIGHBOURHOOD, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURHOOD + 1)
    jumps = 1 + np.flatnonzero(mean > JUMP * np.median(windows, axis=-1))  # the row below
    apart = np.diff(jumps, prepend=-MAX_GAP) > MAX_GAP
    first, last = jumps[apart], np.maximum(jumps[np.roll(apart, -1)] - 1, jumps[apart])
    marks = np.zeros(twins.shape[1] + 1, dtype=int)
    marks[first] += 1
    marks[last + 1] -= 1
    jump_rows = marks.cumsum()[:-1] > 0
    spacing = _find_spacing(jump_rows)
    between = np.abs(first[:, None] - first)
    collar = (np.abs(between - spacing) < 0.07 * spacing).any(1)
    return Collars(jump_rows, spacing, first[collar], last[collar], int((~collar).sum()))


def _find_spacing(jump_rows: Bools) -> float:
    """Return the lag within JOINT_ROWS with the highest autocorrelation, averaged over +-5%."""
    signal = jump_rows - jump_rows.mean()
    power = np.abs(np.fft.rfft(signal, 2 * len(signal))) ** 2
    correlation = np.fft.irfft(power)[: len(signal)]
    total = np.r_[0, correlation.cumsum()]
    lags = np.arange(JOINT_ROWS[0], min(JOINT_ROWS[1], int(len(signal) / 1.1)))
    if not lags.size or correlation[0] <= 0:
        return np.nan
    reach = np.maximum(lags // 20, 1)
    mean = (total[lags + reach + 1] - total[lags - reach]) / (2 * reach + 1)
    return float(lags[mean.argmax()])


def pair_rows(collars: Collars, rows: int) -> dict[str, tuple[Integers, Integers]]:
    """Return rows above and below (N, 20) of the collars, and of places half-way between."""
    half = int(np.nan_to_num(collars.spacing)) // 2
    distance = np.arange(4, 24)
    result = {}
    for name, offset in (("across collars", 0), ("between collars", half)):
        above = collars.first[:, None] + offset - distance
        below = collars.last[:, None] + offset + distance
        inside = (above >= 0).all(1) & (below < rows).all(1)
        result[name] = above[inside], below[inside]
    return result

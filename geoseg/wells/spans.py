"""Spans of a mask: sequences of adjacent groove pixels in one row, which may cross the seam.

Z depth, A azimuth, N span. Spans of a groove follow each other down the log.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Spans(NamedTuple):
    """Row, first column and width (N,) of each span; and `number` (Z, A), -1 outside of spans."""

    row: Integers
    first: Integers
    width: Integers
    number: Integers


def find_spans(groove: Bools) -> Spans:
    """Find the spans of rows (Z, A), from top to bottom; a row that is all groove has none."""
    columns = groove.shape[1]
    begins = groove & ~np.roll(groove, 1, 1)
    row, first = begins.nonzero()
    count = np.bincount(row, minlength=len(groove))
    before = np.cumsum(count) - count
    # Where a span crosses the seam, the row's first end belongs to its last beginning.
    last = (groove & ~np.roll(groove, -1, 1)).nonzero()[1]
    crosses = (groove[:, 0] & groove[:, -1])[row]
    place = np.arange(len(row)) - before[row] + crosses
    last = last[before[row] + place % count[row]]
    # Pixels left of a row's first beginning belong to its last span, which crosses the seam.
    within = (begins.cumsum(1) - 1) % count.clip(min=1)[:, None]
    number = np.where(groove & (count > 0)[:, None], before[:, None] + within, -1)
    return Spans(row, first, (last - first) % columns + 1, number)


def link_spans(spans: Spans) -> Integers:
    """Return the span that continues each span in the next row (N,), -1 where none does.

    Both choose each other among those that they touch, corners included: the one that shares most
    columns, and of equals the one further right. Where grooves meet, one of them continues.
    """
    count, columns = len(spans.row), spans.number.shape[1]
    keys, weights = [], []
    for step, weight in ((-1, 1), (0, 3), (1, 1)):
        upper, lower = spans.number[:-1], np.roll(spans.number[1:], step, 1)
        both = (upper >= 0) & (lower >= 0)
        keys.append(upper[both] * count + lower[both])
        weights.append(np.full(len(keys[-1]), weight))
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    shared = np.bincount(inverse, np.concatenate(weights), minlength=len(pairs))
    upper, lower = np.divmod(pairs, max(count, 1))
    centre = spans.first + (spans.width - 1) / 2
    right = wrap(centre[lower] - centre[upper], columns)
    below, above = np.full(count, -1), np.full(count, -1)
    order = np.lexsort((right, shared))  # the last one assigned is the best
    below[upper[order]] = lower[order]
    order = np.lexsort((-right, shared))
    above[lower[order]] = upper[order]
    mutual = above[below] == np.arange(count)
    return np.where((below >= 0) & mutual, below, -1)


def label_chains(following: Integers) -> Integers:
    """Return the number of the first span of each span's chain, by pointer jumping (N,)."""
    head = np.arange(len(following))
    linked = following >= 0
    head[following[linked]] = np.flatnonzero(linked)
    while not np.array_equal(jumped := head[head], head):
        head = jumped
    return head


def wrap(difference: NDArray[np.floating], columns: int) -> NDArray[np.floating]:
    """Return a difference of azimuths, in columns, as the shorter way round: -A/2 to A/2."""
    return (difference + columns / 2) % columns - columns / 2

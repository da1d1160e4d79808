"""Trace grooves down a mask. Z depth, A azimuth, N span.

A groove is followed from row to row, across the seam and through collars. Where two grooves meet,
each keeps its own way: the one that continues best takes the common rows, and the other is joined
across them as across any gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.measurements import Log
from geoseg.wells.spans import Integers, Spans, find_spans, label_chains, link_spans, wrap

Floats = NDArray[np.float64]

BRIDGE = 36  # measured rows of a gap inside one groove: annotators bridge as many
REACH = (
    2.0,
    0.08,
)  # columns of 10 degrees between the sides of a gap, and more for each of its rows
TURN_COST = 8  # rows of a gap that count as much as a column of 10 degrees between its sides
LEAST_ROWS = 15  # marked rows of a groove; annotators drop shorter ones
END_ROWS = 8  # marked rows over which the azimuth at a gap is averaged


def trace_grooves(mask: NDArray[np.generic], log: Log) -> tuple[Spans, Integers]:
    """Return the spans of a mask (Z, A), 1 or True on grooves, and the groove of each (N,).

    Grooves are numbered 0, 1, ... by their tops, of equals the lower one first. Gaps of up to
    BRIDGE rows are bridged; rows that are null everywhere do not count. The number is -1 for spans
    of grooves with fewer than LEAST_ROWS marked rows.
    """
    spans = find_spans(np.asarray(mask) == 1)
    chain = _join_chains(spans, log)
    firsts, groove, marked = np.unique(chain, return_inverse=True, return_counts=True)
    bottom = np.zeros(len(firsts), int)
    np.maximum.at(bottom, groove, spans.row)
    kept = marked >= LEAST_ROWS
    rank = np.full(len(firsts), -1)
    order = np.lexsort((-bottom, spans.row[firsts]))
    rank[order[kept[order]]] = np.arange(kept.sum())
    return spans, rank[groove]


def label_grooves(mask: NDArray[np.generic], log: Log) -> Integers:
    """Return the number of the groove of each pixel of a mask (Z, A), -1 outside: int64 (Z, A).

    Numbers count from 0 in the order of `find_grooves`.
    """
    spans, groove = trace_grooves(mask, log)
    return np.append(groove, -1)[spans.number]


def _join_chains(spans: Spans, log: Log) -> Integers:
    """Return the first chain of the groove of each span (N,): chains are joined across gaps."""
    head = label_chains(link_spans(spans))
    firsts, chain = np.unique(head, return_inverse=True)
    if not firsts.size:
        return chain
    count, columns = len(firsts), log.image.shape[1]
    order = np.argsort(chain, kind="stable")
    lasts = order[np.cumsum(np.bincount(chain)) - 1]
    upper, lower, gap = _pair_chains(spans.row[firsts], spans.row[lasts], log)
    centre = spans.first + (spans.width - 1) / 2
    start, finish = _average_ends(centre, order, chain, columns)
    # Rounded, so that a shift of the log changes no comparison; of equals the left turn is first.
    turn = np.round(wrap(start[lower] - finish[upper], columns) * (36 / columns), 6)
    near = np.abs(turn) <= REACH[0] + REACH[1] * gap
    upper, lower, gap, turn = upper[near], lower[near], gap[near], turn[near]
    following = np.full(count, -1)
    taken = np.zeros(count, bool)
    for pair in np.lexsort((turn, gap + TURN_COST * np.abs(turn))).tolist():
        if following[upper[pair]] < 0 and not taken[lower[pair]]:
            following[upper[pair]] = lower[pair]
            taken[lower[pair]] = True
    return label_chains(following)[chain]


def _pair_chains(top: Integers, bottom: Integers, log: Log) -> tuple[Integers, ...]:
    """Return the pairs of chains with a gap of at most BRIDGE: the upper, the lower, and the gap.

    `top` and `bottom` are rows (chains,), in the order of `top`; gaps count measured rows.
    """
    before = np.r_[0, np.cumsum(np.isfinite(log.image).any(1))]  # measured rows above each row
    limit = np.searchsorted(before, before[bottom + 1] + BRIDGE, side="right") - 1
    low = np.searchsorted(top, bottom, side="right")
    count = (np.searchsorted(top, limit, side="right") - low).clip(0)
    upper = np.repeat(np.arange(len(top)), count)
    lower = np.arange(len(upper)) + np.repeat(low - (count.cumsum() - count), count)
    return upper, lower, before[top[lower]] - before[bottom[upper] + 1]


def _average_ends(
    centre: Floats, order: Integers, chain: Integers, columns: int
) -> tuple[Floats, Floats]:
    """Return the mean azimuth of the first and the last END_ROWS spans of each chain, columns."""
    length = np.bincount(chain)
    begin = np.cumsum(length) - length
    result = []
    for edge, step in ((begin, 1), (begin + length - 1, -1)):
        places = edge[:, None] + step * np.minimum(np.arange(END_ROWS), length[:, None] - 1)
        values = centre[order[places]]
        offset = wrap(values - values[:, :1], columns)
        result.append((values[:, 0] + offset.mean(1)) % columns)
    return result[0], result[1]

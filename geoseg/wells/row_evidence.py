"""How strongly each row of a log shows that a joint begins there. Z depth, A azimuth.

A collar is loud: its rows differ from the wall above and below. The wall of the next joint begins
at its first row: eccentricity, texture and lattice start anew, so that a row there differs from
what the rows above predict, even where the collar itself left no mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COLUMNS = 36  # at most; more columns are averaged, which loses nothing of a collar
CHUNK = 1 << 14  # rows that are measured at once, to limit memory
MARGIN = 64  # rows that a chunk sees beyond its ends
CLIP = 5.0  # spreads of a column at which a pixel counts as an outlier and no more
LEAST_VALID = 5  # columns of a row; with fewer it is not measured
# Log odds that a row with a standardised departure v belongs to a collar: 1.1 (v - 1.3), as
# counted in synthetic wells.
ODDS_SLOPE, ODDS_ZERO, ODDS_LIMITS = 1.1, 1.3, (-2.0, 5.0)


class RowEvidence(NamedTuple):
    """Evidence of each row (Z,), float32.

    `loud`: log odds that the row belongs to a collar. `start`: the log of how many times likelier
    the rows around are if a joint begins here, without the collar's other rows. `measured`: bool.
    """

    loud: Floats
    start: Floats
    measured: NDArray[np.bool_]


def measure_rows(image: Floats) -> RowEvidence:
    """Measure the rows of a log (Z, A), NaN at nulls."""
    departures = np.concatenate(
        [_measure_chunk(image, first) for first in range(0, len(image), CHUNK)], axis=1
    )
    measured = np.isfinite(departures[0])
    step, fine, pair, quiet = (_standardise(row, measured) for row in departures)
    step_odds, fine_odds, quiet_odds = (_to_odds(row, measured) for row in (step, fine, quiet))
    # Fitted on 30 synthetic wells: which of the 27 rows around does the joint begin at?
    start = (
        -0.7 * shift(step_odds, -1)
        + 0.2 * step_odds
        - 0.55 * shift(fine_odds, -2)
        - 0.7 * shift(fine_odds, -1)
        + 0.45 * fine_odds
        + 0.4 * shift(fine_odds, 1)
        + 0.65 * shift(pair, -1).clip(-3, 9)
        - 3.6
    )
    return RowEvidence(quiet_odds, np.where(measured, start, 0), measured)


def shift(rows: NDArray, by: int) -> NDArray:
    """Return the row that is `by` further down, for every row; the ends are repeated."""
    return rows[(np.arange(len(rows)) + by).clip(0, len(rows) - 1)]


def _measure_chunk(image: Floats, first: int) -> Floats:
    """Return four departures of each row (4, rows), NaN where it is not measured."""
    top = max(0, first - MARGIN)
    rows = _average_columns(image[top : first + CHUNK + MARGIN])
    valid = np.isfinite(rows)
    filled = _fill_nulls(rows, valid)
    above, below = (_median([shift(filled, sign * k) for k in range(1, 6)]) for sign in (-1, 1))
    near, here = (_median([shift(filled, k) for k in steps]) for steps in ((-3, -2, -1), (0, 1, 2)))
    off = filled - above
    count = valid.sum(1)

    def depart(difference: NDArray[np.floating]) -> NDArray[np.floating]:
        size = np.abs(difference)
        scale = np.median(size[::4], axis=0) + np.float32(1e-9)
        size = np.minimum(size / (1.4826 * scale), CLIP) * valid
        return np.where(
            count >= min(LEAST_VALID, rows.shape[1]), size.sum(1) / count.clip(1), np.nan
        )

    step = depart(off)
    fine = depart(off - (np.roll(off, 1, 1) + np.roll(off, -1, 1)) / 2)
    departures = np.stack(
        [step, fine, depart(here - near), np.minimum(step, depart(filled - below))]
    )
    return departures[:, first - top : first - top + CHUNK].astype(np.float32)


def _average_columns(rows: Floats) -> Floats:
    """Average groups of adjacent columns so that about COLUMNS are left."""
    size = rows.shape[1] // COLUMNS
    if size < 2:
        return rows
    groups = rows[:, : rows.shape[1] // size * size].reshape(len(rows), -1, size)
    valid = np.isfinite(groups)
    count = valid.sum(-1)
    total = np.where(valid, groups, 0).sum(-1)
    return np.where(count > 0, total / count.clip(1), np.nan).astype(np.float32)


def _fill_nulls(rows: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Repeat the last valid value of each column downwards; 0, the row mean, above the first."""
    last = np.maximum.accumulate(np.where(valid, np.arange(len(rows))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(rows, last.clip(0), axis=0), np.float32(0))


def _median(planes: Sequence[Floats]) -> Floats:
    """Return the median of three or five arrays, much faster than by sorting."""
    if len(planes) == 5:
        a, b, c, d, e = planes
        low = np.maximum(np.minimum(a, b), np.minimum(c, d))
        high = np.minimum(np.maximum(a, b), np.maximum(c, d))
        planes = (low, high, e)
    a, b, c = planes
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _standardise(values: Floats, measured: NDArray[np.bool_]) -> Floats:
    """Return the log of the values over their median nearby, in robust standard deviations."""
    if not measured.any():
        return np.zeros_like(values)
    values = np.log(np.where(measured, values, np.median(values[measured])) + 1e-6)
    centres = np.arange(0, len(values), 4)
    nearby = (centres[:, None] + np.arange(-60, 61, 3)).clip(0, len(values) - 1)
    values = values - np.median(values[nearby], axis=1).repeat(4)[: len(values)]
    return values / (1.4826 * np.median(np.abs(values)) + 1e-9)


def _to_odds(values: Floats, measured: NDArray[np.bool_]) -> Floats:
    odds = (ODDS_SLOPE * (values - ODDS_ZERO)).clip(*ODDS_LIMITS)
    return np.where(measured, odds, np.float32(0))

"""The grooves of a mask, traced run by run, and measured.

T twin, Z depth, A azimuth, R row of all twins one below the other (T * Z), N run. A run is a
stretch of neighbouring groove pixels in one row, round the seam where it must.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.evaluation.morphology import label_components
from geoseg.patches import UNKNOWN_LABEL
from geoseg.synthetic.validation.robust_statistics import median, quantile

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

DOUBLINGS = 5  # drift compares the mean places of 2**5 rows with those of the 2**5 below
FAINTEST = -0.003  # inches: nearer to zero, a ratio of contrasts means nothing


class Runs(NamedTuple):
    """Row, first column and width (N,) of each run; and `number` (R, A), -1 outside of runs."""

    row: Integers
    first: Integers
    width: Integers
    number: Integers


def find_runs(groove: Bools) -> Runs:
    """Find the runs of rows (R, A); a row that is all groove has none."""
    columns = groove.shape[1]
    begins = groove & ~np.roll(groove, 1, 1)
    row, first = begins.nonzero()
    place = np.arange(2 * columns)
    outside = np.where(np.tile(groove, 2), 2 * columns, place)
    end = np.minimum.accumulate(outside[:, ::-1], axis=1)[:, ::-1]
    count = begins.sum(1)
    before = np.cumsum(count) - count
    # What lies left of a row's first beginning belongs to the run that crosses the seam: its last.
    within = (begins.cumsum(1) - 1) % count.clip(min=1)[:, None]
    number = np.where(groove & (count > 0)[:, None], before[:, None] + within, -1)
    return Runs(row, first, end[row, first] - first, number)


def find_links(runs: Runs, rows: int) -> tuple[Integers, Integers]:
    """Pairs (upper run, lower run) that touch, of logs of `rows` rows each."""
    upper, lower = runs.number[:-1], runs.number[1:]
    touching = (upper >= 0) & (lower >= 0)
    touching[rows - 1 :: rows] = False  # the last row of a twin and the first of the next
    count = max(len(runs.row), 1)
    pair = np.unique(upper[touching] * count + lower[touching])
    return pair // count, pair % count


def measure_grooves(
    twins: Floats,
    masks: NDArray[np.uint8],
    loud: Bools,
    beside: Mapping[str, tuple[Integers, Integers]],
) -> dict[str, float]:
    """Measure the grooves of a log's twins (T, Z, A), inches, with masks of 0, 1 and UNKNOWN.

    `loud` (Z,) rows have no contrast. `beside` names places, and gives the rows above and below
    each (places, rows), between which contrast is compared.
    """
    rows, columns = twins.shape[1:]
    mask = masks.reshape(-1, columns)
    runs = find_runs(mask == 1)
    contrast = _contrast(twins.reshape(-1, columns), mask, runs)
    contrast[loud[runs.row % rows]] = np.nan
    crowd = np.bincount(runs.row, minlength=len(mask))
    ends = mask[runs.row, runs.first - 1], mask[runs.row, (runs.first + runs.width) % columns]
    width = np.where((ends[0] == UNKNOWN_LABEL) | (ends[1] == UNKNOWN_LABEL), np.nan, runs.width)
    length = _lengths(masks)
    drift = np.abs(_drift(runs, rows, columns))
    return {
        "grooves, rows": (crowd > 0).mean(),
        "grooves, beside": crowd[crowd > 0].mean() if crowd.any() else np.nan,
        "groove width": median(width),
        "groove width, 10th percentile": quantile(width, 0.1),
        "groove width, 90th percentile": quantile(width, 0.9),
        "groove contrast": median(contrast),
        "groove contrast, 5th percentile": quantile(contrast, 0.05),
        "groove contrast, 95th percentile": quantile(contrast, 0.95),
        **_changes(contrast, runs, crowd.reshape(-1, rows), beside),
        "groove length": median(length),
        "groove length, longest": quantile(length, 1),
        "groove drift": median(drift),
        "groove drift, 95th percentile": quantile(drift, 0.95),
    }


def _contrast(image: Floats, mask: NDArray[np.uint8], runs: Runs) -> Floats:
    """Mean inside less the mean of the columns 2 to 4 beside the run's outermost, inches (N,)."""
    columns = image.shape[1]

    def mean(chosen: Bools, spans: list[tuple[Integers, Integers]], least: int) -> Floats:
        chosen = chosen & np.isfinite(image)
        sums = []
        for values in (np.where(chosen, image, 0), chosen):
            total = np.tile(values, 3).cumsum(1, dtype=float)
            total = np.pad(total, ((0, 0), (1, 0)))
            sums.append(sum(total[runs.row, b] - total[runs.row, a] for a, b in spans))
        return np.where(sums[1] >= least, sums[0] / np.maximum(sums[1], 1), np.nan)

    first = runs.first + columns
    end = first + runs.width
    inside = mean(mask == 1, [(first, end)], least=1)
    return inside - mean(mask == 0, [(first - 4, first - 1), (end + 1, end + 4)], least=2)


def _lengths(masks: NDArray[np.uint8]) -> Floats:
    """Rows from a groove's first to its last; unknown pixels may link but not lengthen it."""
    number = label_components(torch.from_numpy(masks != 0)).numpy()
    known = masks == 1
    label, row = number[known], known.nonzero()[1]
    first, last = np.full(number.max() + 1, masks.shape[1]), np.full(number.max() + 1, -1)
    np.minimum.at(first, label, row)
    np.maximum.at(last, label, row)
    return (last - first + 1.0)[last >= 0]


def _drift(runs: Runs, rows: int, columns: int) -> Floats:
    """Columns per 100 rows, signed, from each run whose groove goes on below without a branch.

    Labels move in whole columns, so the mean places of two stretches are compared. Step after
    step the stretch doubles: its end, the way there, and the sum of the places on it.
    """
    upper, lower = find_links(runs, rows)
    count = len(runs.row)
    lone = (np.bincount(upper, minlength=count)[upper] == 1) & (
        np.bincount(lower, minlength=count)[lower] == 1
    )
    upper, lower = upper[lone], lower[lone]
    centre = runs.first + runs.width / 2
    ahead = np.full(count + 1, count)
    way, places = np.zeros(count + 1), np.zeros(count + 1)
    ahead[upper] = lower
    way[upper] = (centre[lower] - centre[upper] + columns / 2) % columns - columns / 2
    for doubling in range(DOUBLINGS):
        places += places[ahead] + 2**doubling * way
        way += way[ahead]
        ahead = ahead[ahead]
    size = 2**DOUBLINGS
    moved = way + (places[ahead] - places) / size
    drift: Floats = 100 / size * moved[ahead[ahead] < count]
    return drift


def _changes(
    contrast: Floats,
    runs: Runs,
    crowd: Integers,
    beside: Mapping[str, tuple[Integers, Integers]],
) -> dict[str, float]:
    """By what ratio, 1 or more, contrast changes at places; rows of a single groove only."""
    single = np.full(crowd.size, np.nan)
    alone = crowd.ravel()[runs.row] == 1
    single[runs.row[alone]] = contrast[alone]
    by_row = single.reshape(crowd.shape)
    values = {}
    for place, pair in beside.items():
        means = []
        for chosen in (by_row[:, rows] for rows in pair):
            known = np.isfinite(chosen)
            total = np.where(known, chosen, 0).sum(-1)
            means.append(np.where(known.sum(-1) >= 5, total / known.sum(-1).clip(min=1), np.nan))
        above, below = (np.where(mean < FAINTEST, -mean, np.nan) for mean in means)
        values[f"groove contrast, {place}"] = float(np.exp(median(np.abs(np.log(below / above)))))
    return values

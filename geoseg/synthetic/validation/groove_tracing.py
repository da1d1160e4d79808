"""Trace the grooves of a mask from row to row, and measure them.

T twin, Z depth, A azimuth, R row of all twins one below the other (T * Z), N span.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.evaluation.morphology import label_components
from geoseg.masks import UNKNOWN_LABEL
from geoseg.synthetic.validation.robust_statistics import median, quantile
from geoseg.wells.spans import Spans, find_spans

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

DOUBLINGS = 5  # drift compares the mean position of 2**5 rows with that of the 2**5 below
MIN_CONTRAST = -0.003  # inches: closer to zero, a ratio of contrasts is meaningless


def measure_grooves(
    twins: Floats,
    masks: NDArray[np.uint8],
    excluded: Bools,
    places: Mapping[str, tuple[Integers, Integers]],
) -> dict[str, float]:
    """Measure the grooves of a log's twins (T, Z, A), inches, with labels 0, 1 and UNKNOWN_LABEL.

    Rows that are `excluded` (Z,) have no contrast. `places` maps the name of a kind of place to the
    rows above and below each (places, rows), between which contrast is compared.
    """
    rows, columns = twins.shape[1:]
    mask = masks.reshape(-1, columns)
    spans = find_spans(mask == 1)
    contrast = _measure_contrast(twins.reshape(-1, columns), mask, spans)
    contrast[excluded[spans.row % rows]] = np.nan
    count = np.bincount(spans.row, minlength=len(mask))
    left, right = spans.first - 1, (spans.first + spans.width) % columns
    is_cut = (mask[spans.row, left] == UNKNOWN_LABEL) | (mask[spans.row, right] == UNKNOWN_LABEL)
    width = np.where(is_cut, np.nan, spans.width)
    length = _measure_lengths(masks)
    drift = np.abs(_measure_drift(spans, rows, columns))
    return {
        "grooves, rows": (count > 0).mean(),
        "grooves, beside": count[count > 0].mean() if count.any() else np.nan,
        "groove width": median(width),
        "groove width, 10th percentile": quantile(width, 0.1),
        "groove width, 90th percentile": quantile(width, 0.9),
        "groove contrast": median(contrast),
        "groove contrast, 5th percentile": quantile(contrast, 0.05),
        "groove contrast, 95th percentile": quantile(contrast, 0.95),
        **_compare_contrast(contrast, spans, count.reshape(-1, rows), places),
        "groove length": median(length),
        "groove length, longest": quantile(length, 1),
        "groove drift": median(drift),
        "groove drift, 95th percentile": quantile(drift, 0.95),
    }


def _measure_contrast(image: Floats, mask: NDArray[np.uint8], spans: Spans) -> Floats:
    """Return the mean inside minus the mean of columns 2 to 4 beside the span, inches (N,)."""
    columns = image.shape[1]

    def mean(chosen: Bools, limits: list[tuple[Integers, Integers]], least: int) -> Floats:
        chosen = chosen & np.isfinite(image)
        sums = []
        for values in (np.where(chosen, image, 0), chosen):
            total = np.tile(values, 3).cumsum(1, dtype=float)
            total = np.pad(total, ((0, 0), (1, 0)))
            sums.append(sum(total[spans.row, b] - total[spans.row, a] for a, b in limits))
        return np.where(sums[1] >= least, sums[0] / np.maximum(sums[1], 1), np.nan)

    first = spans.first + columns
    end = first + spans.width
    inside = mean(mask == 1, [(first, end)], least=1)
    return inside - mean(mask == 0, [(first - 4, first - 1), (end + 1, end + 4)], least=2)


def _measure_lengths(masks: NDArray[np.uint8]) -> Floats:
    """Return the rows from first to last of each groove; unknown pixels only link its parts."""
    number = label_components(torch.from_numpy(masks != 0)).numpy()
    groove = masks == 1
    component, row = number[groove], groove.nonzero()[1]
    first, last = np.full(number.max() + 1, masks.shape[1]), np.full(number.max() + 1, -1)
    np.minimum.at(first, component, row)
    np.maximum.at(last, component, row)
    return (last - first + 1.0)[last >= 0]


def _measure_drift(spans: Spans, rows: int, columns: int) -> Floats:
    """Return columns per 100 rows, signed, from each span whose groove continues without a branch.

    Labels move in whole columns, so the mean positions of two sections of the groove are compared.
    Each step doubles the section: the span at its end, the distance to it in columns, and the sum
    of the positions along it.
    """
    count = len(spans.row)
    touching = (spans.number[:-1] >= 0) & (spans.number[1:] >= 0)
    touching[rows - 1 :: rows] = False  # the last row of a twin and the first of the next
    pairs = spans.number[:-1][touching] * count + spans.number[1:][touching]
    upper, lower = np.divmod(np.unique(pairs), max(count, 1))
    unbranched = (np.bincount(upper)[upper] == 1) & (np.bincount(lower)[lower] == 1)
    upper, lower = upper[unbranched], lower[unbranched]
    centre = spans.first + spans.width / 2
    end = np.full(count + 1, count)
    distance, positions = np.zeros(count + 1), np.zeros(count + 1)
    end[upper] = lower
    distance[upper] = (centre[lower] - centre[upper] + columns / 2) % columns - columns / 2
    for doubling in range(DOUBLINGS):
        positions += positions[end] + 2**doubling * distance
        distance += distance[end]
        end = end[end]
    size = 2**DOUBLINGS
    moved = distance + (positions[end] - positions) / size
    drift: Floats = 100 / size * moved[end[end] < count]
    return drift


def _compare_contrast(
    contrast: Floats,
    spans: Spans,
    count: Integers,
    places: Mapping[str, tuple[Integers, Integers]],
) -> dict[str, float]:
    """Return the ratio, at least 1, by which contrast changes at places, in rows of one groove."""
    single = np.full(count.size, np.nan)
    alone = count.ravel()[spans.row] == 1
    single[spans.row[alone]] = contrast[alone]
    by_row = single.reshape(count.shape)
    values = {}
    for place, pair in places.items():
        means = []
        for chosen in (by_row[:, rows] for rows in pair):
            valid = np.isfinite(chosen)
            total = np.where(valid, chosen, 0).sum(-1)
            means.append(np.where(valid.sum(-1) >= 5, total / valid.sum(-1).clip(min=1), np.nan))
        above, below = (np.where(mean < MIN_CONTRAST, -mean, np.nan) for mean in means)
        values[f"groove contrast, {place}"] = float(np.exp(median(np.abs(np.log(below / above)))))
    return values

"""Measure how deep grooves are. Z depth, A azimuth, N span."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.wells.joints import Joints
from geoseg.wells.spans import Spans

Floats = NDArray[np.float64]

SMOOTH = 5  # rows that are averaged, so that noise does not deepen the deepest column
BESIDE = (2, 4)  # columns of 10 degrees beyond the groove's edge that count as the wall beside it
CHUNK = 1 << 15  # spans that are measured at once


def measure_depths(
    image: NDArray[np.float32], spans: Spans, joints: Joints
) -> tuple[Floats, Floats]:
    """Return the loss of each span below the wall beside it, and below the row mean, inches (N,).

    A span's loss is that of its deepest column. NaN in collars, and where groove or wall are null.
    `spans.number` says which columns of the wall beside are themselves grooves.
    """
    smooth = _smooth_rows(image)
    for collar in joints.collars:
        smooth[max(0, collar.top - SMOOTH // 2) : collar.bottom + 1 + SMOOTH // 2] = np.nan
    wall = np.where(spans.number < 0, smooth, np.float32(np.nan))
    parts = [
        _measure_chunk(smooth, wall, spans, slice(first, first + CHUNK))
        for first in range(0, len(spans.row), CHUNK)
    ]
    floor, beside = np.concatenate(parts, axis=1)
    return beside - floor, -floor


def _measure_chunk(
    smooth: NDArray[np.float32], wall: NDArray[np.float32], spans: Spans, part: slice
) -> Floats:
    """Return the value of the deepest column and that of the wall beside (2, spans)."""
    columns = smooth.shape[1]
    row, first, width = (x[part, None] for x in (spans.row, spans.first, spans.width))
    step = np.arange(width.max())
    values = smooth[row, (first + step) % columns]
    values = np.where((step < width) & np.isfinite(values), values, np.inf)
    floor = values.min(1).astype(float)
    near, far = (max(1, round(k * columns / 36)) for k in BESIDE)
    beyond = np.arange(near, far + 1)
    sides = []
    for place in (first - beyond, first + width - 1 + beyond):
        side = wall[row, place % columns]
        valid = np.isfinite(side)
        total = np.where(valid, side, 0).sum(1)
        sides.append(np.where(valid.any(1), total / valid.sum(1).clip(1), np.nan))
    known = np.isfinite(sides)
    total = np.where(known, sides, 0).sum(0)
    beside = np.where(known.any(0), total / known.sum(0).clip(1), np.nan)
    return np.stack([np.where(np.isfinite(floor), floor, np.nan), beside])


def _smooth_rows(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average SMOOTH rows around each, nulls excluded; a null stays null."""
    valid = np.isfinite(image)
    filled = np.where(valid, image, 0)
    total, count = np.zeros_like(filled), np.zeros(image.shape, np.uint8)
    for step in range(-(SMOOTH // 2), SMOOTH // 2 + 1):
        here, there = _overlap(len(image), step)
        total[here] += filled[there]
        count[here] += valid[there]
    return np.where(valid, total / count.clip(1), np.float32(np.nan))


def _overlap(rows: int, step: int) -> tuple[slice, slice]:
    """Return the rows that have another one `step` below, and those others."""
    return slice(max(0, -step), rows - max(0, step)), slice(max(0, step), rows + min(0, step))

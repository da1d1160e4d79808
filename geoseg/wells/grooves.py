"""List the grooves of a log's mask, and measure them. Z depth, A azimuth, N span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.measurements import Log
from geoseg.wells.groove_loss import measure_depths
from geoseg.wells.joints import Joints
from geoseg.wells.spans import Spans, wrap
from geoseg.wells.tracing import trace_grooves

Floats = NDArray[np.float64]

END_ROWS = 8  # marked rows over which the azimuth of an end is averaged


@dataclass(frozen=True)
class Groove:
    """One groove of a log. Rows count from 0; azimuths are columns from 0, on the ring.

    Attributes:
        top, bottom: first and last row, both included.
        azimuth_start, azimuth_end, azimuth_mean: of its centre line, 0 <= column < A.
        drift: columns per 100 rows, positive to the right with depth.
        width, width_most: columns, median and most.
        depth, depth_most: inches of loss below the wall beside it, median and most; NaN where
            nothing is measured. The subtracted row mean lifts both alike, so it cancels.
        reading, reading_most: inches below the row mean, as the log shows: less than the depth,
            since the row mean includes the groove itself.
        joint_first, joint_last: numbers of its joints; None if no joints were found.
        probability: mean over its pixels; None if no probabilities were given.
        coverage: share of its rows that the mask marks; the others were bridged.
    """

    top: int
    bottom: int
    azimuth_start: float
    azimuth_end: float
    azimuth_mean: float
    drift: float
    width: float
    width_most: int
    depth: float
    depth_most: float
    reading: float
    reading_most: float
    joint_first: int | None
    joint_last: int | None
    probability: float | None
    coverage: float

    @property
    def length(self) -> int:
        """Rows."""
        return self.bottom - self.top + 1


def find_grooves(
    mask: NDArray[np.generic],
    log: Log,
    joints: Joints,
    probability: NDArray[np.float32] | None = None,
) -> list[Groove]:
    """Return the grooves of a mask (Z, A), 1 or True on grooves, from top to bottom.

    Which pixels are one groove is told in `trace_grooves`. `probability` (Z, A) may be NaN at
    nulls. Raise ValueError if a shape is not the log's.
    """
    for name, array in (("mask", mask), ("probability", probability)):
        if array is not None and array.shape != log.image.shape:
            raise ValueError(f"the {name} has the shape {array.shape}, its log {log.image.shape}")
    spans, groove = trace_grooves(mask, log)
    order = np.argsort(groove, kind="stable")[np.count_nonzero(groove < 0) :]
    if not order.size:
        return []
    spans = Spans(spans.row[order], spans.first[order], spans.width[order], spans.number)
    begins = np.flatnonzero(np.diff(groove[order], prepend=-1))
    depth, reading = measure_depths(log.image, spans, joints)
    certainty = None if probability is None else _sum_probability(probability, spans, order)
    found = []
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        part = slice(begin, end)
        rows = spans.row[part]
        top, bottom = int(rows[0]), int(rows[-1])
        found.append(
            Groove(
                top,
                bottom,
                **_measure_azimuths(spans, part),
                width=float(np.median(spans.width[part])),
                width_most=int(spans.width[part].max()),
                **_summarise("depth", depth[part]),
                **_summarise("reading", reading[part]),
                joint_first=joints.number_at(top),
                joint_last=joints.number_at(bottom),
                probability=None if certainty is None else _divide(certainty[:, part]),
                coverage=len(rows) / (bottom - top + 1),
            )
        )
    return found


def _measure_azimuths(spans: Spans, part: slice) -> dict[str, float]:
    """Return start, end and mean (columns on the ring) and drift (columns per 100 rows)."""
    columns = spans.number.shape[1]
    centre = spans.first[part] + (spans.width[part] - 1) / 2
    path = centre[0] + np.r_[0, wrap(np.diff(centre), columns).cumsum()]
    rows = spans.row[part] - spans.row[part].mean()
    power = (rows**2).sum()
    drift = 100 * (rows * (path - path.mean())).sum() / power if power else 0.0
    places = {"start": path[:END_ROWS], "end": path[-END_ROWS:], "mean": path}
    azimuths = {f"azimuth_{k}": float(v.mean() % columns) for k, v in places.items()}
    return {**azimuths, "drift": float(drift)}


def _summarise(name: str, values: Floats) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if not values.size:
        return {name: float("nan"), f"{name}_most": float("nan")}
    return {name: float(np.median(values)), f"{name}_most": float(values.max())}


def _sum_probability(
    probability: NDArray[np.float32], spans: Spans, order: NDArray[np.int64]
) -> Floats:
    """Return the sum over the pixels of each span in `order`, and their number (2, N)."""
    valid = (spans.number >= 0) & np.isfinite(probability)
    number = spans.number[valid]
    size = int(spans.number.max()) + 1
    total = np.bincount(number, probability[valid], minlength=size)
    return np.stack([total, np.bincount(number, minlength=size).astype(float)])[:, order]


def _divide(sums: Floats) -> float | None:
    total, count = sums.sum(1)
    return float(total / count) if count else None

"""Write the tables of a well: grooves.csv and joints.csv.

Every header ends with the unit of its column. What is unknown is an empty cell: nothing is in
metres without the pitch, in millimetres without the diameter, in percent without the nominal wall.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence

from geoseg.atomic_files import atomic_write
from geoseg.measurements import Log
from geoseg.wells.grooves import Groove
from geoseg.wells.joints import Joint, Joints
from geoseg.wells.units import WellGeometry

Cell = str | int | float | None


def write_grooves(
    path: str | os.PathLike[str], grooves: Sequence[Groove], log: Log, geometry: WellGeometry
) -> None:
    """Write a line for each groove of a log; a groove's number is its line."""
    lines = [_describe_groove(i, g, log, geometry) for i, g in enumerate(grooves, 1)]
    # One that is never written gives the headers of a table without grooves.
    example = Groove(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None, 0)
    _write(path, _describe_groove(0, example, log, geometry), lines)


def write_joints(
    path: str | os.PathLike[str],
    joints: Joints,
    grooves: Sequence[Groove],
    log: Log,
    geometry: WellGeometry,
) -> None:
    """Write a line for each joint, with the grooves in it; only the headers if none were found."""
    lines = [_describe_joint(joint, joints, grooves, log, geometry) for joint in joints.joints]
    example = Joint(1, 0, 0, False)
    headers = _describe_joint(example, Joints((), (example,), math.nan), (), log, geometry)
    _write(path, headers, lines)


def _describe_depths(log: Log, top: int, bottom: int) -> dict[str, Cell]:
    """Return the depths of two rows as the log's file has them; empty cells without depths."""
    depth = log.depth
    return {
        "top_depth": None if depth is None else float(depth[top]),
        "bottom_depth": None if depth is None else float(depth[bottom]),
        "depth_unit": log.depth_unit if depth is not None else None,
    }


def _describe_groove(
    number: int, groove: Groove, log: Log, geometry: WellGeometry
) -> dict[str, Cell]:
    columns = log.image.shape[1]
    degrees = 360 / columns
    return {
        "groove": number,
        "top_row": groove.top,
        "bottom_row": groove.bottom,
        "length_rows": groove.length,
        **_describe_depths(log, groove.top, groove.bottom),
        "top_m": geometry.to_metres(groove.top),
        "bottom_m": geometry.to_metres(groove.bottom),
        "length_m": geometry.to_metres(groove.length),
        "joint_first": groove.joint_first,
        "joint_last": groove.joint_last,
        "azimuth_start_columns": groove.azimuth_start,
        "azimuth_end_columns": groove.azimuth_end,
        "azimuth_mean_columns": groove.azimuth_mean,
        "azimuth_mean_degrees": groove.azimuth_mean * degrees,
        "drift_columns_per_100_rows": groove.drift,
        "width_median_columns": groove.width,
        "width_most_columns": groove.width_most,
        "width_median_mm": geometry.to_millimetres_round(groove.width, columns),
        "width_most_mm": geometry.to_millimetres_round(groove.width_most, columns),
        "relative_depth_median_inches": groove.depth,
        "relative_depth_most_inches": groove.depth_most,
        "below_row_mean_median_inches": groove.reading,
        "below_row_mean_most_inches": groove.reading_most,
        "relative_depth_median_percent": geometry.to_percent(groove.depth),
        "relative_depth_most_percent": geometry.to_percent(groove.depth_most),
        "probability": groove.probability,
        "marked_share": groove.coverage,
    }


def _describe_joint(
    joint: Joint, joints: Joints, grooves: Sequence[Groove], log: Log, geometry: WellGeometry
) -> dict[str, Cell]:
    inside = [
        (i, g) for i, g in enumerate(grooves, 1) if g.top <= joint.bottom and g.bottom >= joint.top
    ]
    deepest = max(
        (pair for pair in inside if math.isfinite(pair[1].depth)),
        key=lambda pair: pair[1].depth,
        default=None,
    )
    collar = joints.collars[joint.number - 2] if joint.number > 1 else None
    return {
        "joint": joint.number,
        "top_row": joint.top,
        "bottom_row": joint.bottom,
        "length_rows": joint.length,
        **_describe_depths(log, joint.top, joint.bottom),
        "top_m": geometry.to_metres(joint.top),
        "bottom_m": geometry.to_metres(joint.bottom),
        "length_m": geometry.to_metres(joint.length),
        "complete": int(joint.complete),
        "collar_rows": collar.bottom - collar.top + 1 if collar else None,
        "collar_seen": int(collar.seen) if collar else None,
        "grooves": len(inside),
        "grooved_share": _count_rows(joint, inside) / joint.length,
        "deepest_groove": deepest[0] if deepest else None,
        "deepest_groove_relative_depth_median_inches": deepest[1].depth if deepest else None,
        "deepest_groove_relative_depth_median_percent": (
            geometry.to_percent(deepest[1].depth) if deepest else None
        ),
    }


def _count_rows(joint: Joint, grooves: Sequence[tuple[int, Groove]]) -> int:
    """Count the rows of a joint in which at least one groove lies; `grooves` are by their tops."""
    count, below = 0, joint.top
    for _, groove in grooves:
        first, end = max(groove.top, below), min(groove.bottom, joint.bottom) + 1
        count += max(0, end - first)
        below = max(below, end)
    return count


def _write(
    path: str | os.PathLike[str], headers: dict[str, Cell], lines: Sequence[dict[str, Cell]]
) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(headers)
        writer.writerows(list(_format(line)) for line in lines)


def _format(line: dict[str, Cell]) -> Iterator[Cell]:
    for value in line.values():
        if isinstance(value, float):
            yield f"{value:.8g}" if math.isfinite(value) else None
        else:
            yield value

"""Tables of one well: what `python -m geoseg segment` writes beside its mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.measurements import Log
from geoseg.wells.grooves import find_grooves
from geoseg.wells.joints import find_joints
from geoseg.wells.tables import write_grooves, write_joints
from geoseg.wells.units import LENGTH_UNITS, WellGeometry


def complete_geometry(given: WellGeometry, log: Log) -> WellGeometry:
    """Return the geometry that the user gave, completed by what the log's file says.

    The pitch is the median step of the depths.
    """
    pitch = given.pitch
    if pitch is None and log.depth is not None and log.depth_unit in LENGTH_UNITS:
        steps = np.abs(np.diff(log.depth))
        step = float(np.median(steps)) if len(steps) else 0.0
        pitch = step * LENGTH_UNITS[log.depth_unit] or None
    return replace(
        given,
        pitch=pitch,
        diameter=log.diameter if given.diameter is None else given.diameter,
        nominal=log.nominal if given.nominal is None else given.nominal,
    )


def write_tables(
    folder: Path,
    log: Log,
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
    given: WellGeometry,
) -> dict[str, object]:
    """Write grooves.csv and joints.csv of a log into `folder`; return the summary of both."""
    geometry = complete_geometry(given, log)
    joints = find_joints(log)
    grooves = find_grooves(mask, log, joints, probability)
    write_grooves(folder / "grooves.csv", grooves, log, geometry)
    write_joints(folder / "joints.csv", joints, grooves, log, geometry)
    return {
        "grooves": len(grooves),
        "joints": len(joints.joints),
        "joints_note": joints.note,
        "pitch_inches": geometry.pitch,
        "diameter_inches": geometry.diameter,
        "nominal_inches": geometry.nominal,
    }

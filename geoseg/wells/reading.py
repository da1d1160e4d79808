"""Read a log from any file that people have: `.npy`, a folder of patches, csv, LAS or DLIS."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import find_wells, stitch
from geoseg.file_kinds import describe_foreign_file
from geoseg.measurements import (
    DEFAULT,
    UNITS,
    Log,
    MeasurementOptions,
    interpret,
    read_npy_log,
)
from geoseg.patches import PatchError, Source, open_source, printable_name
from geoseg.wells.channels import RawLog
from geoseg.wells.csv_logs import read_csv
from geoseg.wells.dlis import read_dlis
from geoseg.wells.las import read_las

T = TypeVar("T")


def read_log(
    source: Source,
    options: MeasurementOptions = DEFAULT,
    *,
    channel: str | None = None,
    frame: str | None = None,
) -> Log:
    """Read one log, or one patch, and interpret it.

    Args:
        source: the path of a `.npy`, csv, LAS or DLIS file, or its bytes; or the path of a folder
            of consecutive patches of one well, `images/well_K_patch_I.npy`.
        options: what the user says of the measurements.
        channel: the name of the image, where a LAS or DLIS file holds several.
        frame: the name of its frame, where a DLIS file holds several.

    Raises:
        PatchError: the file is missing, damaged or of another kind, holds several logs or images,
            is transposed, or is null everywhere.
    """
    if not isinstance(source, bytes) and os.path.isdir(source):
        return _read_folder(Path(os.fspath(source)), options)
    with open_source(source) as (name, file, _):
        head = file.read(4096)
    if head.startswith(b"\x93NUMPY"):
        return read_npy_log(source, options)
    raw = _read_raw(source, name, head, channel, frame)
    return _interpret(raw, options, name)


def _read_raw(
    source: Source, name: str, head: bytes, channel: str | None, frame: str | None
) -> RawLog:
    """Read a log file by what its first bytes are."""
    if re.match(rb"[ 0-9]{4}V1\.\d{2}RECORD", head):  # a storage unit label of RP 66
        return _with_path(source, lambda path: read_dlis(path, name, channel, frame))
    if what := describe_foreign_file(head):
        raise PatchError(f"{name} {what}.")
    with open_source(source) as (_, file, _):
        content = file.read()
    if re.search(rb"^\s*~V", head, re.MULTILINE | re.IGNORECASE):
        return read_las(content, name, channel)
    return read_csv(content, name)


def _interpret(raw: RawLog, options: MeasurementOptions, name: str) -> Log:
    """Interpret the values of a log file by what the file says of them.

    The user's unit comes before the file's, the sign of a known channel before the user's.
    """
    values, unit, assumptions = raw.values, options.unit, dict(raw.assumptions)
    if raw.nulls and values.dtype.kind == "f":
        values = np.where(np.isin(values, raw.nulls), np.nan, values)
    factor = raw.inches if unit == "auto" else None
    if factor is not None:
        unit = next((u for u, inches in UNITS.items() if math.isclose(inches, factor)), "inch")
    losses = "positive" if raw.losses == "positive" else options.losses
    log = interpret(values, replace(options, unit=unit, losses=losses), name)
    if factor is not None and not math.isclose(UNITS[unit], factor):  # such as cm or 0.1 in
        assumptions["unit"] = (
            f"The file says that its values are in units of {factor:g} inch; they were converted "
            "to inches."
        )
        image = log.image * np.float32(factor)
        log = replace(log, image=image, unit=f"{factor:g} inch", inches=factor)
    return replace(
        log,
        assumptions={**assumptions, **log.assumptions},
        depth=raw.depth,
        depth_unit=raw.depth_unit,
        channel=raw.channel,
        nominal=raw.nominal,
        diameter=raw.diameter,
    )


def _with_path(source: Source, read: Callable[[Path], T]) -> T:
    """Call `read` with a path; bytes are written to a temporary file first."""
    if not isinstance(source, bytes):
        return read(Path(os.fspath(source)))
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        path = Path(folder) / "log"
        path.write_bytes(source)
        return read(path)


def _read_folder(folder: Path, options: MeasurementOptions) -> Log:
    """Stitch the consecutive patches of the only well of a folder."""
    dataset = PatchDataset.load(folder, labels=False, keep_faulty=True, options=options)
    wells = find_wells(dataset)
    if len(wells) != 1:
        names = ", ".join(well.name for well in wells)
        raise PatchError(
            f"{printable_name(folder.name)} holds patches of {names}; a log is one well: stitch "
            "them with python -m geoseg.dataset stitch."
        )
    (well,) = wells
    image = stitch(well).image
    note = f"The log was stitched from {len(well.patches):,} patches of {well.name}."
    return Log(image, folder.name, {"channel": note})

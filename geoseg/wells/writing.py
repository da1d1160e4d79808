"""Write a log's mask and probabilities as a new DLIS, LAS or csv file, with the log's depths.

Z depth, A azimuth. Nulls have the code NULL and the mask 0.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.atomic_files import atomic_write
from geoseg.measurements import Log
from geoseg.patches import PatchError

NULL = -999.25
MASK, PROBABILITY = "GROOVE_MASK", "GROOVE_PROB"
_UNITS = {"ft": "ft", "f": "ft", "feet": "ft", "inch": "in", "inches": "in"}
# dliswriter keeps so many bytes before it writes; its default of 4 GiB takes ten times the time.
_CHUNK = 2**26


def write_log(
    path: Path, log: Log, mask: NDArray[np.uint8], probability: NDArray[np.float32]
) -> None:
    """Write the mask (Z, A) and the probabilities (Z, A) of a log to a .dlis, .las or .csv file.

    Rows keep their order. A log without depths gets the numbers of its rows. Raise ValueError for
    another extension or if dliswriter is not installed, OSError if the file cannot be written.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"{path.name} is none of {', '.join(_WRITERS)}; choose one of these")
    with atomic_write(path) as temporary:
        write(temporary, log, mask, np.where(np.isnan(probability), NULL, probability))


def _get_depth(log: Log) -> tuple[NDArray[np.float64], str]:
    """Return depths and their unit; the numbers of the rows and "" without any."""
    if log.depth is None:
        return np.arange(len(log.image), dtype=np.float64), ""
    return log.depth, _UNITS.get(log.depth_unit, log.depth_unit)


def _write_dlis(
    path: Path, log: Log, mask: NDArray[np.uint8], probability: NDArray[np.floating]
) -> None:
    try:
        from dliswriter import DLISFile
    except ImportError:
        raise PatchError("dliswriter is not installed: pip install 'geoseg[wells]'") from None
    depth, unit = _get_depth(log)
    logging.getLogger("dliswriter").setLevel(logging.ERROR)
    file = DLISFile()
    logical = file.add_logical_file()
    logical.add_origin("geoseg", well_name=log.name or None)
    known = unit if unit in ("m", "ft", "in", "cm", "mm") else None
    channels = [
        logical.add_channel("TDEP", data=depth, units=known),
        logical.add_channel(MASK, data=mask),
        logical.add_channel(PROBABILITY, data=probability.astype(np.float32)),
    ]
    steps = np.diff(depth)
    constant = len(steps) > 0 and bool(np.allclose(steps, steps[0], rtol=1e-6))
    logical.add_frame(
        "GEOSEG",
        channels=channels,
        index_type="BOREHOLE-DEPTH",
        direction="DECREASING" if len(steps) and steps[0] < 0 else "INCREASING",
        spacing=float(abs(steps[0])) if constant else None,
    )
    with contextlib.redirect_stderr(io.StringIO()):  # its bar of progress
        file.write(str(path), output_chunk_size=_CHUNK)


def _write_las(
    path: Path, log: Log, mask: NDArray[np.uint8], probability: NDArray[np.floating]
) -> None:
    depth, unit = _get_depth(log)
    step = depth[1] - depth[0] if len(depth) > 1 else 0.0
    columns = range(1, mask.shape[1] + 1)
    curves = [f"DEPT.{unit} : depth"]
    curves += [f"{MASK}{n}. : 1 in a groove" for n in columns]
    curves += [f"{PROBABILITY}{n}. : probability of a groove" for n in columns]
    lines = [
        "~Version",
        "VERS. 2.0 : CWLS log ASCII standard, version 2.0",
        "WRAP. NO : one line per depth",
        "~Well",
        f"STRT.{unit} {depth[0]:.17g} : start",
        f"STOP.{unit} {depth[-1]:.17g} : stop",
        f"STEP.{unit} {step:.10g} : step",
        f"NULL. {NULL} : null value",
        f"WELL. {log.name} : file of the log",
        "~Curve",
        *curves,
        "~ASCII",
    ]
    _write_rows(path, "\n".join(lines), " ", depth, mask, probability)


def _write_csv(
    path: Path, log: Log, mask: NDArray[np.uint8], probability: NDArray[np.floating]
) -> None:
    depth, unit = _get_depth(log)
    names = [f"{name}{n}" for name in (MASK, PROBABILITY) for n in range(1, mask.shape[1] + 1)]
    heading = f"depth ({unit})" if unit else "row"
    _write_rows(path, ",".join([heading, *names]), ",", depth, mask, probability)


def _write_rows(
    path: Path,
    header: str,
    separator: str,
    depth: NDArray[np.float64],
    mask: NDArray[np.uint8],
    probability: NDArray[np.floating],
) -> None:
    formats = ["%.17g", *["%d"] * mask.shape[1], *["%.4f"] * mask.shape[1]]
    rows = np.column_stack([depth, mask, probability])
    np.savetxt(path, rows, fmt=formats, delimiter=separator, header=header, comments="")


_WRITERS: dict[str, Callable[..., None]] = {
    ".dlis": _write_dlis,
    ".las": _write_las,
    ".csv": _write_csv,
}
FORMATS = tuple(extension[1:] for extension in _WRITERS)

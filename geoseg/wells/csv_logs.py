"""Read a log from text: a row of numbers for each depth, in any usual separator."""

from __future__ import annotations

import re

import numpy as np

from geoseg.patches import PatchError
from geoseg.wells.channels import RawLog, scale_depth

# A heading such as "DEPTH", "depth_m", "MD (ft)" or "TDEP [0.1 in]".
_DEPTH = re.compile(r"(?:depth|dept|tdep|md)(?:[\s_([]+([\d. ]*[a-z]+)[)\]]?)?", re.IGNORECASE)


def read_csv(content: bytes, subject: str) -> RawLog:
    """Read rows of numbers; a header and a first column of depths are found.

    Separators are a semicolon (with decimal commas or points), tab, comma or spaces; an empty cell
    is a null. Raise PatchError if the text is not such a table.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PatchError(
            f"{subject} is no log: neither .npy, csv, LAS nor DLIS; save the array with numpy.save."
        ) from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise PatchError(f"{subject} is empty; export it again.")
    separator = next((s for s in (";", "\t", ",") if s in lines[0]), None)
    if separator == ";":
        lines = [line.replace(",", ".") for line in lines]
    header: list[str] = []
    if re.search(r"[A-Za-z]{2}", lines[0].replace("nan", "")):
        header = [cell.strip(' "') for cell in lines[0].split(separator)]
    rows = lines[bool(header) :]
    if not rows:
        raise PatchError(f"{subject} is no table of numbers; choose a .npy, csv, LAS or DLIS file.")
    try:
        values = np.loadtxt(
            rows,
            delimiter=separator,
            ndmin=2,
            comments=None,
            quotechar='"',
            converters=lambda cell: float(cell or "nan"),
        )
    except ValueError as error:
        raise PatchError(f"{subject} is no table of numbers ({error}); export it again.") from None
    heading = _DEPTH.fullmatch(header[0]) if header else None
    if heading is None:
        return RawLog(values)
    depth, unit = scale_depth(np.ascontiguousarray(values[:, 0]), heading[1] or "")
    note = f"The first column, {header[0]}, holds the depths."
    return RawLog(values[:, 1:], depth, unit, assumptions={"depth": note})

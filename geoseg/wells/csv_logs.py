"""Read a log from text: a row of numbers for each depth, in any usual separator."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from geoseg.patches import PatchError
from geoseg.wells.channels import RawLog, parse_length_unit, scale_depth

# A heading such as "DEPTH", "depth_m", "MD (ft)" or "TDEP [0.1 in]".
_DEPTH = re.compile(r"(?:depth|dept|tdep|md)(?:[\s_([]+([\d. ]*[a-z]+)[)\]]?)?", re.IGNORECASE)
_LEAST_ROWS = 8  # whose even steps are no chance


def read_csv(content: bytes, subject: str) -> RawLog:
    """Read rows of numbers; a header and a first column of depths, or of an index, are found.

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
    header = _read_header(lines[0], separator)
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
    assumptions = {}
    last = header[len(values[0]) - 1] if len(header) == len(values[0]) else ""
    if len(values[0]) > 1 and not last and np.isnan(values[:, -1]).all():
        values = values[:, :-1]
        assumptions["csv"] = "The last column is empty in every row, and was left out."
    return _take_depths(values, header[0] if header else "", assumptions)


def _read_header(line: str, separator: str | None) -> list[str]:
    """Return the cells of a line of names, or of columns counted from 0 in even steps; else []."""
    cells = [cell.strip(' "') for cell in line.split(separator)]
    if re.search(r"[A-Za-z]{2}", line.replace("nan", "")):
        return cells
    counted = [cell for i, cell in enumerate(cells) if cell or 0 < i < len(cells) - 1]
    if len(counted) < 2 or not all(re.fullmatch(r"\d+", cell) for cell in counted):
        return []
    numbers = np.array([int(cell) for cell in counted])
    even = numbers[1] > 0 and np.array_equal(numbers, numbers[1] * np.arange(len(numbers)))
    return cells if even else []


def _take_depths(values: NDArray[np.float64], heading: str, assumptions: dict[str, str]) -> RawLog:
    """Split off a first column of depths, or of an index, by its heading or its even steps."""
    named = _DEPTH.fullmatch(heading)
    if named is None and not _is_even(values):
        return RawLog(values, assumptions=assumptions)
    first, image = np.ascontiguousarray(values[:, 0]), values[:, 1:]
    subject = f"The first column, {heading}," if heading else "The first column"
    if named is None and np.array_equal(first - first[0], np.arange(len(first))) and first[0] < 2:
        note = f"{subject} counts the rows, and was left out."
        return RawLog(image, assumptions={**assumptions, "depth": note})
    unit = re.search(r"[\s_.:([]([\d. ]*[A-Za-z]+)[)\]]?$", heading)
    known = unit[1] if unit and parse_length_unit(unit[1]) else ""
    depth, plain = scale_depth(first, (named[1] if named else known) or "")
    how = "holds the depths." if named else "grows evenly, and was taken for the depths."
    return RawLog(image, depth, plain, assumptions={**assumptions, "depth": f"{subject} {how}"})


def _is_even(values: NDArray[np.float64]) -> bool:
    """Return whether the first column, and not the second, grows or falls in even steps."""
    if len(values) < _LEAST_ROWS or len(values[0]) < 2:
        return False
    steps = np.diff(values[:, :2], axis=0)
    spans = np.ptp(steps, axis=0)
    even = (np.abs(steps.mean(0)) > 0) & (spans <= 0.01 * np.abs(steps.mean(0)))
    return bool(even[0] and not even[1])

"""Lengths from text, and what rows, columns and inches are in a well of known geometry."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MILLIMETRES_PER_INCH = 25.4
# Inches in one unit.
LENGTH_UNITS = {
    **dict.fromkeys(("in", "inch", "inches", '"'), 1.0),
    **dict.fromkeys(("ft", "foot", "feet"), 12.0),
    "mm": 1 / 25.4,
    "cm": 1 / 2.54,
    "m": 1 / 0.0254,
}


def parse_length(text: str) -> float:
    """Return the inches of a length such as "1.5in", "38.1 mm" or "0.125 ft".

    Raise ValueError for anything else: a length without a unit, a fraction, or one not above 0.

    >>> parse_length("0.125 ft")
    1.5
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-zA-Z\"]+)\s*", text)
    if match is None or match[2].lower() not in LENGTH_UNITS:
        raise ValueError(
            f"{text!r} is not a length; write a decimal number and a unit, such as 1.5in, 38.1mm, "
            "0.125ft or 0.0381m"
        )
    inches = float(match[1]) * LENGTH_UNITS[match[2].lower()]
    if not 0 < inches < math.inf:
        raise ValueError(f"{text!r} is not a length above 0; give the real one")
    return inches


@dataclass(frozen=True)
class WellGeometry:
    """What the user knows of a well, in inches; None where unknown.

    Attributes:
        pitch: from row to row.
        diameter: outer diameter of the pipe.
        nominal: nominal wall thickness.
    """

    pitch: float | None = None
    diameter: float | None = None
    nominal: float | None = None

    def to_metres(self, rows: float) -> float | None:
        """Return a number of rows in metres, None without a pitch."""
        return None if self.pitch is None else rows * self.pitch * MILLIMETRES_PER_INCH / 1000

    def to_millimetres_round(self, columns: float, of: int) -> float | None:
        """Return columns `of` so many on the outer circumference in mm, None without a diameter."""
        if self.diameter is None:
            return None
        return columns / of * math.pi * self.diameter * MILLIMETRES_PER_INCH

    def to_percent(self, depth: float) -> float | None:
        """Return a depth in inches in percent of the nominal wall, None without a nominal."""
        return None if self.nominal is None else 100 * depth / self.nominal

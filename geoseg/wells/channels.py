"""What a channel of a log file is: an azimuthal image, its unit, and the sign of its losses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.patches import PatchError

LEAST_COLUMNS, MAX_COLUMNS = 12, 360
# Images of the ultrasonic casing tool: wall minus nominal, and the internal and external radius
# minus their row averages. A loss inside the pipe lengthens the internal radius.
LOSSES: dict[str, Literal["negative", "positive"]] = {
    "T2BK": "negative",
    "IRBK": "positive",
    "ERBK": "negative",
}
# The wall's thickness is what the models were trained on.
_PREFERRED = "T2BK"
_LENGTHS = {
    "in": 1.0,
    "inch": 1.0,
    "inches": 1.0,
    "ft": 12.0,
    "f": 12.0,
    "feet": 12.0,
    "m": 1 / 0.0254,
    "cm": 1 / 2.54,
    "mm": 1 / 25.4,
    "um": 1 / 25400,
    "mil": 1e-3,
}


class ImageChannel(NamedTuple):
    """One azimuthal image of a file: names of the channel and its frame, its columns and unit."""

    name: str
    frame: str
    columns: int
    unit: str

    def __str__(self) -> str:
        where = f" in frame {self.frame}" if self.frame else ""
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.name}{where} ({self.columns} columns{unit})"


@dataclass(frozen=True, eq=False)
class RawLog:
    """One log as its file stores it.

    Attributes:
        values: (Z, A), any real dtype.
        depth: float64 (Z,) in `depth_unit`, or None.
        depth_unit: "in", "ft", "m", ...; "" if it is not known.
        channel: the name of the image.
        inches: inches in one unit of the values; None if the file does not say.
        losses: the sign of wall losses, if the channel is known.
        nominal, diameter: nominal wall and casing size in inches, None without credible ones.
        nulls: null codes that the file declares.
        assumptions: what was chosen or assumed, a sentence by its kind, as in `Log`.
    """

    values: NDArray[np.generic]
    depth: NDArray[np.float64] | None = None
    depth_unit: str = ""
    channel: str = ""
    inches: float | None = None
    losses: Literal["negative", "positive"] | None = None
    nominal: float | None = None
    diameter: float | None = None
    nulls: tuple[float, ...] = ()
    assumptions: Mapping[str, str] = field(default_factory=dict)


def choose_image(
    images: Sequence[ImageChannel],
    others: Sequence[str],
    subject: str,
    channel: str | None,
    frame: str | None,
) -> tuple[ImageChannel, str]:
    """Return the image to read, and a sentence that says what was chosen.

    Raise PatchError if none has the names asked for, or several have. It lists the images, or the
    `others`, the names of the file's other channels, if there is no image.
    """
    listed = "; ".join(map(str, images))
    if not images:
        raise PatchError(
            f"{subject} holds no azimuthal image of {LEAST_COLUMNS} to {MAX_COLUMNS} columns; its "
            f"channels are {', '.join(others[:60]) or 'none'}."
        )
    found = [
        image for image in images if channel in (None, image.name) and frame in (None, image.frame)
    ]
    if not found:
        asked = " ".join(filter(None, (channel, frame and f"in frame {frame}")))
        raise PatchError(f"{subject} holds no image {asked}; it has {listed}.")
    if len(found) > 1 and channel is None:
        found = [image for image in found if image.name == _PREFERRED] or found
    if len(found) > 1:
        raise PatchError(
            f"{subject} holds {len(found)} images; choose one by channel and frame: {listed}."
        )
    rest = "" if len(images) == 1 else f", one of {len(images)} images in the file"
    return found[0], f"The image is the channel {found[0]}{rest}."


def parse_length_unit(text: str) -> tuple[float, str] | None:
    """Return the inches in one unit such as "0.1 in", ".1IN", "m" or "FT", and its plain name.

    The multiplier belongs to the factor: "0.1 in" gives (0.1, "in"). None for anything else.
    """
    match = re.fullmatch(r"\s*(\d*\.?\d+(?:[eE][-+]?\d+)?)?\s*([A-Za-z]+)\s*", text)
    if not match or match[2].lower() not in _LENGTHS:
        return None
    return float(match[1] or 1) * _LENGTHS[match[2].lower()], match[2].lower()


def scale_depth(depth: NDArray[np.float64], unit: str) -> tuple[NDArray[np.float64], str]:
    """Return depths without the multiplier of their unit, and the plain unit; "" if unknown."""
    found = parse_length_unit(unit)
    if found is None:
        return depth, unit.strip()
    factor = found[0] / _LENGTHS[found[1]]
    return (depth if factor == 1 else depth * factor), found[1]


def keep_credible(value: float | None, least: float, most: float) -> float | None:
    """Return a value of a file's header if it is within the range, else None."""
    return value if value is not None and least <= value <= most else None

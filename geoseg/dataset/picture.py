"""All wells of a folder on one picture: each log on its side, and which split its rows are of.

Z depth, A azimuth.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.dataset.stitch import BOTH, NOWHERE, Log
from geoseg.files import naming, replacing
from geoseg.folder import SPLITS
from geoseg.synthetic.picture import grey

GROOVE = (92, 214, 232)
# Blue, orange and grey for the splits, red for rows of two of them, white where no patch is.
SHADES = {0: (64, 125, 255), 1: (245, 158, 11), 2: (120, 126, 135), BOTH: (255, 56, 50)}
NAMES = {**dict(enumerate(SPLITS)), BOTH: "two splits"}
EMPTY = (255, 255, 255)

WIDTH = 1200  # of the longest log
BAR, GAP, LEFT, LINE, LETTER = 6, 10, 90, 14, 6  # screen pixels

Value = TypeVar("Value", bound=np.number)
Colours = NDArray[np.uint8]


def save_picture(logs: Sequence[Log], path: Path) -> None:
    """Write a PNG; OSError names the file. Depth goes to the right, several rows a screen pixel."""
    longest = max(len(log.image) for log in logs)
    rows = -(-longest // WIDTH)
    strips = [_draw(log, rows) for log in logs]
    height = sum(len(strip) + GAP for strip in strips) + 2 * GAP + LINE
    canvas = Image.new("RGB", (LEFT + WIDTH + GAP, height), "white")
    pen = ImageDraw.Draw(canvas)
    top = GAP
    for log, strip in zip(logs, strips, strict=True):
        pen.text((GAP, top), log.name, fill="black")
        canvas.paste(Image.fromarray(strip), (LEFT, top))
        top += len(strip) + GAP
    left = LEFT
    for code, shade in SHADES.items():
        pen.rectangle((left, top + 2, left + 10, top + 10), fill=shade)
        pen.text((left + LINE, top), NAMES[code], fill="black")
        left += LINE + LETTER * (len(NAMES[code]) + 3)
    pen.text((left, top), f"light blue: labelled grooves; {rows} rows a pixel", fill="black")
    with naming(path), replacing(path) as temporary:
        canvas.save(temporary, format="PNG")


def _draw(log: Log, rows: int) -> Colours:
    """The log on its side over a bar of its splits, (A + BAR, Z / rows, 3)."""
    with warnings.catch_warnings():  # the mean of nothing is null
        warnings.simplefilter("ignore", RuntimeWarning)
        image = np.nanmean(_binned(log.image, rows, np.nan), axis=1).T
    colours = grey(image)
    origin = _binned(log.origin, rows, NOWHERE).max(1)
    colours[:, origin == NOWHERE] = EMPTY
    if log.mask is not None:
        groove = (_binned(log.mask, rows, 0) == 1).any(1).T
        colours[groove] = (colours[groove] + np.array(GROOVE)) // 2
    bar = np.full((BAR, len(origin), 3), EMPTY, np.uint8)
    for code, shade in SHADES.items():
        bar[:, origin == code] = shade
    return np.concatenate([colours, bar])


def _binned(values: NDArray[Value], rows: int, fill: float) -> NDArray[Value]:
    """(Z, ...) as (Z / rows, rows, ...), the last bin filled up."""
    padding = [(0, -len(values) % rows), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, padding, constant_values=fill)
    return padded.reshape(-1, rows, *values.shape[1:])

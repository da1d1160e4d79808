"""Patches and masks as pictures, in the colours of the page. Z depth, A azimuth."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The original's meaning: black and green correct, red missed, blue false alarm. The shades are
# those of geoseg/page/colours.js.
BACKGROUND, CORRECT, MISSED, ALARM = (0, 0, 0), (46, 204, 88), (255, 56, 50), (64, 125, 255)
FOUND = (92, 214, 232)
NULL = (92, 96, 104)
WINDOW = 0.05  # inches on either side of zero, as the viewer of the original project
_OPACITY = 0.55

Colours = NDArray[np.uint8]


def grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours (Z, A, 3) of an image in inches: black and white at -WINDOW and WINDOW."""
    null = np.isnan(image)
    level = np.clip((np.where(null, 0, image) + WINDOW) / (2 * WINDOW), 0, 1) * 255
    colours = np.repeat(level.round().astype(np.uint8)[..., None], 3, axis=-1)
    colours[null] = NULL
    return colours


def errors(mask: NDArray[np.bool_], truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> Colours:
    """What is right and wrong (Z, A, 3): grey where nothing is known."""
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask & truth] = CORRECT
    colours[~mask & truth] = MISSED
    colours[mask & ~truth] = ALARM
    colours[~known] = NULL
    return colours


def overlay(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> Colours:
    """The grey image with what was found tinted (Z, A, 3)."""
    colours = grey(image).astype(float)
    colours[mask] += (np.array(FOUND) - colours[mask]) * _OPACITY
    return colours.astype(np.uint8)


def side_by_side(left: Colours, right: Colours) -> Colours:
    """Two pictures of one size with a light line between them."""
    line = np.full((len(left), 1, 3), 255, np.uint8)
    return np.concatenate([left, line, right], axis=1)


def png(colours: Colours, scale: int = 1) -> bytes:
    """A PNG file, each pixel `scale` times as large."""
    picture = Image.fromarray(colours)
    if scale > 1:
        size = (picture.width * scale, picture.height * scale)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def data_uri(colours: Colours) -> str:
    """A PNG that stands inside a page."""
    return "data:image/png;base64," + base64.b64encode(png(colours)).decode("ascii")

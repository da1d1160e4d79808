"""Pictures of patches and masks, in the colours of the page. Z depth, A azimuth."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# As in the original project: black and green correct, red missed, blue false alarm. The colours
# are those of geoseg/page/static/colours.js; a test compares them.
BACKGROUND, CORRECT, MISSED, ALARM = (0, 0, 0), (46, 204, 88), (255, 56, 50), (64, 125, 255)
FOUND = (92, 214, 232)
NULL = (92, 96, 104)
WINDOW = 0.05  # inches on either side of zero, as in the original project's viewer
_OPACITY = 0.55

Colours = NDArray[np.uint8]


def grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return grey levels (Z, A, 3) of an image in inches: black at -WINDOW, white at WINDOW."""
    null = np.isnan(image)
    level = np.clip((np.where(null, 0, image) + WINDOW) / (2 * WINDOW), 0, 1) * 255
    colours = np.repeat(level.round().astype(np.uint8)[..., None], 3, axis=-1)
    colours[null] = NULL
    return colours


def errors(mask: NDArray[np.bool_], label: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Colours:
    """Return the colours (Z, A, 3) of a mask compared with its label: grey where not valid."""
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask & label] = CORRECT
    colours[~mask & label] = MISSED
    colours[mask & ~label] = ALARM
    colours[~valid] = NULL
    return colours


def overlay(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> Colours:
    """Return the grey image with its mask tinted (Z, A, 3)."""
    colours = grey(image).astype(float)
    colours[mask] += (np.array(FOUND) - colours[mask]) * _OPACITY
    return colours.astype(np.uint8)


def png(colours: Colours, scale: int = 1) -> bytes:
    """Encode a PNG file; each pixel becomes a square of `scale` pixels."""
    file = io.BytesIO()
    Image.fromarray(colours.repeat(scale, 0).repeat(scale, 1)).save(file, "PNG", optimize=True)
    return file.getvalue()


def data_uri(colours: Colours) -> str:
    """Encode a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(colours)).decode("ascii")

"""The contents of a set without its patches: names, wells, small pictures.

Z depth, A azimuth.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.page.browse import Patches
from geoseg.page.live import encode
from geoseg.page.request import fields, number

SIDE = 36  # pixels of a small picture, up and down
MOST = 64  # small pictures in one message
_RANGE = 0.05  # inches: black and white of a small picture, as of a large one
_WELL = re.compile(r"well_(\d{1,9})(?!\d)")


def list_patches(patches: Patches) -> dict[str, Any]:
    """Name, well (None where its name has none) and notes of every patch; how many have a truth.

    Patches that are made when they are asked for are too many to name.
    """
    names = patches.names
    found = [_WELL.search(name) for name in names]
    return {
        "label": patches.label,
        "count": len(patches),
        "names": names,
        "wells": [int(match[1]) if match else None for match in found],
        "notes": patches.notes,
        "labelled": patches.labelled,
    }


def catalogue(patches: Patches, raw: Any) -> dict[str, Any]:
    """Answer a browser: small pictures where it gives `indices`, else the list.

    `pictures` is base64 of uint8 (N, SIDE, SIDE): 0 a null, 1 black to 255 white, of the indices
    that the set has, MOST at most.
    """
    message = fields(raw)
    wanted = message.get("indices")
    if not isinstance(wanted, list):
        return list_patches(patches)
    count = len(patches)
    indices = [int(number(i, -1, count)) for i in wanted[:MOST]]
    indices = [i for i in indices if 0 <= i < count]
    pictures = [small_picture(patches.entry(i).patch) for i in indices]
    stacked = np.stack(pictures) if pictures else np.zeros((0, SIDE, SIDE), np.uint8)
    return {"indices": indices, "pictures": encode(stacked, "u1")}


def small_picture(patch: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Reduce a patch (Z, A) to grey uint8 (SIDE, SIDE) by its nearest pixels; 0 at nulls."""
    rows, columns = (np.arange(SIDE) * n // SIDE for n in patch.shape)
    values = patch[np.ix_(rows, columns)]
    grey = 1 + 254 * (np.clip(values, -_RANGE, _RANGE) + _RANGE) / (2 * _RANGE)
    return np.nan_to_num(grey, nan=0.0).round().astype(np.uint8)

"""Packaged samples: synthetic patches of four wells, with labels, in the layout of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.measurements import read_patch
from geoseg.natural_sort import natural_key

SAMPLE_IMAGES = Path(__file__).resolve().parent / "validation" / "images"


def read_sample(name: str = "well_2_patch_4") -> NDArray[np.float32]:
    """Read a packaged patch: float32 (Z, A) in inches, NaN at nulls; ValueError lists the names.

    >>> read_sample().shape
    (36, 36)
    """
    names = sorted((path.stem for path in SAMPLE_IMAGES.glob("*.npy")), key=natural_key)
    if name not in names:
        raise ValueError(f"there is no sample {name!r}; choose one of {', '.join(names)}")
    return read_patch(SAMPLE_IMAGES / f"{name}.npy")

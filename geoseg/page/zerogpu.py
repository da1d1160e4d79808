"""Support for Spaces on ZeroGPU, which have no GPU of their own and borrow one per call.

A GPU takes seconds to come, and its use is counted in minutes a day. So live answers are computed
on the processor there, and only what would keep it busy for long goes to a GPU. Everywhere else
this module does nothing.

The package `spaces`, which lends the GPU, runs a function in a process that it forks from this one:
arrays go in and come out, and the models on the GPU stay there, in that process. It charges the
visitor whose headers Gradio's queue carries.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geoseg.segmenter import Segmenter

ON = os.environ.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}  # as `spaces` reads it
DEVICE = "cuda"
WORTH_SECONDS = 5.0  # of the processor: a GPU needs as many to come
MOST_AT_ONCE = 2048  # patches of a call

_log = logging.getLogger("geoseg.page")


def live_device(wanted: str) -> str:
    """Return the device for the page's own process: on ZeroGPU, "auto" finds no GPU there."""
    return "cpu" if ON and wanted == "auto" else wanted


def compute(checkpoint: str, images: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return probabilities (B, Z, A) for images (B, Z, A) from a borrowed GPU.

    None where there is no ZeroGPU, or where it lends none.
    """
    if _lent is None:
        return None
    try:
        return _lent(checkpoint, images)
    # No GPU is free, the visitor's quota is used up, ZeroGPU fails: whatever it is, the processor
    # can do the same.
    except Exception as error:
        _log.warning("no GPU was lent, the processor goes on: %s", repr(error)[:200])
        return None


def _on_gpu(checkpoint: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute probabilities (B, Z, A) in the process with the GPU."""
    (found,) = _segmenter(checkpoint).probabilities(images, interpret=False).values()
    return found


@cache
def _segmenter(checkpoint: str) -> Segmenter:
    return Segmenter([checkpoint], DEVICE)


def _duration(checkpoint: str, images: NDArray[np.float32]) -> int:
    """Estimate the seconds of a call; a visitor must have as many left.

    Ten to load a model, and one for 1,500 patches, a tenth of what an H100 does.
    """
    return 10 + images.size // (1500 * 36 * 36)


_lent: Callable[[str, NDArray[np.float32]], NDArray[np.float32]] | None = None
if ON:
    import spaces  # before CUDA starts, which the import of torch does not do

    _lent = spaces.GPU(_on_gpu, duration=_duration)

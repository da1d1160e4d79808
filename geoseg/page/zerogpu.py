"""A Space on ZeroGPU: a machine that has no GPU of its own, and borrows one by the call.

A GPU takes seconds to come, and its use is counted in minutes a day. So live answers are computed
on the processor there, and a GPU is asked for only where a whole set would keep the processor busy
for long. Where none is to be had, the processor goes on. Everywhere else this module does nothing.

The package `spaces`, which lends the GPU, runs a function in a process that it forks from this one:
arrays go in and come out, and the models on the GPU stay there, in that process.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.context import LocalContext
from numpy.typing import NDArray
from starlette.requests import Request as HttpRequest

from geoseg.page.callers import client
from geoseg.segmenter import Segmenter

ON = os.environ.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}  # as `spaces` reads it
DEVICE = "cuda"
WORTH_SECONDS = 5  # of the processor: a GPU needs as many to come
MOST_AT_ONCE = 2048  # patches of a call
PAUSE_SECONDS = 60  # of a visitor after a refusal, which may itself have taken as long

_log = logging.getLogger("geoseg.page")
_visitor = ContextVar("visitor", default="")
_refused: dict[str, float] = {}  # until when a visitor is not asked for


def live_device(wanted: str) -> str:
    """The device that the page's own process may use: "auto" finds no GPU there on ZeroGPU."""
    return "cpu" if ON and wanted == "auto" else wanted


def attend(http: HttpRequest) -> None:
    """Let whatever this task asks for count as this visitor's, and not as the Space's own.

    Gradio does so for its events; `spaces` looks for the visitor's token among the headers, and
    closes the server's connections in the process that it forks.
    """
    if ON:
        LocalContext.request.set(gr.Request(http))
        LocalContext.blocks.set(http.app.get_blocks())
        _visitor.set(client(http.scope))


def run(
    checkpoint: Path,
    indices: NDArray[np.intp],
    images: Callable[[NDArray[np.intp]], NDArray[np.float32]],
    seconds: float,
) -> Iterator[NDArray[np.float32]]:
    """Probabilities (B, Z, A) of the `indices`, from the first on, for as many as a GPU is lent.

    `images` makes the patches (B, Z, A) of some of them; `seconds` is what the processor would take
    for all.
    """
    who = _visitor.get()
    each = seconds / max(len(indices), 1)
    while _lent and each * len(indices) > WORTH_SECONDS and not _pauses(who):
        patches, indices = images(indices[:MOST_AT_ONCE]), indices[MOST_AT_ONCE:]
        try:
            found = _lent(str(checkpoint), patches)
        # None is free, the visitor's minutes are used up, the lender is ill: whatever it is, the
        # processor can do the same.
        except Exception as error:
            _log.warning("no GPU was lent, the processor goes on: %s", repr(error)[:200])
            _refused[who] = time.monotonic() + PAUSE_SECONDS
        else:
            yield found


def _pauses(who: str) -> bool:
    """Whether a visitor was refused a GPU a moment ago."""
    now = time.monotonic()
    for other, until in list(_refused.items()):
        if until < now:
            _refused.pop(other, None)
    return who in _refused


def _on_gpu(checkpoint: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What runs in the process with the GPU: probabilities (B, Z, A)."""
    (found,) = _segmenter(checkpoint).probabilities(images).values()
    return found


@cache
def _segmenter(checkpoint: str) -> Segmenter:
    return Segmenter([checkpoint], DEVICE)


def _duration(checkpoint: str, images: NDArray[np.float32]) -> int:
    """Seconds that a call may take; a visitor must have as many left.

    Ten to load a model, and one for 1,500 patches, a tenth of what an H100 does.
    """
    return 10 + images.size // (1500 * 36 * 36)


_lent: Callable[[str, NDArray[np.float32]], NDArray[np.float32]] | None = None
if ON:
    import spaces  # before CUDA starts, which the import of torch does not do

    _lent = spaces.GPU(_on_gpu, duration=_duration)

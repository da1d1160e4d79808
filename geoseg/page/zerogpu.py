"""Support for Spaces on ZeroGPU, which have no GPU of their own and borrow one per call.

A GPU takes seconds to come, and its use is counted in minutes a day. So live answers are computed
on the processor there, and a GPU is asked for only where a whole set would keep the processor busy
for long. Until one comes the processor goes on, to the end if need be. Everywhere else this module
does nothing.

The package `spaces`, which lends the GPU, runs a function in a process that it forks from this one:
arrays go in and come out, and the models on the GPU stay there, in that process.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import ContextVar, copy_context
from functools import cache, partial
from pathlib import Path
from threading import Thread

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
PATIENCE_SECONDS = 0.0  # in which the processor does nothing but wait
PAUSE_SECONDS = 60  # of a visitor after a refusal, which may itself have taken as long

_log = logging.getLogger("geoseg.page")
_visitor = ContextVar("visitor", default="")
_waiting: set[str] = set()  # visitors for whom a GPU is asked for; one each, as jobs may end first
_refused: dict[str, float] = {}  # until when a visitor is not asked for


def live_device(wanted: str) -> str:
    """Return the device for the page's own process: on ZeroGPU, "auto" finds no GPU there."""
    return "cpu" if ON and wanted == "auto" else wanted


def attend(http: HttpRequest) -> None:
    """Charge the GPU time of this task to this visitor instead of the Space.

    Gradio does so for its events; `spaces` looks for the visitor's token among the headers, and
    closes the server's connections in the process that it forks.
    """
    if ON:
        LocalContext.request.set(gr.Request(http))
        LocalContext.blocks.set(http.app.get_blocks())
        _visitor.set(client(http.scope))


class Loan:
    """The part of a set that a borrowed GPU does while the CPU works through it.

    Args:
        checkpoint: of the model.
        indices: of the set's patches, in the order in which they are wanted.
        images: makes the patches (B, Z, A) of some of the indices.
    """

    def __init__(
        self,
        checkpoint: Path,
        indices: NDArray[np.intp],
        images: Callable[[NDArray[np.intp]], NDArray[np.float32]],
    ) -> None:
        self._checkpoint, self._indices, self._images = checkpoint, indices, images
        self._asked: tuple[int, Future[NDArray[np.float32]]] | None = None

    def take(self, done: int, each: float) -> NDArray[np.float32] | None:
        """Return probabilities (B, Z, A) from the patch `done` on, if a GPU has them by now.

        Asks for one where that saves time: `each` is the seconds that a patch takes the processor,
        which goes on, since nobody knows how long all GPUs will be taken.
        """
        if _lent and self._asked is None and self._is_worth_it(done, each):
            patches = self._images(self._indices[done : done + MOST_AT_ONCE])
            ask = partial(copy_context().run, _lent, str(self._checkpoint), patches)
            self._asked = done, _in_thread(ask, _visitor.get())
            wait([self._asked[1]], PATIENCE_SECONDS)
        if self._asked is None or not self._asked[1].done():
            return None
        (start, future), self._asked = self._asked, None
        if future.exception():
            return None
        found = future.result()[done - start :]
        return found if len(found) else None

    def _is_worth_it(self, done: int, each: float) -> bool:
        left, who = each * (len(self._indices) - done), _visitor.get()
        return left > WORTH_SECONDS and who not in _waiting and not _pauses(who)


def _in_thread(work: Callable[[], NDArray[np.float32]], who: str) -> Future[NDArray[np.float32]]:
    """Run `work` for a visitor in a daemon thread; a failure delays the next request."""
    future: Future[NDArray[np.float32]] = Future()
    _waiting.add(who)

    def run() -> None:
        try:
            found = work()
        # No GPU is free, the visitor's quota is used up, ZeroGPU fails: whatever it is, the
        # processor can do the same.
        except BaseException as error:
            _log.warning("no GPU was lent, the processor goes on: %s", repr(error)[:200])
            _refused[who] = time.monotonic() + PAUSE_SECONDS
            _waiting.discard(who)
            future.set_exception(error)
        else:
            _waiting.discard(who)
            future.set_result(found)

    Thread(target=run, daemon=True).start()
    return future


def _pauses(who: str) -> bool:
    """Whether a visitor was recently refused a GPU."""
    now = time.monotonic()
    for other, until in list(_refused.items()):
        if until < now:
            _refused.pop(other, None)
    return who in _refused


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

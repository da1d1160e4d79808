"""Segment many patches in short batches; other requests run between two batches.

B patches of a batch, Z depth, A azimuth.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.page import zerogpu
from geoseg.page.browse import Patches
from geoseg.segmenter import Segmenter

BATCH_SECONDS = 0.03  # of one batch: as long may a live answer wait; longer ones are hardly faster
MOST_AT_ONCE = 256  # patches in a batch, however fast the machine is
EQUAL_PIXELS = 4 * 36 * 36  # of a batch where all must be of one size

Indices = NDArray[np.intp]


class Work:
    """The models, for all requests but live answers.

    Attributes:
        segmenter: has the models.
        turn: the lock that a computation holds.
    """

    def __init__(self, segmenter: Segmenter, turn: threading.Lock) -> None:
        self.segmenter, self.turn = segmenter, turn

    def run(
        self, name: str, indices: Indices, images: Callable[[Indices], NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield probabilities (B, Z, A) of the model `name`; a batch takes about BATCH_SECONDS.

        `images` makes the patches (B, Z, A) of some of the `indices`. On ZeroGPU large batches go
        to a borrowed GPU where that saves time. Raises as the segmenter does.
        """
        done, size, paces = 0, 2, list[float]()
        ask_gpu = True
        while done < len(indices):
            # The first batch also loads the model.
            left = min(paces[1:], default=0) * (len(indices) - done)
            if ask_gpu and left > zerogpu.WORTH_SECONDS:
                patches = images(indices[done : done + zerogpu.MOST_AT_ONCE])
                lent = zerogpu.compute(str(self.segmenter.paths[name]), patches)
                if lent is not None:
                    yield lent
                    done += len(lent)
                    continue
                ask_gpu = False
            batch = indices[done : done + size]
            patches = images(batch)
            if len(batch) == 1:  # a single one would be recorded, which pays for live answers only
                patches = np.concatenate([patches, patches])
            with self.turn:
                started = time.perf_counter()
                found = self.segmenter.probabilities(patches, [name], interpret=False)[name][
                    : len(batch)
                ]
                seconds = time.perf_counter() - started
            yield found
            done += len(batch)
            paces.append(seconds / len(batch))
            faster = min(BATCH_SECONDS / max(seconds, 1e-9), 2)
            size = min(max(int(len(batch) * faster), 2), MOST_AT_ONCE)

    def run_alike(self, name: str, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield as `run` does, for `images` (N, Z, A) in batches of one size.

        Kernels are chosen by the size of a batch, and their last bits differ. Where patches are
        compared bit by bit, as turned ones are, only the model may tell them apart.
        """
        most = max(1, EQUAL_PIXELS // images[0].size)
        size = max(n for n in range(1, most + 1) if len(images) % n == 0)
        for start in range(0, len(images), size):
            with self.turn:
                found = self.segmenter.probabilities(
                    images[start : start + size], [name], interpret=False
                )[name]
            yield found


def by_shape(patches: Patches) -> dict[tuple[int, ...], Indices]:
    """Group the indices of a set by patch shape; a batch has patches of one shape."""
    places = defaultdict(list)
    for i in range(len(patches)):
        places[patches.entry(i).patch.shape].append(i)
    return {shape: np.array(indices) for shape, indices in places.items()}

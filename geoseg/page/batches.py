"""A whole set through the models in small steps, so that the live page stays quick meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from geoseg.page.browse import Patches

STEP_PIXELS = 16 * 36 * 36  # a step of the largest shipped model is then a fifth of a second


def steps(patches: Patches) -> Iterator[Sequence[int]]:
    """Indices of all patches, in runs of one shape and at most STEP_PIXELS, one patch at least."""
    shapes = [patches.entry(i).patch.shape for i in range(len(patches))]
    for (rows, columns), run in groupby(range(len(shapes)), key=lambda i: shapes[i]):
        indices = list(run)
        size = max(1, STEP_PIXELS // (rows * columns))
        yield from (indices[i : i + size] for i in range(0, len(indices), size))

"""A set's masks and probabilities as one zip file, made step by step.

Z depth, A azimuth.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.page.batches import Indices, Work, by_shape
from geoseg.page.browse import Patches
from geoseg.page.live import first_line, view
from geoseg.page.request import Request, fields, number
from geoseg.segmenter import Segmenter

MAX_BYTES = 2**26  # of arrays, before they are compressed
NO_MODEL = "No model is ticked; tick one below the panels."
ENDLESS = "Synthetic pipes have no end; python -m geoseg.synthetic writes as many as you like."
TOO_LARGE = (
    "The set is too large for the page; python -m geoseg segment writes its masks to a folder."
)


class ExportError(ValueError):
    """The set cannot be exported; the message is a sentence for the user."""


def export(
    work: Work, patches: Patches, raw: Any, path: Path, probabilities: bool = False
) -> Iterator[tuple[int, int]]:
    """Segment every patch as the message's sliders have it, and pack the answers at `path`.

    Yields how many are done of how many, a patch for each model. The file is complete at the end:

        masks/MODEL/PATCH.npy            uint8 (Z, A), 1 above the threshold, 0 at nulls
        probabilities/MODEL/PATCH.npy    float32 (Z, A), NaN at nulls; with `probabilities`
        about.json                       models, thresholds, sliders, and what was assumed

    ExportError for no model, a set that is too large or without end, and a model that fails.
    """
    message, request = fields(raw), Request.parse(raw, work.segmenter.names)
    _check(patches, len(request.models) * (5 if probabilities else 1))
    done, total = 0, len(patches) * len(request.models)
    yield done, total
    thresholds = _thresholds(work.segmenter, request, message.get("threshold"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.json", json.dumps(_about(request, patches, thresholds), indent=2))
        try:
            for name, index, probability in _segment(work, patches, request):
                place = f"{name}/{_stem(patches, index)}.npy"
                mask = (probability > np.float32(thresholds[name])).astype(np.uint8)
                archive.writestr(f"masks/{place}", _npy(mask))
                if probabilities:
                    archive.writestr(f"probabilities/{place}", _npy(probability))
                done += 1
                yield done, total
        except (ValueError, RuntimeError, MemoryError) as error:  # a size it cannot take, no memory
            raise ExportError(f"It failed: {first_line(error)}.") from None


def _segment(
    work: Work, patches: Patches, request: Request
) -> Iterator[tuple[str, int, NDArray[np.float32]]]:
    """Yield model, index and probability (Z, A) of every patch as the sliders have it."""

    def shown(indices: Indices) -> NDArray[np.float32]:
        views = (
            view(patches.entry(i), request.shift, request.noise, request.seed) for i in indices
        )
        return np.stack([one.patch for one in views])

    for name in request.models:
        for indices in by_shape(patches).values():
            at = 0
            for found in work.run(name, indices, shown):
                for probability in found:
                    yield name, int(indices[at]), probability
                    at += 1


def _thresholds(segmenter: Segmenter, request: Request, given: Any) -> dict[str, float]:
    """Return the threshold of each model: the one in the message, or the model's own."""
    cards = segmenter.cards
    return {
        name: cards[name].threshold if given is None else number(given, 0, 1)
        for name in request.models
    }


def _check(patches: Patches, bytes_a_pixel: int) -> None:
    """Raise ExportError for a set that cannot be exported."""
    if not bytes_a_pixel:
        raise ExportError(NO_MODEL)
    if not patches.names:
        raise ExportError(ENDLESS)
    pixels = sum(patches.entry(i).patch.size for i in range(len(patches)))
    if pixels * bytes_a_pixel > MAX_BYTES:
        raise ExportError(TOO_LARGE)


def _about(request: Request, patches: Patches, thresholds: dict[str, float]) -> dict[str, Any]:
    return {
        "set": patches.label,
        "patches": len(patches),
        "thresholds": thresholds,
        "shift": request.shift,
        "noise": request.noise,
        "seed": request.seed,
        "notes": {n: notes for n, notes in zip(patches.names, patches.notes, strict=True) if notes},
    }


def _stem(patches: Patches, index: int) -> str:
    """Return a patch's name without its suffix, with its index if the set has the name twice."""
    name = patches.entry(index).name
    stem = name.removesuffix(".npy") or "unnamed"
    # A folder of its own, as no name holds a slash: so nothing can be called the same.
    return stem if patches.find(name, 0) == index else f"{index + 1}/{stem}"


def _npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()

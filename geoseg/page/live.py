"""Live answers: a request from the browser, the arrays that it draws.

Z depth, A azimuth. The browser gets raw values and probabilities, so that palette, display range,
threshold, overlays and scores change there, without a call.
"""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.page.browse import Entry, Patches
from geoseg.page.request import Request
from geoseg.segmenter import Segmenter
from geoseg.transforms import add_noise, roll


def view(entry: Entry, shift: int, noise: float, seed: int) -> Entry:
    """Add seeded noise to the entry, then shift it and its label by `shift` columns.

    In this order the noise turns with the pipe, so a circular model's mask does exactly so too.
    A shift beyond the width goes round again: a set holds patches of several widths.
    """
    patch = torch.from_numpy(entry.patch)
    if noise > 0:
        patch = add_noise(patch, noise, seed)
    truth = entry.truth
    if truth is not None:
        truth = roll(torch.from_numpy(truth), shift).numpy()
    return replace(entry, patch=roll(patch, shift).numpy(), truth=truth)


def answer(segmenter: Segmenter, patches: Patches, request: Request) -> dict[str, Any]:
    """Segment one patch of a set with the models that are shown.

    Arrays are base64: `patch` and `probability` little-endian float32 (Z, A), NaN at nulls,
    `truth` uint8 (Z, A) or None; `notes` are what was assumed of them. A model that cannot take
    the patch has an `error` instead. `stages` are the milliseconds that it took to find and turn
    the patch, run the models, and write the message.
    """
    started = time.perf_counter()
    index = patches.find(request.name, request.index)
    shown = view(patches.entry(index), request.shift, request.noise, request.seed)
    viewed = time.perf_counter()
    models = [_model(segmenter, name, shown.patch) for name in request.models]
    segmented = time.perf_counter()
    return {
        "source": request.source,
        "label": patches.label,
        "count": len(patches),
        "index": index,
        "name": shown.name,
        "facts": dict(shown.facts),
        "notes": list(shown.notes),
        "shape": list(shown.patch.shape),
        "patch": encode(shown.patch, "<f4"),
        "truth": None if shown.truth is None else encode(shown.truth, "u1"),
        "models": models,
        "stages": {
            "patch": round(1000 * (viewed - started), 2),
            "models": round(1000 * (segmented - viewed), 2),
            "message": round(1000 * (time.perf_counter() - segmented), 2),
        },
    }


def encode(array: NDArray[np.generic], dtype: str) -> str:
    """Encode the array's bytes, C order, as base64."""
    return base64.b64encode(array.astype(dtype, order="C").tobytes()).decode("ascii")


def first_line(error: Exception) -> str:
    """Return an error's message in one line."""
    return (str(error).splitlines() or ["there is not enough memory"])[0]


def describe(segmenter: Segmenter) -> list[dict[str, Any]]:
    """Describe every model for the page before it is loaded."""
    return [
        {"name": name, "threshold": card.threshold, "architecture": card.architecture}
        for name, card in segmenter.cards.items()
    ]


def _model(segmenter: Segmenter, name: str, patch: NDArray[np.float32]) -> dict[str, Any]:
    try:
        result = segmenter.segment(patch, [name], interpret=False)[name]
        parameters = segmenter.model(name).count_parameters()
    except (ValueError, RuntimeError) as error:  # a size it cannot take, a damaged file, no memory
        return {"name": name, "error": first_line(error)}
    return {
        "name": name,
        "parameters": parameters,
        "milliseconds": round(result.milliseconds, 2),
        "threshold": segmenter.cards[name].threshold,
        "probability": encode(result.probability, "<f4"),
    }

"""The endpoint for programs: REST, the Python client, and MCP."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from geoseg.page.browse import Entry, check_size
from geoseg.page.live import view
from geoseg.page.request import MAX_SEED
from geoseg.page.uploads import uploaded_bytes
from geoseg.patches import PatchError, read_patch
from geoseg.segmenter import Segmenter


def endpoint(segmenter: Segmenter) -> Callable[..., dict[str, Any]]:
    """The function `segment` that `gr.api` publishes, with its types and description."""

    def segment(
        patch: gr.FileData,
        models: list[str] | None = None,
        shift: int = 0,
        noise: float = 0.0,
        seed: int = 0,
        threshold: float | None = None,
        probabilities: bool = False,
    ) -> dict[str, Any]:
        """Find corrosion grooves in one patch of an ultrasonic image of a well pipe.

        Args:
            patch: An uploaded .npy file, shape (depth, azimuth): wall thickness minus its row mean.
            models: Names or experiment ids of the models to run; all when left out.
            shift: Columns by which the patch is first turned round the pipe, to the right.
            noise: Standard deviation of white noise added before that, in the patch's unit.
            seed: Seed of the noise.
            threshold: A probability above it is a groove; each model's own when left out.
            probabilities: Whether to return the probability of every pixel too.

        Returns:
            The shape, and for each model: mask (rows of 0 and 1, of the shifted patch), threshold,
            milliseconds, parameters, and, if asked for, probability (rows, null where nothing was
            measured).
        """
        try:
            names = _names(segmenter, models)
            _check(shift, noise, seed, threshold)
            array = check_size(read_patch(uploaded_bytes(patch)))
            shown = view(Entry("", array), shift % array.shape[1], float(noise), seed).patch
            answers = {n: _answer(segmenter, n, shown, threshold, probabilities) for n in names}
        except (ValueError, RuntimeError) as error:  # RuntimeError: the device ran out of memory
            raise gr.Error(str(error), print_exception=False) from None
        return {"shape": list(shown.shape), "models": answers}

    return segment


def choose(names: tuple[str, ...], wanted: str) -> list[str]:
    """The checkpoints meant by an experiment id ("200"), a name ("stacked") or "200-stacked"."""
    return [n for n in names if wanted == n or wanted in n.split("-", 1)]


def _names(segmenter: Segmenter, wanted: Any) -> list[str]:
    if not wanted:
        return list(segmenter.names)
    chosen: list[str] = []
    for one in wanted if isinstance(wanted, list) else [wanted]:
        matches = choose(segmenter.names, str(one))
        if not matches:
            raise ValueError(f"No model {repr(one)[:40]}; there are {', '.join(segmenter.names)}.")
        chosen += matches
    return list(dict.fromkeys(chosen))


def _check(shift: int, noise: float, seed: int, threshold: float | None) -> None:
    for name, whole in (("shift", shift), ("seed", seed)):
        if isinstance(whole, bool) or not isinstance(whole, int):
            raise PatchError(f"{name} is {repr(whole)[:40]}; it must be a whole number.")
    if not 0 <= seed <= MAX_SEED:
        raise PatchError(f"seed is {seed}; it must be from 0 to {MAX_SEED}.")
    for name, value in (("noise", noise), ("threshold", 0.5 if threshold is None else threshold)):
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise PatchError(f"{name} is {repr(value)[:40]}; it must be a number from 0 to 1.")


def _answer(
    segmenter: Segmenter,
    name: str,
    patch: NDArray[np.float32],
    threshold: float | None,
    probabilities: bool,
) -> dict[str, Any]:
    result = segmenter.segment(patch, [name])[name]
    limit = segmenter.cards[name].threshold if threshold is None else threshold
    answer: dict[str, Any] = {
        "mask": (result.probability > limit).astype(int).tolist(),
        "threshold": limit,
        "milliseconds": result.milliseconds,
        "parameters": segmenter.model(name).count_parameters(),
    }
    if probabilities:  # JSON has no NaN
        rows = result.probability.tolist()
        answer["probability"] = [[None if math.isnan(p) else p for p in row] for row in rows]
    return answer

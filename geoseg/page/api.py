"""The endpoints for programs: REST, the Python client, and MCP.

Z depth, A azimuth. Work is done one call after the other in a thread of its own, so that the page
stays as quick as it is; calls beyond a few in line are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import gradio as gr
import numpy as np
import torch
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from numpy.typing import NDArray

from geoseg.measurements import MeasurementOptions
from geoseg.metrics import Counts, average_scores, count, score
from geoseg.page.browse import Entry
from geoseg.page.given import check_pairs, read_labels, read_patches
from geoseg.page.live import view
from geoseg.page.request import MAX_SEED
from geoseg.patches import PatchError
from geoseg.segmenter import Segmenter

NAMES = ("models", "segment", "evaluate")
MAX_WAITING = 8

Patches = gr.FileData | list[gr.FileData]
P = ParamSpec("P")
T = TypeVar("T")


def endpoints(segmenter: Segmenter) -> dict[str, Callable[..., Any]]:
    """Return the functions that `gr.api` publishes, by name, with their types and descriptions."""
    programs = Programs(segmenter)
    functions = (programs.list_models, programs.segment, programs.evaluate)
    return dict(zip(NAMES, functions, strict=True))


class _Line:
    """A queue that runs one call at a time; errors become messages for the caller."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None
        self._inside = 0

    async def __call__(self, work: Callable[[], T]) -> T:
        self._limiter = self._limiter or CapacityLimiter(1)  # needs the running event loop
        if self._inside > MAX_WAITING:
            text = f"{MAX_WAITING} calls wait already; try again in a minute."
            raise gr.Error(text, print_exception=False)
        self._inside += 1
        try:
            return await run_sync(work, limiter=self._limiter)
        except (ValueError, RuntimeError) as error:  # RuntimeError: the device ran out of memory
            raise gr.Error(str(error), print_exception=False) from None
        finally:
            self._inside -= 1


def _in_line(
    work: Callable[Concatenate[Programs, P], T],
) -> Callable[Concatenate[Programs, P], Any]:
    """Wrap a method so that its calls wait for their turn in the queue."""

    @wraps(work)
    async def call(self: Programs, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.line(partial(work, self, *args, **kwargs))

    return call


class Programs:
    """The endpoints for programs; their docstrings are the descriptions that callers read."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter, self.line = segmenter, _Line()

    @_in_line
    def list_models(self) -> dict[str, dict[str, Any]]:
        """List the models that find corrosion grooves, and what each is worth.

        Returns:
            For each name: architecture, parameters, threshold (a probability above it is a
            groove), experiment (how it was trained), data (on what) and scores (by what they were
            measured on).
        """
        return {name: _describe(self.segmenter, name) for name in self.segmenter.names}

    @_in_line
    def segment(
        self,
        patch: Patches,
        models: list[str] | None = None,
        shift: int = 0,
        noise: float = 0.0,
        seed: int = 0,
        threshold: float | None = None,
        probabilities: bool = False,
        losses: str = "negative",
        unit: str = "auto",
    ) -> dict[str, Any]:
        """Find corrosion grooves in one or more patches of an ultrasonic image of a well pipe.

        A patch is a .npy file, shape (depth, azimuth), of wall thickness; a stack of them has the
        shape (patches, depth, azimuth). Unit, nulls and row means are found, and what is assumed
        is told. No address is fetched: over MCP a file is a data: URL, data:;base64,...

        Args:
            patch: One uploaded .npy file, or a list of them.
            models: Names or experiment ids of the models to run; all when left out.
            shift: Columns by which a patch is first turned round the pipe, to the right.
            noise: Standard deviation of white noise added before that, in inches.
            seed: Seed of the noise.
            threshold: A probability above it is a groove; each model's own when left out.
            probabilities: Whether to return the probability of every pixel too.
            losses: Sign of wall losses: negative (of thickness) or positive (of radius).
            unit: Of the values: inch, mil, mm, um or m; found when left out.

        Returns:
            For one patch its shape, notes (sentences on what was assumed of the measurements), and
            for each model: mask (rows of 0 and 1, of the shifted patch), threshold, milliseconds,
            parameters, and, if asked for, probability (rows, null where nothing was measured). For
            a list or a stack, patches: the same for each, with its name.
        """
        names = _names(self.segmenter, models)
        _check(shift, noise, seed, threshold)
        answers = []
        for entry in read_patches(patch, len(names), _options(losses, unit)):
            shown = view(entry, shift % entry.patch.shape[1], float(noise), seed).patch
            found = {n: _answer(self.segmenter, n, shown, threshold, probabilities) for n in names}
            told = {"shape": list(shown.shape), "notes": list(entry.notes), "models": found}
            answers.append({"name": entry.name, **told})
        if isinstance(patch, list) or len(answers) > 1:
            return {"patches": answers}
        return told

    @_in_line
    def evaluate(
        self,
        patches: list[gr.FileData],
        labels: list[gr.FileData],
        models: list[str] | None = None,
        threshold: float | None = None,
        losses: str = "negative",
        unit: str = "auto",
    ) -> dict[str, Any]:
        """Score models on patches whose grooves are known.

        No address is fetched: over MCP a file is a data: URL, data:;base64,...

        Args:
            patches: Uploaded .npy files, as for segment.
            labels: As many .npy files of 0 and 1 (or 0 and 255, or true and false) in the same
                order, each of its patch's shape.
            models: Names or experiment ids of the models to score; all when left out.
            threshold: A probability above it is a groove; each model's own when left out.
            losses: Sign of wall losses: negative (of thickness) or positive (of radius).
            unit: Of the values: inch, mil, mm, um or m; found when left out.

        Returns:
            patches: their names; notes: for each patch, sentences on what was assumed of its
            measurements and its label; and for each model its threshold, and accuracy, precision,
            recall, dice and iou: patches (of each, in order), macro (their mean, the challenge's
            score) and micro (all pixels pooled). A patch without a groove scores 1 where none is
            predicted and 0 otherwise. Pixels that were not measured are left out.
        """
        names = _names(self.segmenter, models)
        _check(0, 0.0, 0, threshold)
        check_pairs(patches, labels)
        read = read_labels(labels, read_patches(patches, len(names), _options(losses, unit)))
        answers = {}
        for name in names:
            limit = self.segmenter.cards[name].threshold if threshold is None else threshold
            scored = _scores(self.segmenter, name, limit, read)
            answers[name] = {"threshold": limit, **scored}
        return {
            "patches": [entry.name for entry in read],
            "notes": [list(entry.notes) for entry in read],
            "models": answers,
        }


def choose(names: tuple[str, ...], wanted: str) -> list[str]:
    """Find checkpoints by experiment id ("200"), name ("stacked") or both ("200-stacked")."""
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
        raise PatchError(f"seed is {str(seed)[:40]}; it must be from 0 to {MAX_SEED}.")
    for name, value in (("noise", noise), ("threshold", 0.5 if threshold is None else threshold)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise PatchError(f"{name} is {repr(value)[:40]}; it must be a number from 0 to 1.")


def _options(losses: Any, unit: Any) -> MeasurementOptions:
    return MeasurementOptions(str(losses)[:40], str(unit)[:40])  # type: ignore[arg-type]


def _describe(segmenter: Segmenter, name: str) -> dict[str, Any]:
    parameters = segmenter.model(name).count_parameters()
    card = segmenter.cards[name]
    return {
        "architecture": card.architecture,
        "parameters": parameters,
        "threshold": card.threshold,
        "experiment": card.experiment,
        "data": card.data,
        "scores": card.metrics,
    }


def _answer(
    segmenter: Segmenter,
    name: str,
    patch: NDArray[np.float32],
    threshold: float | None,
    probabilities: bool,
) -> dict[str, Any]:
    result = segmenter.segment(patch, [name], interpret=False)[name]
    limit = segmenter.cards[name].threshold if threshold is None else threshold
    answer: dict[str, Any] = {
        "mask": (result.probability > limit).astype(int).tolist(),
        "threshold": limit,
        "milliseconds": result.milliseconds,
        "parameters": segmenter.model(name).count_parameters(),
    }
    if probabilities:  # JSON has no NaN
        answer["probability"] = [_plain(row) for row in result.probability.tolist()]
    return answer


def _scores(
    segmenter: Segmenter,
    name: str,
    threshold: float,
    entries: Sequence[Entry],
) -> dict[str, Any]:
    """Compute the five scores of one model: for each patch, their mean, and over all pixels."""
    each = []
    for entry in entries:
        found = segmenter.probabilities(entry.patch[None], [name], interpret=False)[name]
        probability = torch.from_numpy(found)
        truth = torch.from_numpy(entry.truth)[None] != 0
        each.append(count(probability > threshold, truth, ~probability.isnan()))
    counts = Counts(*map(torch.cat, zip(*each, strict=True)))
    columns = {metric: _plain(value.tolist()) for metric, value in score(counts).items()}
    rows = zip(*columns.values(), strict=True)
    return {
        "patches": [dict(zip(columns, row, strict=True)) for row in rows],
        "macro": average_scores(counts),
        "micro": average_scores(counts, average="micro"),
    }


def _plain(values: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]

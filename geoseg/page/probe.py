"""The change of every model's mask under shift, noise, gain and lost rows.

V values of the change, R repeats, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.evaluation.perturbations import (
    PerturbedPatch,
    ScoreRange,
    add_noise_to_patch,
    amplify_patch,
    compare_masks,
    remove_rows,
    shift_patch,
)
from geoseg.page.batches import Work
from geoseg.page.browse import Entry, Patches
from geoseg.page.live import first_line, view
from geoseg.page.request import Request, fields, number
from geoseg.segmenter import Segmenter
from geoseg.transforms import roll

PROBES = ("shift", "noise", "gain", "nulls")


class Curve(NamedTuple):
    """The masks of one model under one change; the ranges are over the V values.

    Attributes:
        kept: IoU with the mask of the unchanged patch, turned as the patch is.
        iou: IoU with the truth; None where there is none.
        marked: pixels of the unchanged patch that are in the mask.
    """

    kept: ScoreRange
    iou: ScoreRange | None
    marked: int


@dataclass
class Curves:
    """What the models make of one change; the values of the change are `at`, (V,).

    Attributes:
        models: by name a curve, or a sentence that tells why there is none.
    """

    at: tuple[float, ...]
    models: dict[str, Curve | str] = field(default_factory=dict)


class Probed(NamedTuple):
    """The `curves` by probe so far, of `done` of `total` images."""

    done: int
    total: int
    curves: dict[str, Curves]


def probe(
    work: Work, patches: Patches, raw: Any, probes: Sequence[str] = PROBES
) -> Iterator[Probed]:
    """Probe the patch that a message of the viewer asks for, step by step.

    Each probe changes one thing of the patch as the message has it, and leaves the others: turning
    keeps the noise, noise keeps the shift. The message's `threshold`, 0 to 1, counts instead of
    each model's own. A model that cannot take the patch has a sentence instead of a curve.
    """
    message, request = fields(raw), Request.parse(raw, work.segmenter.names)
    entry = patches.entry(patches.find(request.name, request.index))
    subjects = {name: _subject(name, entry, request) for name in probes}
    curves = {name: Curves(subject.trials.values) for name, subject in subjects.items()}
    total = len(request.models) * sum(len(subject.images) for subject in subjects.values())
    done = 0
    yield Probed(done, total, curves)
    for name, subject in subjects.items():
        for model in request.models:
            masks: list[Tensor] = []
            found: Curve | str
            try:
                for probability in work.run_alike(model, subject.images.numpy()):
                    if masks:
                        yield Probed(done + sum(map(len, masks)), total, curves)
                    masks.append(_mask(work.segmenter, model, probability, message))
                found = _curve(subject, torch.cat(masks))
            except (ValueError, RuntimeError) as error:  # as in the viewer itself
                found = first_line(error)
            curves[name].models[model] = found
            done += len(subject.images)
            yield Probed(done, total, curves)


class _Subject(NamedTuple):
    """The subject of one probe; `truth` (Z, A) bool or None is aligned with the unchanged patch."""

    trials: PerturbedPatch
    truth: Tensor | None

    @property
    def images(self) -> Tensor:
        """(V * R, Z, A) float32."""
        return self.trials.images.flatten(0, 1)


def _subject(name: str, entry: Entry, request: Request) -> _Subject:
    shift = 0 if name == "shift" else request.shift
    shown = view(entry, shift, 0 if name == "noise" else request.noise, request.seed)
    patch = torch.from_numpy(shown.patch)
    if name == "shift":
        trials = shift_patch(patch)
    elif name == "noise":  # added before the turn, as everywhere on the page
        trials = add_noise_to_patch(roll(patch, -shift), request.seed)
        trials = trials._replace(images=roll(trials.images, shift))
    else:
        trials = amplify_patch(patch) if name == "gain" else remove_rows(patch)
    truth = None if shown.truth is None else torch.from_numpy(shown.truth) == 1
    return _Subject(trials, truth)


def _mask(
    segmenter: Segmenter, model: str, probability: NDArray[np.float32], message: dict[str, Any]
) -> Tensor:
    """Return bool (B, Z, A): probability above the message's threshold or the model's own."""
    limit = segmenter.cards[model].threshold  # known for sure once the model is loaded
    if message.get("threshold") is not None:
        limit = number(message["threshold"], 0, 1)
    return torch.from_numpy(probability > np.float32(limit))


def _curve(subject: _Subject, masks: Tensor) -> Curve:
    trials, truth = subject.trials, subject.truth
    masks = masks.view(trials.images.shape)
    unchanged = masks[trials.unchanged, 0]
    iou = None if truth is None else compare_masks(trials, masks, truth)
    return Curve(compare_masks(trials, masks, unchanged), iou, int(unchanged.sum()))

"""The change of every model's mask under shift, noise, gain and lost rows.

V values of the change, R repeats, Z depth, A azimuth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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


def probe(work: Work, patches: Patches, raw: Any) -> Iterator[dict[str, Any]]:
    """Answer a browser in parts; each part holds the results since the last one.

    Each probe changes one thing of the patch as the message asks for it, and leaves the others:
    turning keeps the noise, noise keeps the shift. Beside the fields of a Request the message may
    have `probes`, some of PROBES, and `threshold`, 0 to 1, instead of each model's own.

    An answer counts the images that are `done`, `of` how many; only in the last answer as many.
    Its `curves` are by probe: `at`, the values of the change, and `models` by name, one each with
    `marked`, how many pixels of the unchanged patch are in the model's mask, `kept`, the IoU with
    that mask, and `iou`, that with the truth, None where there is none. Both are lists over the
    values: `mean`, `low` and `high` over the repeats; None where no pixel is measured. A model
    that cannot take the patch has an `error` instead.
    """
    message, request = fields(raw), Request.parse(raw, work.segmenter.names)
    subjects = _subjects(patches.entry(patches.find(request.name, request.index)), message, request)
    done, of = 0, len(request.models) * sum(len(s.images) for s in subjects)

    def answer(done: int, **curves: Any) -> dict[str, Any]:
        return {"done": done, "of": of, "curves": curves}

    yield answer(0)
    for subject in subjects:
        for model in request.models:
            masks: list[Tensor] = []
            try:
                for found in work.run_alike(model, subject.images.numpy()):
                    if masks:
                        yield answer(done + sum(map(len, masks)))
                    masks.append(_mask(work.segmenter, model, found, message))
                found_curves = _curves(subject, torch.cat(masks))
            except (ValueError, RuntimeError) as error:  # as on the page itself
                found_curves = {"error": first_line(error)}
            done += len(subject.images)
            found_at = {"at": list(subject.trials.values), "models": {model: found_curves}}
            yield answer(done, **{subject.name: found_at})


class _Subject(NamedTuple):
    """The subject of one probe; `truth` (Z, A) bool or None is aligned with the unchanged patch."""

    name: str
    trials: PerturbedPatch
    truth: Tensor | None

    @property
    def images(self) -> Tensor:
        """(V * R, Z, A) float32."""
        return self.trials.images.flatten(0, 1)


def _subjects(entry: Entry, message: dict[str, Any], request: Request) -> list[_Subject]:
    wanted = message.get("probes")
    chosen = [name for name in PROBES if not isinstance(wanted, list) or name in wanted]
    subjects = []
    for name in chosen:
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
        subjects.append(_Subject(name, trials, truth))
    return subjects


def _mask(
    segmenter: Segmenter, model: str, probability: NDArray[np.float32], message: dict[str, Any]
) -> Tensor:
    """Return bool (B, Z, A): probability above the message's threshold or the model's own."""
    limit = segmenter.cards[model].threshold  # known for sure once the model is loaded
    if message.get("threshold") is not None:
        limit = number(message["threshold"], 0, 1)
    return torch.from_numpy(probability > np.float32(limit))


def _curves(subject: _Subject, masks: Tensor) -> dict[str, Any]:
    trials, truth = subject.trials, subject.truth
    masks = masks.view(trials.images.shape)
    kept = compare_masks(trials, masks, masks[trials.unchanged, 0])
    iou = None if truth is None else _spread(compare_masks(trials, masks, truth))
    return {"kept": _spread(kept), "iou": iou, "marked": int(masks[trials.unchanged, 0].sum())}


def _spread(spread: ScoreRange) -> dict[str, list[float | None]]:
    """Return lists for JSON, with None for NaN."""
    return {
        name: [None if math.isnan(value) else value for value in values.tolist()]
        for name, values in spread._asdict().items()
    }

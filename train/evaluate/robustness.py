"""How much of a mask stays when the pipe is turned, and when noise or gain change.

B images, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.evaluation import perturbations
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.perturbations import amplify
from geoseg.metrics import average_scores, count
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.transforms import add_noise, roll

# Every other step of the page's probe.
NOISE = perturbations.NOISE[::2]
GAIN = perturbations.GAIN[::2]
_NOISE_SEED = 0


class Turning(NamedTuple):
    """Whether the mask turns with the pipe.

    Attributes:
        rolls: by how many different shifts each image was turned.
        identical_patches: share of patches whose mask, turned back, is the same at every shift.
        identical_pairs: share of pairs (patch, shift) where it is the same.
        kept: mean IoU over those pairs of the mask with the one turned back; 1 where both are
            empty.
    """

    rolls: int
    identical_patches: float
    identical_pairs: float
    kept: float


class Curve(NamedTuple):
    """What a change of the images does.

    Attributes:
        at: the values of the change.
        iou: mean IoU over patches with the truth, challenge rule, at each of them.
        kept: mean IoU over patches of the mask with the one of the unchanged images.
    """

    at: list[float]
    iou: list[float]
    kept: list[float]


class Robustness(NamedTuple):
    """What is found for one model."""

    turning: Turning
    noise: Curve
    gain: Curve


def examine(
    case: EvaluationSet, segmenter: Segmenter, name: str, mask: Tensor, rolls: int | None = None
) -> Robustness:
    """Examine one model whose mask (N, Z, A) of the unchanged images is known.

    Every shift is tried, or `rolls` of them, spread evenly; one at a time is in memory.
    """
    subject = Subject(case, segmenter, name, mask)
    return Robustness(
        subject.turn(rolls),
        subject.curve("noise", NOISE, _add_noise),
        subject.curve("gain", GAIN, lambda gain, images: amplify(images, gain)),
    )


def _add_noise(sigma: float, images: Tensor) -> Tensor:
    return add_noise(images, sigma, _NOISE_SEED)


class Subject(NamedTuple):
    """One model on one case, and its mask (N, Z, A) of the unchanged images."""

    case: EvaluationSet
    segmenter: Segmenter
    name: str
    mask: Tensor

    def turn(self, rolls: int | None) -> Turning:
        """Turn the images by `rolls` shifts, or by all."""
        columns = self.case.images.shape[-1]
        tried = min(rolls or columns, columns - 1)
        shifts = [1 + i * (columns - 1) // tried for i in range(tried)]
        scored = self.case.patches(self.case.known).flatten(1).any(1)
        same, kept = [], []
        for shift in track_progress(shifts, f"{self.name}: turning"):
            turned = self.look(partial(roll, shift=shift), -shift)
            same.append((turned == self.mask).flatten(1).all(1)[scored])
            kept.append(self.iou(turned, self.mask))
        table = torch.stack(same).double()
        every, pairs = table.amin(0).mean().item(), table.mean().item()
        return Turning(tried, every, pairs, sum(kept) / tried)

    def curve(
        self, what: str, values: Sequence[float], change: Callable[[float, Tensor], Tensor]
    ) -> Curve:
        """Change the images by each of the values."""
        truth = self.case.patches(self.case.truth)
        curve = Curve([], [], [])
        for value in track_progress(values, f"{self.name}: {what}"):
            mask = self.look(partial(change, value))
            curve.at.append(value)
            curve.iou.append(self.iou(mask, truth))
            curve.kept.append(self.iou(mask, self.mask))
        return curve

    def look(self, change: Callable[[Tensor], Tensor], back: int = 0) -> Tensor:
        """The mask (N, Z, A) of changed images, turned by `back` columns."""
        probability = self.case.probability(self.segmenter, self.name, change)
        mask = probability > self.segmenter.cards[self.name].threshold
        return self.case.patches(roll(mask, back) & self.case.known)

    def iou(self, mask: Tensor, other: Tensor) -> float:
        """Mean over patches, challenge rule."""
        known = self.case.patches(self.case.known)
        return average_scores(count(mask, other, known))["iou"]

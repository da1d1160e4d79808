"""Robustness: how a model's masks change when all images are shifted, noisy or amplified.

B images, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.evaluation import perturbations
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.perturbations import Perturbation, make_gains, make_noise, make_shifts
from geoseg.metrics import compute_iou
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.transforms import roll

# Every other value of those for a single patch.
NOISE = perturbations.NOISE[::2]
GAIN = perturbations.GAIN[::2]
_NOISE_SEED = 0


class ShiftConsistency(NamedTuple):
    """Whether a mask shifts with the image.

    Attributes:
        rolls: number of different shifts of each image.
        identical_patches: share of patches whose mask, rolled back, is the same at every shift.
        identical_pairs: share of pairs (patch, shift) for which it is the same.
        kept: mean over those pairs of the IoU of the mask and the one rolled back; 1 if both are
            empty.
    """

    rolls: int
    identical_patches: float
    identical_pairs: float
    kept: float


class Curve(NamedTuple):
    """Scores against the strength of a perturbation.

    Attributes:
        at: values of the perturbation.
        iou: mean IoU over patches with the label, challenge rule, at each value.
        kept: mean IoU over patches with the mask of the unchanged images.
    """

    at: list[float]
    iou: list[float]
    kept: list[float]


class Robustness(NamedTuple):
    """The robustness of one model."""

    shift: ShiftConsistency
    noise: Curve
    gain: Curve


def measure_robustness(
    evaluation_set: EvaluationSet,
    segmenter: Segmenter,
    name: str,
    mask: Tensor,
    shifts: int | None = None,
) -> Robustness:
    """Measure the robustness of one model, whose mask of the unchanged images is (N, Z, A) bool.

    The images are shifted by every number of columns, or by `shifts` of them, evenly spaced. One
    perturbed copy of the images is in memory at a time.
    """
    labels, valid = map(evaluation_set.cut_patches, (evaluation_set.labels, evaluation_set.valid))
    columns = evaluation_set.images.shape[-1]
    count = min(shifts or columns, columns - 1)
    tried = make_shifts(1 + i * (columns - 1) // count for i in range(count))

    def predict(perturbations: Sequence[Perturbation], what: str) -> Iterator[tuple[float, Tensor]]:
        """Yield each value and the mask (N, Z, A) of the perturbed images, rolled back."""
        for value, apply, shift in track_progress(perturbations, f"{name}: {what}"):
            probability = evaluation_set.predict(segmenter, name, apply)
            rolled_back = roll(probability > segmenter.cards[name].threshold, -shift)
            yield value, evaluation_set.cut_patches(rolled_back & evaluation_set.valid)

    def mean_iou(one: Tensor, other: Tensor) -> float:
        return compute_iou(one, other, valid).nanmean().item()

    def measure_curve(perturbations: Sequence[Perturbation], what: str) -> Curve:
        rows = [
            (value, mean_iou(perturbed, labels), mean_iou(perturbed, mask))
            for value, perturbed in predict(perturbations, what)
        ]
        return Curve(*map(list, zip(*rows, strict=True)))

    scored = valid.flatten(1).any(1)
    same, kept = [], []
    for _, shifted in predict(tried, "shifts"):
        same.append((shifted == mask).flatten(1).all(1)[scored])
        kept.append(mean_iou(shifted, mask))
    table = torch.stack(same).double()
    return Robustness(
        ShiftConsistency(
            count, table.amin(0).mean().item(), table.mean().item(), sum(kept) / count
        ),
        measure_curve(make_noise(NOISE, _NOISE_SEED), "noise"),
        measure_curve(make_gains(GAIN), "gain"),
    )

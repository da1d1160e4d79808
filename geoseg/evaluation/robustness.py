"""Robustness: how a model's masks change when all images are shifted, noisy or amplified.

B images, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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

    def predict(perturbations: Sequence[Perturbation], what: str) -> Iterator[Tensor]:
        """Yield the mask (N, Z, A) of the images under each perturbation, rolled back."""
        for _, apply, shift in track_progress(perturbations, f"{name}: {what}"):
            probability = evaluation_set.predict(segmenter, name, apply)
            rolled_back = roll(probability > segmenter.cards[name].threshold, -shift)
            yield evaluation_set.cut_patches(rolled_back & evaluation_set.valid)

    labels, valid = map(evaluation_set.cut_patches, (evaluation_set.labels, evaluation_set.valid))
    columns = evaluation_set.images.shape[-1]
    count = min(shifts or columns, columns - 1)
    tried = make_shifts(1 + i * (columns - 1) // count for i in range(count))
    noise, gain = make_noise(NOISE, _NOISE_SEED), make_gains(GAIN)
    return Robustness(
        _compare_shifted(predict(tried, "shifts"), mask, valid),
        _make_curve(NOISE, predict(noise, "noise"), mask, labels, valid),
        _make_curve(GAIN, predict(gain, "gain"), mask, labels, valid),
    )


def _compare_shifted(shifted: Iterable[Tensor], mask: Tensor, valid: Tensor) -> ShiftConsistency:
    scored = valid.flatten(1).any(1)
    same, kept = [], []
    for one in shifted:
        same.append((one == mask).flatten(1).all(1)[scored])
        kept.append(_mean_iou(one, mask, valid))
    table = torch.stack(same).double()  # (shifts, scored patches)
    every, pairs = table.amin(0).mean().item(), table.mean().item()
    return ShiftConsistency(len(kept), every, pairs, sum(kept) / len(kept))


def _make_curve(
    values: Sequence[float], masks: Iterable[Tensor], mask: Tensor, labels: Tensor, valid: Tensor
) -> Curve:
    rows = [(_mean_iou(one, labels, valid), _mean_iou(one, mask, valid)) for one in masks]
    iou, kept = map(list, zip(*rows, strict=True))
    return Curve(list(values), iou, kept)


def _mean_iou(mask: Tensor, other: Tensor, valid: Tensor) -> float:
    return compute_iou(mask, other, valid).nanmean().item()

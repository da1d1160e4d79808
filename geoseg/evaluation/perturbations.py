"""What shifts, noise, gain and lost rows change in masks: of one patch, and of a whole set.

V values of a perturbation, R repeats at each value, B images, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.metrics import compute_iou
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.transforms import add_noise, roll

# The range of the original viewer's noise slider, in the unit of the images; gains from 1/4 to 4.
# A set has every other value.
NOISE = tuple(i / 2000 for i in range(11))
GAIN = tuple(2 ** (i / 2 - 2) for i in range(9))
SEEDS = 4  # of the noise of one patch
DEPTHS = 5  # at which rows are lost
MAX_SHIFTS = 72  # of one patch; a wider one is shifted by as many, evenly spaced
_SET_SEED = 0  # of the noise of a set


class PerturbedPatch(NamedTuple):
    """A patch under one perturbation of rising strength.

    Attributes:
        values: of the perturbation, (V,).
        images: float32 (V, R, Z, A), NaN at nulls.
        shifts: columns by which the images of each value are rolled, (V,).
        unchanged: index of the value that leaves the patch unchanged.
    """

    values: tuple[float, ...]
    images: Tensor
    shifts: tuple[int, ...]
    unchanged: int = 0


class ScoreRange(NamedTuple):
    """Mean, lowest and highest over the repeats at each value, float64 (V,); NaN without pixels."""

    mean: Tensor
    low: Tensor
    high: Tensor


def shift_patch(patch: Tensor) -> PerturbedPatch:
    """Shift the patch (Z, A) by every number of columns, or by MAX_SHIFTS of them."""
    columns = patch.shape[-1]
    count = min(columns, MAX_SHIFTS)
    shifts = tuple(i * columns // count for i in range(count))
    images = torch.stack([roll(patch, shift) for shift in shifts])
    return PerturbedPatch(tuple(map(float, shifts)), images[:, None], shifts)


def add_noise_to_patch(patch: Tensor, seed: int) -> PerturbedPatch:
    """Add noise of rising strength to the patch (Z, A), of SEEDS seeds from `seed` on."""
    repeats = [[add_noise(patch, sigma, seed + i) for i in range(SEEDS)] for sigma in NOISE]
    images = torch.stack([torch.stack(repeat) for repeat in repeats])
    return PerturbedPatch(NOISE, images, (0,) * len(NOISE))


def amplify_patch(patch: Tensor) -> PerturbedPatch:
    """Multiply the patch (Z, A) by each GAIN, as an instrument of another scale does."""
    images = torch.stack([patch * gain for gain in GAIN])
    return PerturbedPatch(GAIN, images[:, None], (0,) * len(GAIN), GAIN.index(1))


def remove_rows(patch: Tensor) -> PerturbedPatch:
    """Set 0, 1, 2, 4 ... successive rows of the patch (Z, A) to NaN, at each of DEPTHS depths."""
    rows = len(patch)
    lengths = [0, *(2**i for i in range(rows.bit_length()) if 2**i < rows)]
    images = patch.repeat(len(lengths), DEPTHS, 1, 1)
    for i, length in enumerate(lengths):
        for depth in range(DEPTHS):
            top = depth * (rows - length) // (DEPTHS - 1)
            images[i, depth, top : top + length] = torch.nan
    return PerturbedPatch(tuple(map(float, lengths)), images, (0,) * len(lengths))


def compare_masks(perturbed: PerturbedPatch, masks: Tensor, other: Tensor) -> ScoreRange:
    """Compare masks (V, R, Z, A) bool, rolled back, with another mask (Z, A) bool by IoU.

    The challenge's rule; nulls of each image do not count.
    """
    rows = zip(masks, perturbed.images.isfinite(), perturbed.shifts, strict=True)
    iou = torch.stack(
        [
            compute_iou(roll(mask, -shift), other.expand_as(mask), roll(valid, -shift))
            for mask, valid, shift in rows
        ]
    )
    low, high = iou.nanquantile(torch.tensor([0, 1]).to(iou), dim=1)
    return ScoreRange(iou.nanmean(1), low, high)


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
    """What shifts, noise and gain change in the masks of one model on a set."""

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

    def predict(change: Callable[[Tensor], Tensor], shift: int = 0) -> Tensor:
        """Return the mask (N, Z, A) of the changed images, rolled back."""
        probability = evaluation_set.predict(segmenter, name, change)
        rolled_back = roll(probability > segmenter.cards[name].threshold, -shift)
        return evaluation_set.cut_patches(rolled_back & evaluation_set.valid)

    labels, valid = map(evaluation_set.cut_patches, (evaluation_set.labels, evaluation_set.valid))
    columns = evaluation_set.images.shape[-1]
    count = min(shifts or columns, columns - 1)
    tried = [1 + i * (columns - 1) // count for i in range(count)]
    noise = [partial(add_noise, sigma=sigma, seed=_SET_SEED) for sigma in NOISE[::2]]
    gain = [partial(torch.mul, other=factor) for factor in GAIN[::2]]
    shifted = (predict(partial(roll, shift=n), n) for n in track_progress(tried, f"{name}: shifts"))
    noisy = (predict(change) for change in track_progress(noise, f"{name}: noise"))
    amplified = (predict(change) for change in track_progress(gain, f"{name}: gain"))
    return Robustness(
        _compare_shifted(shifted, mask, valid),
        _make_curve(NOISE[::2], noisy, mask, labels, valid),
        _make_curve(GAIN[::2], amplified, mask, labels, valid),
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

"""Perturbations of images: shifts, noise, gain and lost rows, and what they change in a mask.

V values of a perturbation, R repeats at each value, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.metrics import compute_iou
from geoseg.transforms import add_noise, roll

# The range of the original viewer's noise slider, in the unit of the images; gains from 1/4 to 4.
NOISE = tuple(i / 2000 for i in range(11))
GAIN = tuple(2 ** (i / 2 - 2) for i in range(9))
SEEDS = 4  # of the noise
DEPTHS = 5  # at which rows are lost
MAX_SHIFTS = 72  # of one patch; a wider one is shifted by as many, evenly spaced


class Perturbation(NamedTuple):
    """One change of images (..., Z, A).

    Attributes:
        value: columns, standard deviation, factor or rows.
        apply: returns the changed images.
        shift: columns to the right by which `apply` rolls the images.
    """

    value: float
    apply: Callable[[Tensor], Tensor]
    shift: int = 0


def make_shifts(shifts: Iterable[int]) -> list[Perturbation]:
    """Return a roll by each of `shifts` columns."""
    return [Perturbation(float(shift), partial(roll, shift=shift), shift) for shift in shifts]


def make_noise(levels: Iterable[float], seed: int) -> list[Perturbation]:
    """Return white noise of each standard deviation, with the pattern of `seed`."""
    return [Perturbation(sigma, partial(add_noise, sigma=sigma, seed=seed)) for sigma in levels]


def make_gains(gains: Iterable[float]) -> list[Perturbation]:
    """Return a multiplication by each factor, as by an instrument of another scale."""
    return [Perturbation(gain, partial(torch.mul, other=gain)) for gain in gains]


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
    return _perturb(patch, [make_shifts(i * columns // count for i in range(count))])


def add_noise_to_patch(patch: Tensor, seed: int) -> PerturbedPatch:
    """Add noise of rising strength to the patch (Z, A), of SEEDS seeds from `seed` on."""
    return _perturb(patch, [make_noise(NOISE, seed + i) for i in range(SEEDS)])


def amplify_patch(patch: Tensor) -> PerturbedPatch:
    """Multiply the patch (Z, A) by each GAIN."""
    return _perturb(patch, [make_gains(GAIN)])._replace(unchanged=GAIN.index(1))


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


def _perturb(patch: Tensor, repeats: Sequence[list[Perturbation]]) -> PerturbedPatch:
    """Apply R lists of V perturbations of the same values."""
    images = [torch.stack([p.apply(patch) for p in repeat]) for repeat in repeats]
    values = tuple(p.value for p in repeats[0])
    return PerturbedPatch(values, torch.stack(images, 1), tuple(p.shift for p in repeats[0]))

"""What one change does to a model's mask: turns of the pipe, noise, gain, and rows that are lost.

V values of the change, R repeats at each value, Z depth, A azimuth.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.metrics import count, score
from geoseg.transforms import add_noise, roll

# The original viewer's noise slider, in the unit of the images, and from a quarter to four times.
NOISE = tuple(i / 2000 for i in range(11))
GAIN = tuple(2 ** (i / 2 - 2) for i in range(9))
SEEDS = 4  # of the noise
DEPTHS = 5  # at which rows are lost
MOST_TURNS = 72  # of a wider pipe as many shifts, evenly spread


class Perturbations(NamedTuple):
    """A patch changed step by step.

    Attributes:
        at: the values of the change, (V,).
        images: float32 (V, R, Z, A), NaN at nulls.
        back: columns by which the images of each value must be turned to lie as they did, (V,).
        rest: which of the values leaves the patch as it is.
    """

    at: tuple[float, ...]
    images: Tensor
    back: tuple[int, ...]
    rest: int


class ScoreRange(NamedTuple):
    """Mean, lowest and highest over the repeats at each value, float64 (V,); NaN without pixels."""

    mean: Tensor
    low: Tensor
    high: Tensor


def turned(patch: Tensor) -> Perturbations:
    """The patch (Z, A) turned by every number of columns, or by MOST_TURNS of them."""
    columns = patch.shape[-1]
    tried = min(columns, MOST_TURNS)
    shifts = [i * columns // tried for i in range(tried)]
    images = torch.stack([roll(patch, shift) for shift in shifts])[:, None]
    return Perturbations(tuple(map(float, shifts)), images, tuple(-shift for shift in shifts), 0)


def noisy(patch: Tensor, seed: int) -> Perturbations:
    """The patch (Z, A) with white noise of rising strength, of `seed` and the SEEDS - 1 next."""
    levels = [
        torch.stack([add_noise(patch, sigma, seed + i) for i in range(SEEDS)]) for sigma in NOISE
    ]
    return _unturned(NOISE, torch.stack(levels), 0)


def amplified(patch: Tensor) -> Perturbations:
    """The patch (Z, A) times each GAIN."""
    images = torch.stack([amplify(patch, gain) for gain in GAIN])[:, None]
    return _unturned(GAIN, images, GAIN.index(1))


def blanked(patch: Tensor) -> Perturbations:
    """The patch (Z, A) without 0, 1, 2, 4 ... of its rows, one run of them, at DEPTHS places."""
    rows = len(patch)
    runs = [0, *(2**i for i in range(rows.bit_length()) if 2**i < rows)]
    images = patch.repeat(len(runs), DEPTHS, 1, 1)
    for i, run in enumerate(runs):
        for place in range(DEPTHS):
            top = place * (rows - run) // (DEPTHS - 1)
            images[i, place, top : top + run] = torch.nan
    return _unturned(tuple(map(float, runs)), images, 0)


def amplify(images: Tensor, gain: float) -> Tensor:
    """Images times `gain`, as an instrument of another scale gives them."""
    return images * gain


def compare(trials: Perturbations, masks: Tensor, other: Tensor) -> ScoreRange:
    """IoU, challenge rule, of masks (V, R, Z, A) bool, turned back, with another one (Z, A) bool.

    It counts what each image measures, nothing at its nulls.
    """
    pairs = zip(masks, trials.images.isfinite(), trials.back, strict=True)
    found = torch.stack(
        [
            score(count(roll(mask, back), other.expand_as(mask), roll(known, back)))["iou"]
            for mask, known, back in pairs
        ]
    )
    low, high = found.nanquantile(torch.tensor([0, 1]).to(found), dim=1)
    return ScoreRange(found.nanmean(1), low, high)


def _unturned(at: tuple[float, ...], images: Tensor, rest: int) -> Perturbations:
    return Perturbations(at, images, (0,) * len(at), rest)

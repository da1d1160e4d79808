"""Whether a probability of 0.8 is right eight times in ten."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 15


class Calibration(NamedTuple):
    """How far probabilities are from what they promise.

    Attributes:
        ece: expected calibration error, 0 to 1: over bins of the groove's probability, the mean
            distance between the mean probability and the share of true grooves, weighted by pixels
            (Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3; there
            with the confidence of the chosen class, here with the probability of the one class
            that matters, which tells too sure from too shy).
        brier: mean squared distance between probability and truth, 0 to 1 (Brier 1950).
        promised, observed: mean probability and share of true grooves in each bin, None in an
            empty one.
        pixels: how many pixels are in each bin.
    """

    ece: float
    brier: float
    promised: list[float | None]
    observed: list[float | None]
    pixels: list[int]


def calibrate(probability: Tensor, truth: Tensor, bins: int = BINS) -> Calibration:
    """Compare probabilities with truths, both of any one shape, in `bins` bins of equal width.

    Args: probability float, NaN where nothing counts; truth bool. ECE and Brier score are NaN where
    no pixel counts.
    """
    valid = ~probability.isnan()
    p, t = probability[valid].double(), truth[valid].double()
    place = (p * bins).long().clamp(0, bins - 1)
    count, promised, observed = (
        torch.bincount(place, weights, minlength=bins).double() for weights in (None, p, t)
    )
    gap = (promised - observed).abs().sum() / len(p) if len(p) else torch.tensor(torch.nan)
    brier = (p - t).square().mean()
    filled = count.clamp(min=1)

    def means(sums: Tensor) -> list[float | None]:
        shares = (sums / filled).tolist()
        return [share if n else None for share, n in zip(shares, count.tolist(), strict=True)]

    pixels = [int(n) for n in count.tolist()]
    return Calibration(gap.item(), brier.item(), means(promised), means(observed), pixels)

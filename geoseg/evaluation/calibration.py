"""Calibration: whether a probability of 0.8 is right eight times in ten."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 15


class Calibration(NamedTuple):
    """How far probabilities are from the observed share of grooves.

    Attributes:
        ece: expected calibration error, 0 to 1: the mean over bins, weighted by pixels, of the
            distance between the mean probability and the share of labelled grooves (Guo et al., "On
            calibration of modern neural networks", ICML 2017, equation 3; there with the confidence
            of the chosen class, here with the probability of a groove, which tells overconfident
            from underconfident models).
        brier: mean squared distance between probability and label, 0 to 1 (Brier 1950).
        promised, observed: mean probability and share of labelled grooves of each bin, None for an
            empty bin.
        pixels: number of pixels in each bin.
    """

    ece: float
    brier: float
    promised: list[float | None]
    observed: list[float | None]
    pixels: list[int]


def calibrate(probability: Tensor, label: Tensor) -> Calibration:
    """Compare probabilities with labels of the same shape in BINS bins of equal width.

    Probabilities are floats, with NaN where nothing counts; labels are bool. ECE and Brier score
    are NaN if no pixel counts.
    """
    valid = ~probability.isnan()
    p, y = probability[valid].double(), label[valid].double()
    index = (p * BINS).long().clamp(0, BINS - 1)
    count, sum_p, sum_y = (
        torch.bincount(index, weights, minlength=BINS).double() for weights in (None, p, y)
    )
    ece = (sum_p - sum_y).abs().sum() / len(p) if len(p) else torch.tensor(torch.nan)
    brier = (p - y).square().mean()
    promised, observed = (
        [mean if n else None for mean, n in zip((sums / count).tolist(), count, strict=True)]
        for sums in (sum_p, sum_y)
    )
    return Calibration(ece.item(), brier.item(), promised, observed, count.int().tolist())

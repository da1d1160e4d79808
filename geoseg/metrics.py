"""Counts once, then every score is a function of the counts.

B batch, Z depth, A azimuth.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

EmptyRule = Literal["challenge", "original"]
Average = Literal["macro", "micro"]
METRICS = ("accuracy", "precision", "recall", "dice", "iou")


class Counts(NamedTuple):
    """Pixels of each patch, (B,) float64: true and false positives, false and true negatives."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    def pooled(self) -> Counts:
        """All patches as one."""
        return Counts(*(n.sum(0, keepdim=True) for n in self))


def count(mask: Tensor, truth: Tensor, valid: Tensor | None = None) -> Counts:
    """Compare masks with truths, all (B, Z, A) bool; pixels that are not `valid` are left out."""
    kept = torch.ones_like(truth) if valid is None else valid

    def pixels(where: Tensor) -> Tensor:
        return (where & kept).flatten(1).sum(1).double()

    return Counts(
        pixels(mask & truth), pixels(mask & ~truth), pixels(~mask & truth), pixels(~mask & ~truth)
    )


def score(counts: Counts, empty: EmptyRule = "challenge") -> dict[str, Tensor]:
    """The five metrics of each patch, (B,) float64; NaN for a patch without a valid pixel.

    `empty` says what a patch without a groove is worth:
        "challenge": precision, recall, Dice and IoU are 1 where the prediction is empty too, and 0
            where it is not, so every false alarm on a sound pipe costs.
        "original": one true positive is made up, as the original project does. It flatters.
    """
    tp, fp, fn, tn = counts
    total = tp + fp + fn + tn
    accuracy = (tp + tn) / total
    if empty == "original":
        tp = torch.where(tp + fn == 0, 1.0, tp)
    agreed = torch.where(tp + fp + fn == 0, 1.0, 0.0)

    def ratio(part: Tensor, whole: Tensor) -> Tensor:
        value = torch.where(whole > 0, part / whole.clamp(min=1), agreed)
        return torch.where(total > 0, value, torch.nan)

    return {
        "accuracy": accuracy,
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "iou": ratio(tp, tp + fp + fn),
    }


def average_scores(
    counts: Counts, *, empty: EmptyRule = "challenge", average: Average = "macro"
) -> dict[str, float]:
    """The five metrics of a set.

    "macro" is the mean over patches, the challenge's; "micro" pools all pixels first.
    """
    if average == "micro":
        counts = counts.pooled()
    return {name: value.nanmean().item() for name, value in score(counts, empty).items()}


def scores(
    prediction: ArrayLike | Tensor,
    truth: ArrayLike | Tensor,
    *,
    threshold: float = 0.5,
    valid: ArrayLike | Tensor | None = None,
    empty: EmptyRule = "challenge",
    average: Average = "macro",
) -> dict[str, float]:
    """Accuracy, precision, recall, Dice and IoU of a prediction, each from 0 to 1.

    Args:
        prediction: (Z, A) or (B, Z, A); probabilities as floats, NaN at nulls, which are left out,
            or a mask as bool or integers.
        truth: 0 or 1, the shape of `prediction`.
        threshold: a probability above it is a groove.
        valid: False at further pixels to leave out.
        empty, average: see `score` and `average_scores`.

    Raises ValueError for shapes that differ or are neither (Z, A) nor (B, Z, A), for another value
    in the truth than 0 and 1, and for an unknown rule. All are NaN where no pixel is left.

    >>> scores([[0.9, 0.2]], [[1, 0]])["iou"]
    1.0
    """
    for rule, choices in ((empty, get_args(EmptyRule)), (average, get_args(Average))):
        if rule not in choices:
            raise ValueError(f"unknown rule {rule!r}; choose one of {', '.join(choices)}")
    predicted, expected = _tensor(prediction), _tensor(truth)
    if predicted.shape != expected.shape or predicted.ndim not in (2, 3):
        raise ValueError(
            f"prediction has shape {tuple(predicted.shape)} and truth {tuple(expected.shape)}; "
            "both must be (Z, A) or both (B, Z, A)"
        )
    wrong = expected[(expected != 0) & (expected != 1)]
    if wrong.numel():
        raise ValueError(f"the truth holds {wrong[0].item():g}; it must hold only 0 and 1")
    kept = torch.ones_like(expected, dtype=torch.bool) if valid is None else _tensor(valid).bool()
    if kept.shape != expected.shape:
        raise ValueError(f"valid has shape {tuple(kept.shape)}, truth {tuple(expected.shape)}")
    if predicted.is_floating_point():
        kept = kept & ~predicted.isnan()
        mask = predicted > threshold
    else:
        mask = predicted != 0
    if mask.ndim == 2:
        mask, expected, kept = mask[None], expected[None], kept[None]
    counts = count(mask, expected != 0, kept)
    return average_scores(counts, empty=empty, average=average)


def _tensor(values: ArrayLike | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    return torch.as_tensor(np.asarray(values))

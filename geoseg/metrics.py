"""Count pixels once, then compute every score from the counts.

Our own, because a patch without a groove scores 1 or 0 by the challenge's rule, which metric
libraries do not offer. B batch, Z depth, A azimuth.
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


def count(mask: Tensor, label: Tensor, valid: Tensor | None = None) -> Counts:
    """Compare masks with labels, all (B, Z, A) bool; pixels that are not `valid` do not count."""
    parts = mask & label, mask & ~label, ~mask & label, ~mask & ~label
    counted = parts if valid is None else (part & valid for part in parts)
    return Counts(*(part.flatten(1).sum(1).double() for part in counted))


def score(counts: Counts, empty: EmptyRule = "challenge") -> dict[str, Tensor]:
    """Return the five metrics of each patch, (B,) float64; NaN for a patch without a valid pixel.

    `empty` is the rule for a patch whose label has no groove:
        "challenge": precision, recall, Dice and IoU are 1 if the mask is empty too, else 0. Every
            false alarm on a sound pipe costs.
        "original": one true positive is added, as in the original project. The scores are higher
            than the masks deserve.
    """
    tp, fp, fn, tn = counts
    total = tp + fp + fn + tn
    accuracy = (tp + tn) / total
    if empty == "original":
        tp = torch.where(tp + fn == 0, 1.0, tp)
    both_empty = torch.where(tp + fp + fn == 0, 1.0, 0.0)

    def ratio(part: Tensor, whole: Tensor) -> Tensor:
        value = torch.where(whole > 0, part / whole.clamp(min=1), both_empty)
        return torch.where(total > 0, value, torch.nan)

    return {
        "accuracy": accuracy,
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "iou": ratio(tp, tp + fp + fn),
    }


def compute_iou(mask: Tensor, label: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the IoU of each patch by the challenge's rule, (B,) float64; see `count`."""
    return score(count(mask, label, valid))["iou"]


def average_scores(
    counts: Counts, *, empty: EmptyRule = "challenge", average: Average = "macro"
) -> dict[str, float]:
    """Return the five metrics of a set.

    "macro" is the mean over patches, as in the challenge; "micro" pools all pixels first.
    """
    if average == "micro":
        counts = Counts(*(n.sum(0, keepdim=True) for n in counts))
    return {name: value.nanmean().item() for name, value in score(counts, empty).items()}


def scores(
    prediction: ArrayLike | Tensor,
    label: ArrayLike | Tensor,
    *,
    threshold: float = 0.5,
    valid: ArrayLike | Tensor | None = None,
    empty: EmptyRule = "challenge",
    average: Average = "macro",
) -> dict[str, float]:
    """Return accuracy, precision, recall, Dice and IoU of a prediction, each from 0 to 1.

    Args:
        prediction: (Z, A) or (B, Z, A). Floats are probabilities, with NaN at nulls, which do not
            count. Bools or integers are a mask.
        label: 0 or 1, the shape of `prediction`.
        threshold: a probability above it is a groove.
        valid: False at further pixels that do not count.
        empty, average: see `score` and `average_scores`.

    Every score is NaN if no pixel counts. Raises ValueError if the shapes differ or are neither
    (Z, A) nor (B, Z, A), if the label contains another value than 0 and 1, or if a rule is unknown.

    >>> scores([[0.9, 0.2]], [[1, 0]])["iou"]
    1.0
    """
    for rule, choices in ((empty, get_args(EmptyRule)), (average, get_args(Average))):
        if rule not in choices:
            raise ValueError(f"unknown rule {rule!r}; choose one of {', '.join(choices)}")
    predicted, expected = _to_tensor(prediction), _to_tensor(label)
    if predicted.shape != expected.shape or predicted.ndim not in (2, 3):
        raise ValueError(
            f"prediction has shape {tuple(predicted.shape)} and label {tuple(expected.shape)}; "
            "both must be (Z, A) or both (B, Z, A)"
        )
    wrong = expected[(expected != 0) & (expected != 1)]
    if wrong.numel():
        raise ValueError(f"the label contains {wrong[0].item():g}; use only 0 and 1")
    usable = torch.ones_like(expected).bool() if valid is None else _to_tensor(valid).bool()
    if usable.shape != expected.shape:
        raise ValueError(f"valid has shape {tuple(usable.shape)}, label {tuple(expected.shape)}")
    mask = predicted > threshold if predicted.is_floating_point() else predicted != 0
    usable = usable & ~predicted.isnan()
    if mask.ndim == 2:
        mask, expected, usable = mask[None], expected[None], usable[None]
    return average_scores(count(mask, expected != 0, usable), empty=empty, average=average)


def _to_tensor(values: ArrayLike | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    return torch.as_tensor(np.asarray(values))

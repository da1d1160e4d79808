"""Losses as pure functions: (logits, label, valid=None) -> a scalar to minimise.

Logits and labels are (B, C, Z, A); every channel is a binary question of its own. Labels are 0 or 1
in any dtype. `valid` is bool, of the same shape or one that broadcasts to it; pixels where it is
False do not count. Formulas and weights are the original project's.

A loss is a mean over valid pixels or over patches. To compute it from parts of a batch, pass the
batch's numbers as `totals`: the losses of the parts, and their gradients, then sum to those of the
batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

POSITIVE_WEIGHT = 2.0
DICE_WEIGHT = 0.3
_EPSILON = 1e-7


class BatchTotals(NamedTuple):
    """The numbers of valid pixels and of patches in a batch, each an int or a 0-d tensor."""

    pixels: Tensor | int
    patches: Tensor | int


def bce(
    logits: Tensor,
    label: Tensor,
    valid: Tensor | None = None,
    totals: BatchTotals | None = None,
    positive_weight: float = 1.0,
) -> Tensor:
    """Return the binary cross-entropy, the mean over valid pixels."""
    mask = None if valid is None else valid.to(logits).expand_as(logits)
    total = binary_cross_entropy_with_logits(
        logits,
        label.to(logits),
        weight=mask,
        pos_weight=logits.new_full((), positive_weight),
        reduction="sum",
    )
    if totals:
        return total / torch.as_tensor(totals.pixels).clamp(min=1)
    return total / (logits.numel() if mask is None else mask.sum().clamp(min=1))


def bce_weighted(
    logits: Tensor, label: Tensor, valid: Tensor | None = None, totals: BatchTotals | None = None
) -> Tensor:
    """Return the binary cross-entropy with groove pixels counted twice."""
    return bce(logits, label, valid, totals, POSITIVE_WEIGHT)


def dice(
    logits: Tensor, label: Tensor, valid: Tensor | None = None, totals: BatchTotals | None = None
) -> Tensor:
    """Return 1 - soft Dice, the mean over patches; a patch without a groove costs 1."""
    mask = torch.ones_like(logits) if valid is None else valid.to(logits).expand_as(logits)
    probability, label = logits.sigmoid() * mask, label.to(logits) * mask
    overlap = (probability * label).flatten(1).sum(1)
    total = (probability + label).flatten(1).sum(1)
    loss = 1 - 2 * overlap / total.clamp(min=_EPSILON)
    return loss.sum() / (totals.patches if totals else len(loss))


def dice_bce(
    logits: Tensor, label: Tensor, valid: Tensor | None = None, totals: BatchTotals | None = None
) -> Tensor:
    """Return `bce_weighted` + 0.3 `dice`."""
    dice_loss = dice(logits, label, valid, totals)
    return bce_weighted(logits, label, valid, totals) + DICE_WEIGHT * dice_loss


def distillation(
    logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    valid: Tensor | None = None,
    totals: BatchTotals | None = None,
) -> Tensor:
    """Return the binary cross-entropy to a teacher's probabilities.

    The logits of both are divided by `temperature` first. A higher temperature gives pixels of
    which the teacher is less certain more weight.
    """
    return bce(logits / temperature, (teacher_logits / temperature).sigmoid(), valid, totals)


LOSSES: dict[str, Callable[..., Tensor]] = {
    f.__name__: f for f in (bce, bce_weighted, dice, dice_bce)
}
"""Every loss by the name that experiments use."""

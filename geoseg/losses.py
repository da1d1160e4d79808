"""Losses as pure functions: (logits, truth, valid=None) -> a scalar to minimise.

Logits and truth are (B, C, Z, A), every channel a binary question of its own; truth is 0 or 1 in
any dtype. `valid`, bool, of the same shape or one that broadcasts to it, leaves pixels out where it
is False. Formulas and weights are the original project's.

A loss is a mean, over valid pixels or over patches. Where these are only a part of a batch, `whole`
says how many of both the batch has: the losses of the parts then add up to the loss of the batch,
and so do their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

POSITIVE_WEIGHT = 2.0
DICE_SHARE = 0.3
_TINY = 1e-7


class Whole(NamedTuple):
    """How many valid pixels and how many patches a batch has, each a number or a 0-d tensor."""

    pixels: Tensor | int
    patches: Tensor | int


def bce(
    logits: Tensor, truth: Tensor, valid: Tensor | None = None, whole: Whole | None = None
) -> Tensor:
    """Binary cross-entropy, the mean over valid pixels."""
    return _cross_entropy(logits, truth, valid, whole, 1.0)


def bce_weighted(
    logits: Tensor, truth: Tensor, valid: Tensor | None = None, whole: Whole | None = None
) -> Tensor:
    """Binary cross-entropy with groove pixels counted twice."""
    return _cross_entropy(logits, truth, valid, whole, POSITIVE_WEIGHT)


def dice(
    logits: Tensor, truth: Tensor, valid: Tensor | None = None, whole: Whole | None = None
) -> Tensor:
    """1 - soft Dice of each patch, the mean over patches; a patch with no groove costs 1."""
    kept = torch.ones_like(logits) if valid is None else valid.to(logits).expand_as(logits)
    probability, truth = logits.sigmoid() * kept, truth.to(logits) * kept
    overlap = (probability * truth).flatten(1).sum(1)
    total = (probability + truth).flatten(1).sum(1)
    cost = 1 - 2 * overlap / total.clamp(min=_TINY)
    return cost.sum() / (whole.patches if whole else len(cost))


def dice_bce(
    logits: Tensor, truth: Tensor, valid: Tensor | None = None, whole: Whole | None = None
) -> Tensor:
    """`bce_weighted` + 0.3 `dice`."""
    overlap = dice(logits, truth, valid, whole)
    return bce_weighted(logits, truth, valid, whole) + DICE_SHARE * overlap


def distillation(
    logits: Tensor,
    teacher: Tensor,
    temperature: float,
    valid: Tensor | None = None,
    whole: Whole | None = None,
) -> Tensor:
    """Binary cross-entropy to the probabilities of a teacher, from its logits.

    The logits of both are divided by `temperature` first: the higher it is, the more the teacher's
    doubts count beside what it is sure of.
    """
    return bce(logits / temperature, (teacher / temperature).sigmoid(), valid, whole)


def _cross_entropy(
    logits: Tensor, truth: Tensor, valid: Tensor | None, whole: Whole | None, weight: float
) -> Tensor:
    kept = None if valid is None else valid.to(logits).expand_as(logits)
    total = binary_cross_entropy_with_logits(
        logits,
        truth.to(logits),
        weight=kept,
        pos_weight=logits.new_full((), weight),
        reduction="sum",
    )
    if whole:
        return total / torch.as_tensor(whole.pixels).clamp(min=1)
    return total / (logits.numel() if kept is None else kept.sum().clamp(min=1))


LOSSES: dict[str, Callable[..., Tensor]] = {
    f.__name__: f for f in (bce, bce_weighted, dice, dice_bce)
}
"""Every loss by the name that experiments use."""

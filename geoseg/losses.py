"""Losses as pure functions: (logits, truth, valid=None) -> a scalar to minimise.

Logits and truth are (B, C, Z, A), every channel a binary question of its own; truth is 0 or 1 in
any dtype. `valid`, bool, of the same shape or one that broadcasts to it, leaves pixels out where it
is False. Formulas and weights are the original project's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

POSITIVE_WEIGHT = 2.0
DICE_SHARE = 0.3
_TINY = 1e-7


def bce(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over valid pixels."""
    return _cross_entropy(logits, truth, valid, 1.0)


def bce_weighted(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy with groove pixels counted twice."""
    return _cross_entropy(logits, truth, valid, POSITIVE_WEIGHT)


def dice(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """1 - soft Dice of each patch, the mean over patches; a patch with no groove costs 1."""
    kept = torch.ones_like(logits) if valid is None else valid.to(logits).expand_as(logits)
    probability, truth = logits.sigmoid() * kept, truth.to(logits) * kept
    overlap = (probability * truth).flatten(1).sum(1)
    total = (probability + truth).flatten(1).sum(1)
    return (1 - 2 * overlap / total.clamp(min=_TINY)).mean()


def dice_bce(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """`bce_weighted` + 0.3 `dice`."""
    return bce_weighted(logits, truth, valid) + DICE_SHARE * dice(logits, truth, valid)


def _cross_entropy(logits: Tensor, truth: Tensor, valid: Tensor | None, weight: float) -> Tensor:
    kept = None if valid is None else valid.to(logits).expand_as(logits)
    total = binary_cross_entropy_with_logits(
        logits,
        truth.to(logits),
        weight=kept,
        pos_weight=logits.new_tensor(weight),
        reduction="sum",
    )
    count = logits.numel() if kept is None else kept.sum().clamp(min=1)
    return total / count


LOSSES: dict[str, Callable[..., Tensor]] = {
    f.__name__: f for f in (bce, bce_weighted, dice, dice_bce)
}
"""Every loss by the name that experiments use."""

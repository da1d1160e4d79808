"""Labels that are most likely wrong: models agree with each other, and not with the label.

M models, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geoseg.evaluation.morphology import label_components, near
from geoseg.metrics import count, score

Kind = Literal["missing", "spurious", "shifted", "too wide", "too narrow", "another shape"]

FURTHEST = 3  # columns that a label is looked for beside its place
_AGREED = 0.5  # the least agreement of models that may doubt a label
_DOUBTFUL = 0.2  # the least doubt that is worth a look
_BETTER = 0.1  # by how much a shift must raise the IoU to explain the difference
_WIDER = 1.25  # the ratio of areas from which a label is too wide, and its inverse too narrow


class LabelError(NamedTuple):
    """One label that the models doubt.

    Attributes:
        patch: its position, 0 to N - 1.
        doubt: 0 to 1; how much better the models agree with each other than with the label
            (agreement - iou), times how sure they are of the disputed pixels (mean distance between
            their mean probability and the label).
        kind: what seems to be wrong with the label.
        shift: columns to the right by which the label would fit best; 0 unless "shifted".
        agreement: share of the pixels that the label or any model marks on which all models are of
            one mind. Where the label is empty this is their IoU with each other; where it is not,
            they may also agree that there is nothing, whatever stray pixels one of them sees.
        iou: of the label with what most models say.
    """

    patch: int
    doubt: float
    kind: Kind
    shift: int
    agreement: float
    iou: float


def find_label_errors(
    probability: Tensor, thresholds: list[float], truth: Tensor, at_most: int = 100
) -> list[LabelError]:
    """The labels most likely wrong, worst first.

    Models that were trained on these very labels doubt them less, and where all models miss a faint
    groove they doubt a sound label: each is worth a look, none is proven.

    Args: probability (M, N, Z, A) of M >= 2 models, NaN where nothing counts, each with its
    threshold; truth bool (N, Z, A). ValueError for fewer models.
    """
    if len(probability) < 2:
        raise ValueError(f"{len(probability)} model cannot agree with another; give two or more")
    valid = ~probability.isnan().any(0)
    limits = torch.tensor(thresholds).view(-1, 1, 1, 1)
    masks = (probability > limits) & valid
    consensus = 2 * masks.sum(0) > len(masks)
    agreement = _agreement(masks, truth & valid)
    iou = _iou(consensus, truth, valid)
    disputed = (consensus != truth) & valid
    certainty = ((probability.mean(0) - truth.float()).abs() * disputed).nan_to_num(0.0)
    sure = certainty.flatten(1).sum(1) / disputed.flatten(1).sum(1).clamp(min=1)
    doubt = ((agreement - iou) * sure * (agreement >= _AGREED)).nan_to_num(0.0)
    order = doubt.argsort(descending=True, stable=True)[:at_most].tolist()
    return [
        LabelError(
            i,
            doubt[i].item(),
            *_explain(truth[i] & valid[i], consensus[i], valid[i]),
            agreement[i].item(),
            iou[i].item(),
        )
        for i in order
        if doubt[i] >= _DOUBTFUL
    ]


def _agreement(masks: Tensor, label: Tensor) -> Tensor:
    some, every = masks.any(0), masks.all(0)
    marked = (some | label).flatten(1).sum(1)
    contested = (some & ~every).flatten(1).sum(1)
    return 1 - contested.double() / marked.clamp(min=1)


def _iou(mask: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    return score(count(mask, truth, valid))["iou"]


def _explain(label: Tensor, consensus: Tensor, valid: Tensor) -> tuple[Kind, int]:
    """What is wrong with a label (Z, A) if the consensus is right, and its shift."""
    if _lacks(consensus, label):
        return "missing", 0
    if _lacks(label, consensus):
        return "spurious", 0
    # The nearest shift first: of equals it is the likeliest.
    shifts = sorted(range(-FURTHEST, FURTHEST + 1), key=abs)
    turned = torch.stack([label.roll(shift, -1) for shift in shifts])
    fits = _iou(turned, consensus.expand_as(turned), valid.expand_as(turned))
    best = int(fits.argmax())
    if fits[best] - fits[0] >= _BETTER:
        return "shifted", shifts[best]
    ratio = (label.sum() / consensus.sum()).item()
    if ratio >= _WIDER:
        return "too wide", 0
    return ("too narrow" if ratio <= 1 / _WIDER else "another shape"), 0


def _lacks(mask: Tensor, other: Tensor) -> bool:
    """Whether the other mask (Z, A) has less than half of the rows, or lacks most of a dispute.

    Width is judged between grooves of about one length only.
    """
    short = 2 * other.any(-1).sum() < mask.any(-1).sum()
    far = 2 * _far(mask, other).sum() > (mask != other).sum()
    return bool(short | far)


def _far(mask: Tensor, other: Tensor) -> Tensor:
    """The parts of a mask (Z, A) that nowhere come near the other one."""
    parts = label_components(mask[None])[0]
    met = parts[near(other, FURTHEST) & mask].unique()
    return mask & ~torch.isin(parts, met)

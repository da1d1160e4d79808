"""Label errors: labels against which the models agree with each other.

M models, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geoseg.evaluation.morphology import dilate_columns, label_components
from geoseg.metrics import compute_iou

Kind = Literal["missing", "spurious", "shifted", "too wide", "too narrow", "another shape"]

MAX_SHIFT = 3  # columns by which a label is shifted to find a better fit
_MIN_AGREEMENT = 0.5  # of the models, to count against a label
_MIN_DOUBT = 0.2  # of a label, to be listed
_MIN_GAIN = 0.1  # by which a shift must raise the IoU to explain the difference
_WIDTH_RATIO = 1.25  # of areas, from which a label is too wide; its inverse: too narrow


class LabelError(NamedTuple):
    """One label that is likely wrong.

    Attributes:
        patch: its index, 0 to N - 1.
        doubt: 0 to 1; how much better the models agree with each other than with the label
            (agreement - iou), times their certainty at the disputed pixels (mean distance between
            their mean probability and the label).
        kind: what seems to be wrong with the label.
        shift: columns to the right by which the label would fit best; 0 unless "shifted".
        agreement: share of the pixels in the label or in any mask at which all models agree. If the
            label is empty, this is the IoU of the models with each other; if not, they may also
            agree that there is no groove, despite single pixels in some of the masks.
        iou: of the label with the majority of the models.
    """

    patch: int
    doubt: float
    kind: Kind
    shift: int
    agreement: float
    iou: float


def find_label_errors(
    probability: Tensor, thresholds: list[float], label: Tensor, at_most: int = 100
) -> list[LabelError]:
    """Return the labels most likely wrong, worst first.

    Models that were trained on these very labels contradict them less, and if all models miss a
    faint groove, a correct label is listed: look at each, none is proven wrong.

    Args:
        probability: (M, N, Z, A) of M >= 2 models, NaN where nothing counts.
        thresholds: of each model.
        label: bool (N, Z, A).
        at_most: the longest list.
    """
    valid = ~probability.isnan().any(0)
    limits = torch.tensor(thresholds).view(-1, 1, 1, 1)
    masks = (probability > limits) & valid
    consensus = 2 * masks.sum(0) > len(masks)
    some = masks.any(0)
    marked = (some | (label & valid)).flatten(1).sum(1)
    contested = (some & ~masks.all(0)).flatten(1).sum(1)
    agreement = 1 - contested.double() / marked.clamp(min=1)
    iou = compute_iou(consensus, label, valid)
    disputed = (consensus != label) & valid
    distance = ((probability.mean(0) - label.float()).abs() * disputed).nan_to_num(0.0)
    certainty = distance.flatten(1).sum(1) / disputed.flatten(1).sum(1).clamp(min=1)
    doubt = ((agreement - iou) * certainty * (agreement >= _MIN_AGREEMENT)).nan_to_num(0.0)
    order = doubt.argsort(descending=True, stable=True)[:at_most].tolist()
    return [
        LabelError(
            i,
            doubt[i].item(),
            *_classify(label[i] & valid[i], consensus[i], valid[i]),
            agreement[i].item(),
            iou[i].item(),
        )
        for i in order
        if doubt[i] >= _MIN_DOUBT
    ]


def _classify(label: Tensor, consensus: Tensor, valid: Tensor) -> tuple[Kind, int]:
    """Return what is wrong with a label (Z, A) if the consensus is right, and its shift."""
    if _lacks_groove(consensus, label):
        return "missing", 0
    if _lacks_groove(label, consensus):
        return "spurious", 0
    # The smallest shift first: of equals it is the likeliest.
    shifts = sorted(range(-MAX_SHIFT, MAX_SHIFT + 1), key=abs)
    shifted = torch.stack([label.roll(shift, -1) for shift in shifts])
    iou = compute_iou(shifted, consensus.expand_as(shifted), valid.expand_as(shifted))
    best = int(iou.argmax())
    if iou[best] - iou[0] >= _MIN_GAIN:
        return "shifted", shifts[best]
    ratio = (label.sum() / consensus.sum()).item()
    if ratio >= _WIDTH_RATIO:
        return "too wide", 0
    return ("too narrow" if ratio <= 1 / _WIDTH_RATIO else "another shape"), 0


def _lacks_groove(mask: Tensor, other: Tensor) -> bool:
    """Tell whether `other` (Z, A) lacks a groove of the mask.

    It does if it has less than half of the rows, or if most disputed pixels are in grooves of the
    mask that it does not come near. Widths are compared only between grooves of similar length.
    """
    short = 2 * other.any(-1).sum() < mask.any(-1).sum()
    components = label_components(mask[None])[0]
    met = components[dilate_columns(other, MAX_SHIFT) & mask].unique()
    distant = mask & ~torch.isin(components, met)
    far = 2 * distant.sum() > (mask != other).sum()
    return bool(short | far)

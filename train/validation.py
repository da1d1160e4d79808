"""How good a model is on the wells that were left out, after an epoch.

N patches of a set, Z depth, A azimuth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from torch import Tensor

from geoseg.metrics import Counts, average_scores, count
from train.sampling import IGNORED, PreparedSet

THRESHOLDS = tuple(i / 20 for i in range(1, 20))


class Scores(NamedTuple):
    """What a validation finds; the fields are those of `Epoch`."""

    loss: float
    metrics: dict[str, float]
    wells: dict[str, float]
    threshold: float


@dataclass(frozen=True)
class Epoch:
    """What one epoch brought.

    `metrics` are the five of the validation set, the mean over patches by the challenge's rule, at
    a probability of 0.5, and `wells` the IoU of each of its wells; `threshold` would have given the
    best IoU of all pixels pooled; `patches_per_second` is that of the training steps alone.
    """

    number: int
    loss: float
    validation_loss: float
    metrics: dict[str, float]
    wells: dict[str, float]
    threshold: float
    learning_rate: float
    patches_per_second: float
    seconds: float

    def record(self) -> dict[str, Any]:
        """As one line of metrics.jsonl has it."""
        values = asdict(self)
        return {"epoch": values.pop("number"), **values.pop("metrics"), **values}


def score(logits: Tensor, patches: PreparedSet, loss: float) -> Scores:
    """Score logits (N, 1, Z, A) of a whole set, whose loss is known."""
    truth, wells = patches.truth, patches.wells
    counts = count(logits > 0, truth == 1, truth != IGNORED)
    by_well = {
        str(well): average_scores(Counts(*(n[wells == well] for n in counts)))["iou"]
        for well in wells.unique().tolist()
    }
    return Scores(loss, average_scores(counts), by_well, best_threshold(logits, truth))


def best_threshold(logits: Tensor, truth: Tensor) -> float:
    """The threshold on probability with the best IoU of all pixels pooled.

    Not with the best mean over patches: that hangs on the few without a groove, each worth 0 or 1,
    and where they are many seeing less is always better.

    Args: logits (N, ..., Z, A); truth, the same shape, of 0, 1 and VOID. Tried: 0.05 to 0.95 in
    steps of 0.05.
    """
    probability, groove, valid = logits.sigmoid(), truth == 1, truth != IGNORED

    def iou(threshold: float) -> float:
        counts = count(probability > threshold, groove, valid)
        return average_scores(counts, average="micro")["iou"]

    # Of equals the one nearest to 0.5: a sure model leaves a wide choice.
    return max(THRESHOLDS, key=lambda threshold: (iou(threshold), -abs(threshold - 0.5)))

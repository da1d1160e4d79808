"""Validation scores of a model after an epoch.

N patches of a set, Z depth, A azimuth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from torch import Tensor

from geoseg.metrics import Counts, average_scores, count
from train.sampling import IGNORED, PreparedSet

THRESHOLDS = tuple(i / 20 for i in range(1, 20))


class ValidationScores(NamedTuple):
    """Four fields of `EpochResult`, in its order."""

    loss: float
    metrics: dict[str, float]
    wells: dict[str, float]
    threshold: float


@dataclass(frozen=True)
class EpochResult:
    """The result of one epoch.

    Attributes:
        number: of the epoch, from 1.
        loss, validation_loss: the means over the training and the validation set.
        metrics: the five metrics of the validation set at a probability of 0.5, each the mean over
            patches by the challenge's rule.
        wells: the IoU of each validation well, by the same rule.
        threshold: the one with the best IoU over all validation pixels pooled.
        learning_rate: Adam's, in the last step.
        patches_per_second: of the training steps alone.
        seconds: of the whole epoch.
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

    def to_json(self) -> dict[str, Any]:
        """Return the JSON values of one line of metrics.jsonl."""
        values = asdict(self)
        return {"epoch": values.pop("number"), **values.pop("metrics"), **values}


def compute_scores(logits: Tensor, patches: PreparedSet, loss: float) -> ValidationScores:
    """Score the logits (N, 1, Z, A) of a whole set with a known loss."""
    labels, wells = patches.labels, patches.wells
    counts = count(logits > 0, labels == 1, labels != IGNORED)
    by_well = {
        str(well): average_scores(Counts(*(n[wells == well] for n in counts)))["iou"]
        for well in wells.unique().tolist()
    }
    threshold = find_best_threshold(logits, labels)
    return ValidationScores(loss, average_scores(counts), by_well, threshold)


def find_best_threshold(logits: Tensor, labels: Tensor) -> float:
    """Return the probability threshold with the best IoU over all pixels pooled.

    The mean over patches is not used here: it depends on the few patches without a groove, each of
    which scores 0 or 1, and if there are many of them it always prefers the higher threshold.

    Args:
        logits: (N, ..., Z, A).
        labels: 0, 1 or IGNORED, of the same shape.

    The candidates are 0.05 to 0.95 in steps of 0.05. Of equal ones the nearest to 0.5 wins, since
    the scores of a confident model are the same over a wide range.
    """
    probability, groove, valid = logits.sigmoid(), labels == 1, labels != IGNORED

    def pooled_iou(threshold: float) -> float:
        counts = count(probability > threshold, groove, valid)
        return average_scores(counts, average="micro")["iou"]

    return max(THRESHOLDS, key=lambda threshold: (pooled_iou(threshold), -abs(threshold - 0.5)))

"""Every score of one model on one evaluation set.

B images, N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.dataset import PatchDataset
from geoseg.evaluation.calibration import Calibration, calibrate
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.groove_matching import (
    GrooveMatches,
    centreline_dice,
    match_grooves,
    tolerant_dice,
)
from geoseg.metrics import Counts, EmptyRule, average_scores, count
from geoseg.natural_sort import natural_key
from geoseg.segmenter import Segmenter

Row = dict[str, float]


@dataclass(frozen=True, eq=False)
class Assessment:
    """One model's predictions and their scores.

    Attributes:
        threshold: a probability above it is a groove.
        probability: (N, Z, A) float32, NaN where nothing counts.
        mask: (N, Z, A) bool, False where nothing counts.
        counts: of pixels, by patch.
        scores: of the whole set, see `assess`.
        wells: the pixel scores of each well, and its number of patches.
        false_alarms: on patches without a groove, see `count_false_alarms`.
        grooves: how many whole grooves were found.
        calibration: how far the probabilities are from the observed share of grooves.
    """

    threshold: float
    probability: Tensor
    mask: Tensor
    counts: Counts
    scores: Row
    wells: dict[str, Row]
    false_alarms: Row
    grooves: GrooveMatches
    calibration: Calibration


def evaluate(
    segmenter: Segmenter, dataset: PatchDataset, empty: EmptyRule = "challenge"
) -> dict[str, Row]:
    """Return the scores of every model on a labelled set, at its checkpoint's threshold.

    See `assess` for the keys.
    """
    evaluation_set = EvaluationSet.from_dataset(dataset)
    return {name: a.scores for name, a in assess_models(segmenter, evaluation_set, empty).items()}


def assess_models(
    segmenter: Segmenter, evaluation_set: EvaluationSet, empty: EmptyRule
) -> dict[str, Assessment]:
    """Assess every model at its checkpoint's threshold."""
    assessments = {}
    for name in segmenter.names:
        probability = evaluation_set.predict(segmenter, name)
        threshold = segmenter.cards[name].threshold
        assessments[name] = assess(evaluation_set, probability, threshold, empty)
    return assessments


def assess(
    evaluation_set: EvaluationSet,
    probability: Tensor,
    threshold: float,
    empty: EmptyRule = "challenge",
) -> Assessment:
    """Score one model's probabilities (B, Z, A) of the set's images.

    `scores` holds the five metrics as means over patches; `micro_iou` and `micro_dice`, which pool
    all pixels; `tolerant_dice` and `centreline_dice`, means over patches, 1 where label and mask
    are both empty; `ece`, `brier`; and the `threshold`.
    """
    valid, labels = map(evaluation_set.cut_patches, (evaluation_set.valid, evaluation_set.labels))
    image_masks = (probability > threshold) & evaluation_set.valid
    mask = evaluation_set.cut_patches(image_masks)
    probability = evaluation_set.cut_patches(probability).where(valid, torch.nan)
    counts = count(mask, labels, valid)
    calibration = calibrate(probability, labels)
    scored = valid.flatten(1).any(1)
    wells: dict[str, Row] = {}
    for well in sorted(set(evaluation_set.wells), key=natural_key):
        chosen = torch.tensor([name == well for name in evaluation_set.wells])
        of_well = Counts(*(n[chosen] for n in counts))
        wells[well] = {"patches": int(chosen.sum()), **_pixel_scores(of_well, empty)}
    scores = {
        **_pixel_scores(counts, empty),
        "tolerant_dice": tolerant_dice(mask, labels)[scored].mean().item(),
        "centreline_dice": centreline_dice(mask, labels)[scored].mean().item(),
        "ece": calibration.ece,
        "brier": calibration.brier,
        "threshold": threshold,
    }
    return Assessment(
        threshold,
        probability,
        mask,
        counts,
        scores,
        wells,
        count_false_alarms(counts),
        match_grooves(image_masks, evaluation_set.labels),
        calibration,
    )


def count_false_alarms(counts: Counts) -> Row:
    """Count what was found on patches whose label has no groove.

    `patches` is their number, `alarms` how many of them have a groove in the mask, `rate` the
    share, and `pixels` the mean number of mask pixels in such a patch.
    """
    empty = (counts.tp + counts.fn == 0) & (sum(counts) > 0)
    pixels = counts.fp[empty]
    alarms = pixels > 0
    return {
        "patches": len(pixels),
        "alarms": int(alarms.sum()),
        "rate": alarms.double().mean().item(),
        "pixels": pixels.mean().item(),
    }


def _pixel_scores(counts: Counts, empty: EmptyRule) -> Row:
    pooled = average_scores(counts, empty=empty, average="micro")
    micro = {"micro_iou": pooled["iou"], "micro_dice": pooled["dice"]}
    return {**micro, **average_scores(counts, empty=empty)}

"""Everything that is said of one model on one case.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.evaluation.calibration import Calibration, calibrate
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.groove_matching import (
    GrooveMatches,
    centreline_dice,
    match_grooves,
    tolerant_dice,
)
from geoseg.metrics import Counts, EmptyRule, average_scores, count, score

Row = dict[str, float]


@dataclass(frozen=True, eq=False)
class Assessment:
    """One model's answers and how good they are.

    Attributes:
        threshold: a probability above it is a groove.
        probability: (N, Z, A) float32, NaN where nothing counts.
        mask: (N, Z, A) bool, False where nothing counts.
        counts: by patch.
        scores: of the whole case, see `assess`.
        wells: the same for each well, with how many patches it has.
        soundness: what is found on patches without a groove, see `false_alarms`.
        grooves: how whole grooves were found.
        calibration: how far the probabilities can be believed.
    """

    threshold: float
    probability: Tensor
    mask: Tensor
    counts: Counts
    scores: Row
    wells: dict[str, Row]
    soundness: Row
    grooves: GrooveMatches
    calibration: Calibration


def assess(
    case: EvaluationSet, probability: Tensor, threshold: float, empty: EmptyRule = "challenge"
) -> Assessment:
    """Judge one model's probabilities (B, Z, A) of a case's images.

    In `scores`: the five metrics as means over patches; `micro_iou` and `micro_dice`, which pool
    all pixels; `tolerant_dice` and `centreline_dice`, means over patches, 1 where truth and
    prediction are both empty; `ece`, `brier`; the threshold.
    """
    known, truth = case.patches(case.known), case.patches(case.truth)
    images_mask = (probability > threshold) & case.known
    mask = case.patches(images_mask)
    believed = case.patches(probability).where(known, torch.nan)
    counts = count(mask, truth, known)
    calibration = calibrate(believed, truth)
    scored = known.flatten(1).any(1)
    scores = {
        **_pixel_scores(counts, empty),
        "tolerant_dice": tolerant_dice(mask, truth)[scored].mean().item(),
        "centreline_dice": centreline_dice(mask, truth)[scored].mean().item(),
        "ece": calibration.ece,
        "brier": calibration.brier,
        "threshold": threshold,
    }
    return Assessment(
        threshold,
        believed,
        mask,
        counts,
        scores,
        _by_well(case.wells, counts, empty),
        false_alarms(counts),
        match_grooves(images_mask, case.truth),
        calibration,
    )


def false_alarms(counts: Counts) -> Row:
    """What was found where nothing is.

    `patches` without a true groove, in how many of them there are `alarms`, their share `rate`, and
    the mean number of `pixels` that were taken for a groove there.
    """
    empty = (counts.tp + counts.fn == 0) & (sum(counts) > 0)
    alarms = counts.fp[empty]
    return {
        "patches": len(alarms),
        "alarms": int((alarms > 0).sum()),
        "rate": (alarms > 0).double().mean().item(),
        "pixels": alarms.mean().item(),
    }


def patch_iou(counts: Counts) -> Tensor:
    """IoU of each patch by the challenge's rule, (N,) float64, NaN where nothing counts."""
    return score(counts)["iou"]


def _pixel_scores(counts: Counts, empty: EmptyRule) -> Row:
    pooled = average_scores(counts, empty=empty, average="micro")
    return {
        "micro_iou": pooled["iou"],
        "micro_dice": pooled["dice"],
        **average_scores(counts, empty=empty),
    }


def _by_well(wells: tuple[str, ...], counts: Counts, empty: EmptyRule) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for well, patches in sorted(Counter(wells).items(), key=lambda item: (len(item[0]), item[0])):
        chosen = torch.tensor([name == well for name in wells])
        of_well = Counts(*(n[chosen] for n in counts))
        rows[well] = {"patches": patches, **_pixel_scores(of_well, empty)}
    return rows

"""All that an evaluation found, and its JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.atomic_files import atomic_write_text
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import LabelError
from geoseg.metrics import EmptyRule
from train.evaluate.assessment import Assessment, Row, patch_iou
from train.evaluate.robustness import Robustness


@dataclass(frozen=True, eq=False)
class EvaluationResults:
    """What was found on one case, by model.

    `robustness` is empty where it was not asked for, `suspects` None for a single model.
    """

    case: EvaluationSet
    empty: EmptyRule
    assessments: dict[str, Assessment]
    robustness: dict[str, Robustness]
    suspects: list[LabelError] | None

    def record(self, name: str) -> Row:
        """What a model's checkpoint should say of it, in numbers."""
        row = dict(self.assessments[name].scores)
        if name in self.robustness:
            turning, _, gain = self.robustness[name]
            row["same_mask_at_every_shift"] = turning.identical_patches
            row["kept_at_half_gain"] = gain.kept[gain.at.index(0.5)]
        return row

    @property
    def title(self) -> str:
        """What was scored, and how."""
        return f"{self.case.about}; empty truth: {self.empty} rule"


def examples(found: Assessment, count: int = 3) -> dict[str, list[int]]:
    """Positions of the best, the median and the worst patches by IoU, each at most `count`.

    Patches without a groove in truth and prediction are perfect and show nothing: they stay away.
    Of equals, the one with more true groove is the better example.
    """
    counts = found.counts
    iou = patch_iou(counts)
    shown = (counts.tp + counts.fp + counts.fn > 0).nonzero()[:, 0]
    size = counts.tp + counts.fn
    order = sorted(shown.tolist(), key=lambda i: (-iou[i].item(), -size[i].item(), i))
    middle = max(0, (len(order) - count) // 2)
    worst = sorted(order[-count:], key=lambda i: (iou[i].item(), -size[i].item(), i))
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": worst if len(order) > count else [],
    }


def write_json(path: Path, findings: EvaluationResults) -> None:
    """Write everything that was found; OSError names the file. What has no value is null."""
    case, models = findings.case, findings.assessments
    report: dict[str, Any] = {
        "on": case.about,
        "empty": findings.empty,
        "scores": {name: found.scores for name, found in models.items()},
        "wells": {name: found.wells for name, found in models.items()},
        "false_alarms": {name: found.soundness for name, found in models.items()},
        "grooves": {name: found.grooves._asdict() for name, found in models.items()},
        "calibration": {name: found.calibration._asdict() for name, found in models.items()},
        "examples": {name: _named(found, case) for name, found in models.items()},
        "patches": {
            name: dict(zip(case.names, patch_iou(found.counts).tolist(), strict=True))
            for name, found in models.items()
        },
    }
    if findings.robustness:
        report["robustness"] = {
            name: {part: values._asdict() for part, values in found._asdict().items()}
            for name, found in findings.robustness.items()
        }
    if findings.suspects is not None:
        report["suspects"] = [
            {**suspect._asdict(), "patch": case.names[suspect.patch]}
            for suspect in findings.suspects
        ]
    atomic_write_text(path, json.dumps(_without_nan(report), indent=2, allow_nan=False) + "\n")


def _named(found: Assessment, case: EvaluationSet) -> dict[str, list[str]]:
    return {kind: [case.names[i] for i in places] for kind, places in examples(found).items()}


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: null in its place."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

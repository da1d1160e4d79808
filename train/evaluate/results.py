"""All results of an evaluation: in JSON, and in the checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.atomic_files import atomic_write_text
from geoseg.checkpoint import checkpoint_name, load_checkpoint, save_checkpoint
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import LabelError
from geoseg.evaluation.perturbations import Robustness
from geoseg.metrics import EmptyRule, score
from train.evaluate.assessment import Assessment


@dataclass(frozen=True, eq=False)
class EvaluationResults:
    """The results on one evaluation set, by model.

    `robustness` is empty if it was not measured; `label_errors` is None for a single model.
    """

    evaluation_set: EvaluationSet
    empty: EmptyRule
    assessments: dict[str, Assessment]
    robustness: dict[str, Robustness]
    label_errors: list[LabelError] | None

    @property
    def title(self) -> str:
        """What was scored, and by which rule."""
        return f"{self.evaluation_set.description}; empty labels: {self.empty} rule"


def choose_examples(assessment: Assessment, count: int = 3) -> dict[str, list[int]]:
    """Return the indices of the best, median and worst patches by IoU, each at most `count`.

    Patches without a groove in label and mask are left out: they are perfect and show nothing. Of
    patches with equal IoU, the one with the larger labelled groove comes first.
    """
    counts = assessment.counts
    iou, size = score(counts)["iou"].tolist(), (counts.tp + counts.fn).tolist()
    shown = (counts.tp + counts.fp + counts.fn > 0).nonzero()[:, 0].tolist()
    order = sorted(shown, key=lambda i: (-iou[i], -size[i], i))
    worst = sorted(order[-count:], key=lambda i: (iou[i], -size[i], i))
    middle = max(0, (len(order) - count) // 2)
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": worst if len(order) > count else [],
    }


def write_json(path: Path, results: EvaluationResults) -> None:
    """Write all results; a missing value is null. Raise OSError that names the file."""
    names, models = results.evaluation_set.names, results.assessments
    report: dict[str, Any] = {
        "on": results.evaluation_set.description,
        "notes": results.evaluation_set.notes,
        "empty": results.empty,
        "scores": {name: a.scores for name, a in models.items()},
        "wells": {name: a.wells for name, a in models.items()},
        "false_alarms": {name: a.false_alarms for name, a in models.items()},
        "grooves": {name: a.grooves._asdict() for name, a in models.items()},
        "calibration": {name: a.calibration._asdict() for name, a in models.items()},
        "examples": {
            name: {kind: [names[i] for i in found] for kind, found in choose_examples(a).items()}
            for name, a in models.items()
        },
        "patches": {
            name: dict(zip(names, score(a.counts)["iou"].tolist(), strict=True))
            for name, a in models.items()
        },
    }
    if results.robustness:
        report["robustness"] = {
            name: dict(zip(("turning", "noise", "gain"), (r._asdict() for r in found), strict=True))
            for name, found in results.robustness.items()
        }
    if results.label_errors is not None:
        report["suspects"] = [
            {**error._asdict(), "patch": names[error.patch]} for error in results.label_errors
        ]
    without_nan = json.loads(json.dumps(report), parse_constant=lambda _: None)  # JSON has no NaN
    atomic_write_text(path, json.dumps(without_nan, indent=2) + "\n")


def record_scores(paths: Iterable[Path], key: str, results: EvaluationResults) -> None:
    """Save each model's scores into its checkpoint's metrics under `key`."""
    for path in paths:
        model, name = load_checkpoint(path), checkpoint_name(path)
        card = model.card
        assert card
        row = dict(results.assessments[name].scores)
        if name in results.robustness:
            shift, _, gain = results.robustness[name]
            row["same_mask_at_every_shift"] = shift.identical_patches
            row["kept_at_half_gain"] = gain.kept[gain.at.index(0.5)]
        entry: dict[str, Any] = {metric: round(value, 6) for metric, value in row.items()}
        entry["on"] = results.evaluation_set.description
        provenance = {**card.provenance, "metrics": {**card.metrics, key: entry}}
        save_checkpoint(path, model, **provenance, quantisation=card.quantisation)

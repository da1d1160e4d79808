"""Tables of the scores of a set: averages, wells, patches, and the csv file.

N patches of a set.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray

from geoseg.evaluation.label_errors import LabelError
from geoseg.metrics import Counts, average_scores, score
from geoseg.page.browse import Patches
from geoseg.page.catalogue import list_patches
from geoseg.page.live import encode
from geoseg.page.set_scores import SetScores

SCORES = {
    "IoU": "iou",
    "Dice": "dice",
    "Precision": "precision",
    "Recall": "recall",
    "Accuracy": "accuracy",
    "Marked": "share",
}
EVERY_WELL, NO_WELL = "Every well", "Without a well"
PLACE, DISAGREEMENT = "No.", "Disagreement"  # columns of the patches
BINS = 20
DIGITS = 6  # of a number in the csv file


@dataclass(frozen=True, eq=False)
class SetTable:
    """What is shown of a scored set.

    Attributes:
        label: of the set. names, wells, notes: of each patch.
        labelled: bool (N,), which patches have a truth.
        counts: by model int32 (N, 4), see `set_scores.ModelAnswers`.
        scores: by model and key of SCORES float64 (N,), NaN where there is none.
        disagreement: float32 (N,), NaN where fewer than two models could take the patch.
        suspects: labels most likely wrong, worst first.
        left_out: a sentence for each model that could not take some patches.
    """

    label: str
    names: list[str]
    wells: list[str]
    notes: list[str]
    labelled: NDArray[np.bool_]
    counts: dict[str, NDArray[np.int32]]
    scores: dict[str, dict[str, NDArray[np.float64]]]
    disagreement: NDArray[np.float32]
    suspects: list[LabelError]
    left_out: list[str]

    @property
    def models(self) -> list[str]:
        """The models that were scored."""
        return list(self.counts)

    @property
    def score_names(self) -> list[str]:
        """The scores that the set has: without labels, the marked share alone."""
        return list(SCORES) if self.labelled.any() else ["Marked"]

    def choose(self, well: str) -> NDArray[np.intp]:
        """Return the indices of a well's patches, or of all."""
        wanted = [well in (EVERY_WELL, name) for name in self.wells]
        return np.flatnonzero(wanted)

    def average(self, model: str, name: str, pooled: bool, indices: NDArray[np.intp]) -> float:
        """Return the mean of a score over patches, or that of all their pixels pooled."""
        values, counts = self.scores[model][SCORES[name]][indices], self.counts[model][indices]
        if not pooled:
            return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        if name == "Marked":
            total = counts.sum()
            return float(counts[:, :2].sum() / total) if total else float("nan")
        counts = counts[self.labelled[indices]]
        return average_scores(_counts(counts), average="micro")[SCORES[name]]

    def averages(self, well: str, pooled: bool) -> pd.DataFrame:
        """Return the averages: models down, scores across."""
        indices = self.choose(well)
        columns = {
            name: [round(self.average(model, name, pooled, indices), 3) for model in self.models]
            for name in self.score_names
        }
        return pd.DataFrame({"Model": self.models, **columns})

    def by_well(self, name: str, pooled: bool) -> pd.DataFrame:
        """Return a score of each well and model, for a plot; of those that have one."""
        wells = list(dict.fromkeys(self.wells))
        rows = [
            (well, model, self.average(model, name, pooled, self.choose(well)))
            for well in sorted(wells, key=_well_number)
            for model in self.models
        ]
        return pd.DataFrame(rows, columns=["Well", "Model", "Score"]).dropna()

    def spread(self, name: str, model: str, well: str) -> pd.DataFrame:
        """Return how many patches have which score, in BINS bins from 0 to 1."""
        values = self.scores[model][SCORES[name]][self.choose(well)]
        numbers, edges = np.histogram(values[np.isfinite(values)], BINS, (0, 1))
        return pd.DataFrame({"Score": (edges[:-1] + edges[1:]) / 2, "Patches": numbers})

    @property
    def orders(self) -> list[str]:
        """Columns to order the patches by: a model, lowest first; disagreement, highest first."""
        return [PLACE, *self.models, *([DISAGREEMENT] if len(self.models) > 1 else [])]

    def patches(self, name: str, well: str, order: str = PLACE) -> pd.DataFrame:
        """Return a score of each patch of a well by model; No. is its place in the set, from 1.

        `order` is one of `orders`; patches without a value are last.
        """
        indices = self.choose(well)
        columns: dict[str, Any] = {
            PLACE: indices + 1,
            "Patch": [self.names[i] for i in indices],
            "Well": [self.wells[i] for i in indices],
        }
        for model in self.models:
            columns[model] = np.round(self.scores[model][SCORES[name]][indices], 3)
        if len(self.models) > 1:
            columns[DISAGREEMENT] = np.round(self.disagreement[indices].astype(float), 3)
        table, falling = pd.DataFrame(columns), order == DISAGREEMENT
        return table.sort_values(order, ascending=not falling, kind="stable", ignore_index=True)

    def csv(self) -> str:
        """Return every score of every patch as csv, UTF-8 with its mark."""
        keys = {
            f"{m} {'marked share' if k == 'share' else k}": self.scores[m][k]
            for m in self.models
            for k in SCORES.values()
        }
        rows: list[Sequence[Any]] = [["name", "well", "position", *keys, "disagreement", "notes"]]
        for i, name in enumerate(self.names):
            values = [*(column[i] for column in keys.values()), self.disagreement[i]]
            well = self.wells[i].removeprefix("Well ") if self.wells[i] != NO_WELL else ""
            rows.append([name, well, i + 1, *values, self.notes[i]])
        return write_csv(rows)

    def describe(self) -> dict[str, Any]:
        """Return the fields of the viewer's message "scores"; arrays are base64."""
        return {
            "count": len(self.names),
            "labelled": encode(self.labelled, "u1"),
            "models": [
                {"name": name, "counts": encode(counts, "<i4")}
                for name, counts in self.counts.items()
            ],
            "disagreement": encode(self.disagreement, "<f4"),
            "suspects": [{"patch": s.patch, "doubt": s.doubt} for s in self.suspects],
        }


def tabulate(patches: Patches, found: SetScores) -> SetTable:
    """Compute the scores of every patch from the models' counts."""
    listed = list_patches(patches)
    labelled = np.array([patches.entry(i).truth is not None for i in range(len(patches))])
    scores = {}
    for name, model in found.models.items():
        each = {key: value.numpy() for key, value in score(_counts(model.counts)).items()}
        each = {key: np.where(labelled, value, np.nan) for key, value in each.items()}
        total = model.counts.sum(1)
        each["share"] = np.where(
            total > 0, model.counts[:, :2].sum(1) / np.maximum(total, 1), np.nan
        )
        scores[name] = each
    return SetTable(
        label=patches.label,
        names=listed["names"],
        wells=[NO_WELL if well is None else f"Well {well}" for well in listed["wells"]],
        notes=listed["notes"],
        labelled=labelled,
        counts={name: model.counts for name, model in found.models.items()},
        scores=scores,
        disagreement=found.disagreement,
        suspects=found.suspects,
        left_out=[
            f"{name} left out {count(model.left_out)}: {model.reason}"
            for name, model in found.models.items()
            if model.left_out
        ],
    )


def count(number: int, one: str = "patch", more: str = "patches") -> str:
    """Return a number of things in words."""
    return f"{number:,} {one if number == 1 else more}"


def write_csv(rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as RFC 4180, with a mark that tells spreadsheets that it is UTF-8.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    file = io.StringIO()
    csv.writer(file).writerows([[_cell(value) for value in row] for row in rows])
    return "\ufeff" + file.getvalue()


def _cell(value: Any) -> str | int | float:
    if isinstance(value, str):
        return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    if isinstance(value, int):
        return value
    return "" if value is None or not np.isfinite(value) else round(float(value), DIGITS)


def _counts(counts: NDArray[np.int32]) -> Counts:
    return Counts(*torch.from_numpy(counts.astype(np.float64)).T)


def _well_number(well: str) -> float:
    return float("inf") if well == NO_WELL else int(well.removeprefix("Well "))

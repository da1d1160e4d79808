"""The tables of an evaluation, made once for the terminal and for the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from rich.table import Table

from geoseg.evaluation.label_errors import LabelError
from geoseg.evaluation.perturbations import GAIN, NOISE, Robustness
from geoseg.metrics import METRICS
from train.evaluate.assessment import Assessment
from train.evaluate.results import EvaluationResults

_LABEL_ERRORS = 10  # listed at most
_BARS = "▁▂▃▄▅▆▇█"
T = TypeVar("T")


def number(value: float, digits: int = 3) -> str:
    """Format a number; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """Format a share in per cent; a dash for NaN."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def sparkline(shares: Iterable[float]) -> str:
    """Format shares from 0 to 1 as bars of eight heights; a blank for NaN.

    >>> sparkline([0, 0.5, 1])
    '▁▅█'
    """
    return "".join(" " if math.isnan(s) else _BARS[min(int(s * 8), 7)] for s in shares)


def describe_kind(error: LabelError) -> str:
    """Return what seems to be wrong with a label, in words."""
    if error.kind != "shifted":
        return error.kind
    # The label fits after a roll by `shift`, so it lies on the other side.
    side = "left" if error.shift > 0 else "right"
    return f"{abs(error.shift)} too far {side}"


def _format_score(key: str) -> Callable[[Assessment], str]:
    return lambda model: number(model.scores[key])


# The cell of each column, by its heading.
_SCORES = {
    key.replace("_", "\n").replace("iou", "IoU").replace("dice", "Dice"): _format_score(key)
    for key in ("micro_iou", "micro_dice", *METRICS[::-1])
}
_GROOVES: dict[str, Callable[[Assessment], str]] = {
    "Dice\n±1 col": _format_score("tolerant_dice"),
    "clDice": _format_score("centreline_dice"),
    "grooves\nprec.": lambda model: number(model.grooves.precision),
    "grooves\nrecall": lambda model: number(model.grooves.recall),
    "width\nerror": lambda model: number(model.grooves.width_error, 2),
    "length\nerror": lambda model: number(model.grooves.length_error, 1),
    "false\nalarms": lambda model: percent(model.false_alarms["rate"]),
    "ECE": _format_score("ece"),
    "Brier": _format_score("brier"),
}
_ROBUSTNESS: dict[str, Callable[[Robustness], str]] = {
    "same mask,\nevery roll": lambda found: percent(found.shift.identical_patches),
    "same mask,\na roll": lambda found: percent(found.shift.identical_pairs),
    "IoU kept,\nrolls": lambda found: number(found.shift.kept),
    f"IoU, noise\n0-{NOISE[-1]:g}": lambda found: _summarise(found.noise.iou),
    f"IoU, gain\n{GAIN[0]:g}-{GAIN[-1]:g}": lambda found: _summarise(found.gain.iou),
}
_LABEL_ERROR: dict[str, Callable[[LabelError], str]] = {
    "doubt": lambda error: number(error.doubt, 2),
    "what seems wrong": describe_kind,
    "models\nagree": lambda error: number(error.agreement, 2),
    "label's\nIoU": lambda error: number(error.iou, 2),
}


class ScoreTable(NamedTuple):
    """A table whose first column holds names; its headings are broken to fit 80 columns."""

    title: str
    headings: list[str]
    rows: list[list[str]]

    def to_rich(self) -> Table:
        """Return the table for the terminal."""
        table = Table(title=self.title, box=None, padding=(0, 1, 0, 0), title_justify="left")
        table.add_column(self.headings[0], no_wrap=True, vertical="bottom")
        for heading in self.headings[1:]:
            table.add_column(heading, justify="right", vertical="bottom", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


def make_tables(results: EvaluationResults) -> dict[str, ScoreTable]:
    """Return the tables by name; the last is the most important, as a terminal shows the end."""
    models, tables = results.assessments, {}
    first = next(iter(models.values()))
    if found := results.label_errors:
        errors = {results.evaluation_set.names[e.patch]: e for e in found[:_LABEL_ERRORS]}
        title = f"Labels most likely wrong, {len(errors)} of {len(found)}"
        tables["label_errors"] = _make_table(title, "patch", _LABEL_ERROR, errors)
    if len(first.wells) > 1:
        title = "IoU by well: mean over patches / all pixels"
        tables["wells"] = ScoreTable(title, ["well", "patches", *models], [])
        for well, row in first.wells.items():
            scores = [model.wells[well] for model in models.values()]
            cells = [f"{number(s['iou'])} / {number(s['micro_iou'])}" for s in scores]
            tables["wells"].rows.append([well, f"{row['patches']:,}", *cells])
    if results.robustness:
        title = "Robustness; each curve from its first to its last value"
        tables["robustness"] = _make_table(title, "model", _ROBUSTNESS, results.robustness)
    title = f"Lines and grooves ({first.grooves.true:,} labelled); calibration; false alarms on "
    title += f"{first.false_alarms['patches']:,} patches without a groove"
    tables["grooves"] = _make_table(title, "model", _GROOVES, models)
    at_threshold = {f"{name} @ {model.threshold:g}": model for name, model in models.items()}
    tables["scores"] = _make_table(results.title, "model @ threshold", _SCORES, at_threshold)
    return tables


def _make_table(
    title: str, first: str, columns: Mapping[str, Callable[[T], str]], found: Mapping[str, T]
) -> ScoreTable:
    rows = [[name, *(cell(value) for cell in columns.values())] for name, value in found.items()]
    return ScoreTable(title, [first, *columns], rows)


def _summarise(curve: list[float]) -> str:
    return f"{sparkline(curve)} {number(curve[-1])}"

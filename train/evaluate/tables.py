"""Tables of an evaluation for the terminal, at most 80 columns wide to fit log files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.table import Table

from geoseg.evaluation.label_errors import LabelError
from geoseg.evaluation.robustness import Robustness
from geoseg.metrics import METRICS
from train.evaluate.assessment import Assessment

_BARS = "▁▂▃▄▅▆▇█"


def make_scores_table(assessments: dict[str, Assessment], title: str) -> Table:
    """Return the pixel scores, one row per model."""
    columns = ("micro_iou", "micro_dice", *METRICS[::-1])
    table = _table(title, "model @ threshold", [c.replace("_", "\n") for c in columns])
    for name, found in assessments.items():
        label = f"{name} @ {found.threshold:g}"
        table.add_row(label, *(number(found.scores[c]) for c in columns))
    return table


def make_grooves_table(assessments: dict[str, Assessment]) -> Table:
    """Return the scores of lines, grooves, false alarms and probabilities, one row per model."""
    headings = ["Dice\n±1 col", "cl-\nDice", "grooves\nprec.", "grooves\nrecall", "width\nerror"]
    headings += ["length\nerror", "false\nalarms", "ECE", "Brier"]
    title = "Lines and grooves; false alarms on patches without a groove; calibration"
    table = _table(title, "model", headings)
    for name, found in assessments.items():
        grooves, scores = found.grooves, found.scores
        table.add_row(
            name,
            number(scores["tolerant_dice"]),
            number(scores["centreline_dice"]),
            number(grooves.precision),
            number(grooves.recall),
            number(grooves.width_error, 2),
            number(grooves.length_error, 1),
            percent(found.false_alarms["rate"]),
            number(scores["ece"]),
            number(scores["brier"]),
        )
    return table


def make_wells_table(assessments: dict[str, Assessment]) -> Table:
    """Return the IoU by well, one row per well and one column per model."""
    table = _table("IoU by well: mean over patches / all pixels", "well", ["patches"])
    for name in assessments:
        table.add_column(name, justify="right", overflow="fold")
    for well, row in next(iter(assessments.values())).wells.items():
        rows = [found.wells[well] for found in assessments.values()]
        cells = (f"{number(r['iou'])} / {number(r['micro_iou'])}" for r in rows)
        table.add_row(well, f"{row['patches']:,}", *cells)
    return table


def make_robustness_table(robustness: dict[str, Robustness]) -> Table:
    """Return the effect of shifts, noise and gain, one row per model."""
    headings = ["same mask,\nevery roll", "same mask,\na roll", "IoU kept,\nrolls"]
    noise, gain = next(iter(robustness.values()))[1:]
    headings += [f"IoU, noise\n0-{noise.at[-1]:g}", f"IoU, gain\n{gain.at[0]:g}-{gain.at[-1]:g}"]
    table = _table("Robustness; each curve from its first to its last value", "model", headings)
    for name, found in robustness.items():
        shift = found.shift
        table.add_row(
            name,
            percent(shift.identical_patches),
            percent(shift.identical_pairs),
            number(shift.kept),
            *(f"{sparkline(c.iou)} {number(c.iou[-1])}" for c in (found.noise, found.gain)),
        )
    return table


def make_label_errors_table(
    errors: Sequence[LabelError], names: Sequence[str], at_most: int = 10
) -> Table:
    """Return the labels most likely wrong, worst first."""
    title = f"Labels most likely wrong: {len(errors):,} to look at"
    more = "" if len(errors) <= at_most else f", the first {at_most}"
    table = _table(
        title + more, "patch", ["doubt", "what seems wrong", "models\nagree", "label's\nIoU"]
    )
    for error in errors[:at_most]:
        table.add_row(
            names[error.patch],
            number(error.doubt, 2),
            describe_kind(error),
            number(error.agreement, 2),
            number(error.iou, 2),
        )
    return table


def describe_kind(error: LabelError) -> str:
    """Return what seems to be wrong with a label, in words."""
    if error.kind != "shifted":
        return error.kind
    # The label fits after a roll by `shift`, so it lies on the other side.
    side = "left" if error.shift > 0 else "right"
    return f"{abs(error.shift)} too far {side}"


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


def _table(title: str, first: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column(first, no_wrap=True, vertical="bottom")
    for heading in headings:
        table.add_column(heading, justify="right", vertical="bottom")
    return table

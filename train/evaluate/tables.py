"""An evaluation in the terminal, narrow enough for 80 columns: a log file has no more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.table import Table

from geoseg.evaluation.label_errors import LabelError
from geoseg.metrics import METRICS
from train.evaluate.assessment import Assessment
from train.evaluate.robustness import Robustness

_BARS = "▁▂▃▄▅▆▇█"


def scores_table(assessments: dict[str, Assessment], title: str) -> Table:
    """The scores of pixels, a row a model."""
    columns = ("micro_iou", "micro_dice", *METRICS[::-1])
    table = _table(title, "model @ threshold", [c.replace("_", "\n") for c in columns])
    for name, found in assessments.items():
        label = f"{name} @ {found.threshold:g}"
        table.add_row(label, *(number(found.scores[c]) for c in columns))
    return table


def lines_table(assessments: dict[str, Assessment]) -> Table:
    """Scores that see lines, whole grooves, sound pipe and probabilities, a row a model."""
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
            percent(found.soundness["rate"]),
            number(scores["ece"]),
            number(scores["brier"]),
        )
    return table


def wells_table(assessments: dict[str, Assessment]) -> Table:
    """IoU by well, a row a well and a column a model."""
    table = _table("IoU by well: mean over patches / all pixels", "well", ["patches"])
    for name in assessments:
        table.add_column(name, justify="right", overflow="fold")
    for well, row in next(iter(assessments.values())).wells.items():
        rows = [found.wells[well] for found in assessments.values()]
        cells = (f"{number(r['iou'])} / {number(r['micro_iou'])}" for r in rows)
        table.add_row(well, f"{row['patches']:,}", *cells)
    return table


def robustness_table(robustness: dict[str, Robustness]) -> Table:
    """What turning, noise and gain change, a row a model."""
    headings = ["same mask,\nevery roll", "same mask,\na roll", "IoU kept,\nrolls"]
    noise, gain = next(iter(robustness.values()))[1:]
    headings += [f"IoU, noise\n0-{noise.at[-1]:g}", f"IoU, gain\n{gain.at[0]:g}-{gain.at[-1]:g}"]
    table = _table("Robustness; each curve from its first to its last value", "model", headings)
    for name, found in robustness.items():
        turning = found.turning
        table.add_row(
            name,
            percent(turning.identical_patches),
            percent(turning.identical_pairs),
            number(turning.kept),
            *(f"{sparkline(c.iou)} {number(c.iou[-1])}" for c in (found.noise, found.gain)),
        )
    return table


def suspects_table(
    suspects: Sequence[LabelError], names: Sequence[str], at_most: int = 10
) -> Table:
    """The labels most likely wrong, worst first."""
    title = f"Labels most likely wrong: {len(suspects):,} to look at"
    more = "" if len(suspects) <= at_most else f", the first {at_most}"
    table = _table(
        title + more, "patch", ["doubt", "what seems wrong", "models\nagree", "label's\nIoU"]
    )
    for suspect in suspects[:at_most]:
        table.add_row(
            names[suspect.patch],
            number(suspect.doubt, 2),
            describe_kind(suspect),
            number(suspect.agreement, 2),
            number(suspect.iou, 2),
        )
    return table


def describe_kind(suspect: LabelError) -> str:
    """What seems to be wrong with a label, in words."""
    if suspect.kind != "shifted":
        return suspect.kind
    # The label has to move by `shift` to fit, so it stands off to the other side.
    side = "left" if suspect.shift > 0 else "right"
    return f"{abs(suspect.shift)} too far {side}"


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash where there was nothing to measure."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def percent(share: float) -> str:
    """A share in per cent, or a dash where there was nothing to measure."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def sparkline(shares: Iterable[float]) -> str:
    """Shares from 0 to 1 as bars of eight heights, blank where there is none.

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

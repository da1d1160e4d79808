"""Cross-validation over wells: a summary of the folds' scores."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import atomic_write_text
from geoseg.metrics import METRICS


def summarise_folds(
    reports: Sequence[dict[str, Any]], output: Path, run_name: str, console: Console
) -> None:
    """Print the folds' scores with mean and spread; write `<output>/<run_name>-folds.json`.

    Both are given for the best epoch, whose score is optimistic because the fold itself chose it,
    and for the last one. The spread is the standard deviation between folds.
    """
    summary: dict[str, dict[str, dict[str, float]]] = {"best": {}, "last": {}}
    for which, scores in summary.items():
        for metric in METRICS:
            values = [r[which][metric] for r in reports]
            scores[metric] = {"mean": statistics.mean(values), "spread": statistics.stdev(values)}
    wells = {well: iou for r in reports for well, iou in r["best"]["wells"].items()}
    file = output / f"{run_name}-folds.json"
    content = {"summary": summary, "wells": wells, "runs": reports}
    atomic_write_text(file, json.dumps(content, indent=2) + "\n")
    title = f"{run_name}, {len(reports)} folds of wells"
    table = Table("IoU of wells", title=title, title_justify="left", box=None)
    for heading in ("best epoch", "its IoU", "IoU of last epoch"):
        table.add_column(heading, justify="right")
    for r in reports:
        best, last = r["best"], r["last"]
        by_well = ", ".join(f"{well} {iou:.3f}" for well, iou in best["wells"].items())
        table.add_row(by_well, str(best["epoch"]), f"{best['iou']:.3f}", f"{last['iou']:.3f}")
    cells = ["{mean:.3f} ± {spread:.3f}".format(**scores["iou"]) for scores in summary.values()]
    table.add_row("mean and spread", "", *cells, style="bold")
    console.print(table)
    console.print(f"Written to {file}.", soft_wrap=True)

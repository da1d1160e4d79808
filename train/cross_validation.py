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
    summary = {
        which: {metric: _summarise([r[which][metric] for r in reports]) for metric in METRICS}
        for which in ("best", "last")
    }
    wells = {well: iou for r in reports for well, iou in r["best"]["wells"].items()}
    file = output / f"{run_name}-folds.json"
    content = {"summary": summary, "wells": wells, "runs": reports}
    atomic_write_text(file, json.dumps(content, indent=2) + "\n")
    table = Table(
        title=f"{run_name}, {len(reports)} folds of wells", box=None, title_justify="left"
    )
    table.add_column("IoU of wells")
    for heading in ("best epoch", "its IoU", "IoU of last epoch"):
        table.add_column(heading, justify="right")
    for r in reports:
        scores = ", ".join(f"{well} {iou:.3f}" for well, iou in r["best"]["wells"].items())
        best, last = r["best"], r["last"]
        table.add_row(scores, str(best["epoch"]), f"{best['iou']:.3f}", f"{last['iou']:.3f}")
    cells = [
        f"{iou['mean']:.3f} ± {iou['spread']:.3f}"
        for iou in (summary[which]["iou"] for which in ("best", "last"))
    ]
    table.add_row("mean and spread", "", *cells, style="bold")
    console.print(table)
    console.print(f"Written to {file}.", soft_wrap=True)


def _summarise(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "spread": statistics.stdev(values)}

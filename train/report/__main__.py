"""Draw the loss and IoU curves of runs: `python -m train.report runs/300-vanilla`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import atomic_write, atomic_write_text
from geoseg.command_line import run_command
from train.report.charts import require_matplotlib
from train.report.curves import make_curve_png, make_curve_svgs, run_colour
from train.report.history import RunHistory, find_runs, read_history
from train.report.html import render_html

# The cell of each column, by its heading; the terminal lacks the last one.
_COLUMNS: dict[str, Callable[[RunHistory], str]] = {
    "run": lambda run: run.name,
    "best IoU": lambda run: f"{run.best['iou']:.4f}",
    "at epoch": lambda run: f"{run.best['epoch']:,}",
    "last IoU": lambda run: f"{run.epochs[-1]['iou']:.4f}",
    "epochs": lambda run: f"{run.epochs[-1]['epoch']:,}",
    "loss": lambda run: str(run.config.get("loss", "-")),
    "trained on": lambda run: str(run.config.get("data", "-")),
}


@dataclass(frozen=True)
class Options:
    """The folders of runs, or of several runs, and the .png or .html file to write."""

    runs: list[Path]
    out: Path


def parse_options(argv: list[str] | None = None) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.report", description=__doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of several runs")
    add(
        "--out",
        type=Path,
        default=Path("curves.html"),
        metavar="FILE",
        help="the file to write: a .png, or a .html with a table (default: %(default)s)",
    )
    options = Options(**vars(parser.parse_args(argv)))
    if options.out.suffix.lower() not in (".png", ".html"):
        parser.error(f"--out is {options.out}; its name must end in .png or .html")
    return options


def main(argv: list[str] | None = None) -> int:
    """Draw the runs that the command line names; return the exit code."""
    options = parse_options(argv)
    return run_command("report", lambda: draw_runs(options))


def draw_runs(options: Options) -> int:
    """Print a table of the runs and draw their curves; return the exit code.

    Raises ValueError or OSError if matplotlib or a folder is missing, or nothing can be written.
    """
    require_matplotlib()
    console = Console(highlight=False, markup=False)
    runs = _read_runs(find_runs(options.runs))
    if not runs:
        return 2
    for run in runs:
        if run.damaged:
            numbers = ", ".join(map(str, run.damaged))
            message = f"{run.name}: left out damaged lines of metrics.jsonl: {numbers}."
            console.print(message, soft_wrap=True)
    rows = [[cell(run) for cell in _COLUMNS.values()] for run in runs]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, heading in enumerate([*_COLUMNS][:-1]):
        table.add_column(heading, justify="right" if 0 < index < 5 else "left", overflow="fold")
    for row in rows:
        table.add_row(*row[:-1])
    console.print(table)
    if options.out.suffix.lower() == ".html":
        atomic_write_text(options.out, make_page(runs, rows))
    else:
        with atomic_write(options.out) as temporary:
            temporary.write_bytes(make_curve_png(runs))
    console.print(f"Drawn in {options.out}.", soft_wrap=True)
    return 0


def _read_runs(folders: Sequence[Path]) -> list[RunHistory]:
    """Read the runs; report those that cannot be read, and leave them out.

    Runs whose folders have the same name are named by their paths.
    """
    runs: dict[Path, RunHistory] = {}
    for folder in folders:
        try:
            runs[folder] = read_history(folder)
        except (OSError, ValueError) as error:
            print(f"report: {error}; left out", file=sys.stderr)
    count = Counter(run.name for run in runs.values())
    return [
        replace(run, name=str(path)) if count[run.name] > 1 else run for path, run in runs.items()
    ]


def make_page(runs: Sequence[RunHistory], rows: Sequence[Sequence[str]]) -> str:
    """Return the HTML page of the curves and a table."""
    return render_html(
        "curves.html",
        title="geoseg: curves of runs",
        heading="Training curves",
        subtitle=f"{len(runs)} run{'s' * (len(runs) > 1)}",
        names=", ".join(run.name for run in runs),
        charts=make_curve_svgs(runs),
        headings=[*_COLUMNS],
        rows=[(run_colour(index), row) for index, row in enumerate(rows)],
    )


if __name__ == "__main__":
    sys.exit(main())

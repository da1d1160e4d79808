"""Draw the loss and IoU curves of runs: `python -m train.report runs/300-vanilla`."""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import atomic_write, atomic_write_text, name_in_errors
from train.report.charts import require_matplotlib
from train.report.curves import make_curve_png, make_curve_svgs, run_colour
from train.report.history import RunHistory, find_runs, read_history
from train.report.html import render_html

_HEADINGS = ("run", "best IoU", "at epoch", "last IoU", "epochs", "loss", "trained on")


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        runs: folders of runs, or folders that hold several.
        out: the file to write, .png or .html.
    """

    runs: list[Path]
    out: Path


def parse_options(argv: list[str] | None = None) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.report", description=__doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="the folder of a run, or one that holds several, such as runs",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("curves.html"),
        metavar="FILE",
        help="the file to write: a .png, or a .html with a table (default: curves.html)",
    )
    options = Options(**vars(parser.parse_args(argv)))
    if options.out.suffix.lower() not in (".png", ".html"):
        parser.error(f"--out is {options.out}; its name must end in .png or .html")
    return options


def main(argv: list[str] | None = None) -> int:
    """Draw the runs that the command line names; return the exit code."""
    options = parse_options(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # the terminal may lack characters of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False, markup=False)
    try:
        require_matplotlib()
        runs = make_names_unique(_read_runs(find_runs(options.runs)))
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    if not runs:
        return 2
    for run in runs:
        if run.damaged:
            console.print(f"{run.name}: left out {_describe_lines(run.damaged)}.", soft_wrap=True)
    console.print(_make_summary(runs))
    try:
        if options.out.suffix.lower() == ".html":
            atomic_write_text(options.out, make_page(runs))
        else:
            with name_in_errors(options.out), atomic_write(options.out) as temporary:
                temporary.write_bytes(make_curve_png(runs))
    except OSError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    console.print(f"Drawn in {options.out}.", soft_wrap=True)
    return 0


def _read_runs(folders: Sequence[Path]) -> list[tuple[Path, RunHistory]]:
    """Read the runs; report those that cannot be read, and leave them out."""
    runs, reasons = [], []
    for folder in folders:
        try:
            runs.append((folder, read_history(folder)))
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    for reason in reasons:
        print(f"report: {reason}{'; left out' * bool(runs)}", file=sys.stderr)
    return runs


def make_names_unique(runs: Sequence[tuple[Path, RunHistory]]) -> list[RunHistory]:
    """Name runs by their paths if their folders have the same name."""
    count = Counter(run.name for _, run in runs)
    return [replace(run, name=str(path)) if count[run.name] > 1 else run for path, run in runs]


def make_page(runs: Sequence[RunHistory]) -> str:
    """Return the HTML page of the curves and a table."""
    return render_html(
        "curves.html",
        title="geoseg: curves of runs",
        heading="Training curves",
        subtitle=f"{len(runs)} run{'s' * (len(runs) > 1)}",
        names=", ".join(run.name for run in runs),
        charts=make_curve_svgs(runs),
        headings=_HEADINGS,
        rows=[(run_colour(index), _make_row(run)) for index, run in enumerate(runs)],
    )


def _make_row(run: RunHistory) -> list[str]:
    best, last = run.best, run.epochs[-1]
    return [
        run.name,
        f"{best['iou']:.4f}",
        f"{best['epoch']:,}",
        f"{last['iou']:.4f}",
        f"{last['epoch']:,}",
        str(run.config.get("loss", "-")),
        str(run.config.get("data", "-")),
    ]


def _make_summary(runs: Sequence[RunHistory]) -> Table:
    """Return the table for the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for index, heading in enumerate(_HEADINGS[:-1]):
        table.add_column(heading, justify="right" if 0 < index < 5 else "left", overflow="fold")
    for run in runs:
        table.add_row(*_make_row(run)[:-1])
    return table


def _describe_lines(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + ", ..." * (len(numbers) > 5)
    return f"damaged line{'s' * (len(numbers) > 1)} {shown} of metrics.jsonl"


if __name__ == "__main__":
    sys.exit(main())

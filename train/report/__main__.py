"""Draw the curves of runs from their JSON lines: `python -m train.report runs/300-vanilla`."""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import atomic_write, atomic_write_text, name_in_errors
from train.report.canvas import moved, png, svg
from train.report.curves import HEIGHT, WIDTH, colour, draw_iou, draw_legend, draw_loss
from train.report.history import RunHistory, find_runs, read_history
from train.report.webpage import document, section, table

_HEADINGS = ("run", "best IoU", "at epoch", "last IoU", "epochs", "loss", "trained on")
_WORDS = ("loss", "trained on")
_NOTE = (
    "Full colour: the validation set. Pale: the training set, of which only the loss is known. The "
    "dots mark the epoch with the best validation IoU; best.safetensors holds its weights."
)
_TABLE_NOTE = (
    "Losses compare between runs of one loss function only; IoU on one validation set only."
)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
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
        help="where to draw them: a .png, or a .html with a table (default: curves.html)",
    )
    arguments = parser.parse_args(argv)
    if arguments.out.suffix.lower() not in (".png", ".html"):
        parser.error(f"--out is {arguments.out}; its name must end in .png or .html")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Draw what the command line names; gives the exit code."""
    arguments = parse(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may have what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(highlight=False, markup=False)
    try:
        runs = name_apart(_read(find_runs(arguments.runs)))
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    if not runs:
        return 2
    for run in runs:
        if run.damaged:
            console.print(f"{run.name}: left out {_lines(run.damaged)}.", soft_wrap=True)
    console.print(_summary(runs))
    try:
        if arguments.out.suffix.lower() == ".html":
            atomic_write_text(arguments.out, page(runs))
        else:
            with name_in_errors(arguments.out), atomic_write(arguments.out) as temporary:
                temporary.write_bytes(picture(runs))
    except OSError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    console.print(f"Drawn in {arguments.out}.", soft_wrap=True)
    return 0


def _read(folders: Sequence[Path]) -> list[tuple[Path, RunHistory]]:
    """Those that can be read; of each other one it says why it is left out."""
    runs, reasons = [], []
    for folder in folders:
        try:
            runs.append((folder, read_history(folder)))
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    for reason in reasons:
        print(f"report: {reason}{'; left out' * bool(runs)}", file=sys.stderr)
    return runs


def name_apart(runs: Sequence[tuple[Path, RunHistory]]) -> list[RunHistory]:
    """Call runs whose folders have one name by their paths."""
    count = Counter(run.name for _, run in runs)
    return [replace(run, name=str(path)) if count[run.name] > 1 else run for path, run in runs]


def page(runs: Sequence[RunHistory]) -> str:
    """The curves as a page, with a table."""
    names = ", ".join(run.name for run in runs)
    figures = "".join(
        f"<figure>{svg(drawn, WIDTH, HEIGHT, f'{what} of {names}')}</figure>\n"
        for what, drawn in (("Loss", draw_loss(runs)), ("IoU", draw_iou(runs)))
    )
    colours = [colour(place) for place in range(len(runs))]
    content = section("Curves", f'<div class="curves">{figures}</div>\n', _NOTE)
    content += section("Runs", table(_HEADINGS, map(_row, runs), colours, _WORDS), _TABLE_NOTE)
    about = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    return document("geoseg: curves of runs", "How the runs went", about, content)


def picture(runs: Sequence[RunHistory]) -> bytes:
    """The curves as a PNG file, with a legend."""
    legend, height = draw_legend(runs)
    shapes = draw_loss(runs) + moved(draw_iou(runs), WIDTH) + moved(legend, 0, HEIGHT)
    return png(shapes, 2 * WIDTH, HEIGHT + height)


def _row(run: RunHistory) -> list[str]:
    best, last = run.best, run.records[-1]
    return [
        run.name,
        f"{best['iou']:.4f}",
        f"{best['epoch']:,}",
        f"{last['iou']:.4f}",
        f"{last['epoch']:,}",
        str(run.config.get("loss", "-")),
        str(run.config.get("data", "-")),
    ]


def _summary(runs: Sequence[RunHistory]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0))
    for place, heading in enumerate(_HEADINGS[:-1]):
        shown.add_column(heading, justify="right" if 0 < place < 5 else "left", overflow="fold")
    for run in runs:
        shown.add_row(*_row(run)[:-1])
    return shown


def _lines(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + ", ..." * (len(numbers) > 5)
    return f"damaged line{'s' * (len(numbers) > 1)} {shown} of metrics.jsonl"


if __name__ == "__main__":
    sys.exit(main())

"""`python -m geoseg.dataset`: get the data set, look what a folder holds, put logs together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from geoseg.dataset.check import find_problems, summary
from geoseg.dataset.download import HANDLE, DownloadError, download
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitch import Log, stitch
from geoseg.files import check_writable, naming, replacing

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        return int(options.run(options, console))
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (ValueError, OSError, DownloadError) as error:
        console.print(f"error: {error}", style="red", soft_wrap=True)
        return 2 if isinstance(error, ValueError) else 1


def _download(options: argparse.Namespace, console: Console) -> int:
    _check_free(options.out)
    dataset = download(options.handle, options.out, console)
    print(f"{options.out}: {dataset.rejection_summary()}")
    print(f"Next: python -m geoseg.dataset check {options.out}")
    return 0


def _check(options: argparse.Namespace, console: Console) -> int:
    if options.picture:
        check_writable(options.picture)
    dataset = PatchDataset.load(options.folder, cache=False)  # a look leaves no trace
    with console.status("Comparing patches"):
        logs = stitch(dataset)
        problems = find_problems(dataset, logs)
    wide = None if sys.stdout.isatty() else 100
    Console(width=wide, highlight=False).print(summary(dataset, logs))
    print(dataset.rejection_summary())
    if options.picture:
        from geoseg.dataset.picture import save_picture  # Pillow takes its time

        save_picture(logs, options.picture)
        print(f"Picture: {options.picture}")
    for problem in problems:
        print(f"Problem: {problem}.")
    if not problems:
        print("Sound: nothing that a training should know of.")
    return 1 if problems else 0


def _stitch(options: argparse.Namespace, console: Console) -> int:
    _check_free(options.out)
    dataset = PatchDataset.load(options.folder, everything=True)
    twins = None if options.twins is None else {_log_name(well) for well in options.twins}
    logs = stitch(dataset, twins, options.overlap)
    for log in track(logs, "Writing", console=console, transient=True):
        _write(log, options.out)
    wide = None if sys.stdout.isatty() else 100
    Console(width=wide, highlight=False).print(_told(logs))
    print(dataset.rejection_summary())
    unsure = [log.name.replace("well_", "") for log in logs if not log.pairs]
    if unsure and twins is None:
        print(
            f"No patches 2k and 2k + 1 to tell twins by, so taken for none: {', '.join(unsure)}; "
            "--twins says otherwise."
        )
    print(f"{len(logs)} logs written to {options.out}")
    return 0


def _log_name(well: str) -> str:
    """What the log of a well is called that the user calls, for instance, 2, test/4 or well_2."""
    folder, slash, number = well.rpartition("/")
    return f"{folder}{slash}well_{number.removeprefix('well_')}"


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; --out needs a folder")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose another folder with --out, or empty it first")


def _write(log: Log, out: Path) -> None:
    folder, _, name = f"{out}/{log.name}.npy".rpartition("/")
    arrays: dict[Path, NDArray[np.generic]] = {Path(folder, name): log.image}
    if log.mask is not None:
        arrays[Path(folder, "labels", name)] = log.mask
    for path, array in arrays.items():
        with naming(path), replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)


def _told(logs: Sequence[Log]) -> Table:
    """What was done for each log."""
    table = Table("log", box=None)
    headings = ("patches", "rows", "no patch", "columns", "pairs", "likeness", "overlap")
    for heading in (*headings, "disputed", "groove"):
        table.add_column(heading, justify="right")
    for log in logs:
        rows, columns = log.image.shape
        likeness = f"{log.likeness:+.2f}" if log.pairs else "-"
        labels = "-" if log.mask is None else f"{(log.mask == 1).mean():.1%}"
        table.add_row(
            *(log.name, f"{log.patches:,}", f"{rows:,}", f"{log.missing:,}"),
            *(f"{columns}{' in twins' * log.twins}", f"{log.pairs:,}", likeness),
            *(f"{log.overlap} rows", f"{log.disputed:,}", labels),
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m geoseg.dataset", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_download(commands)
    _add_check(commands)
    _add_stitch(commands)
    return parser


def _add_download(commands: Commands) -> None:
    command = commands.add_parser(
        "download",
        help="the SLB data set from Kaggle, laid out as --data wants it",
        description="Download a data set from Kaggle, check it and lay it out. Needs kagglehub.",
    )
    command.add_argument(
        "--handle", default=HANDLE, metavar="OWNER/NAME", help=f"on Kaggle (default: {HANDLE})"
    )
    command.add_argument(
        "--out", type=Path, default=Path("data"), metavar="DIR", help="new folder (default: data)"
    )
    command.set_defaults(run=_download)


def _add_check(commands: Commands) -> None:
    command = commands.add_parser(
        "check",
        help="what a folder holds, and whether a training would be honest",
        description="Show what a folder holds. Exit code 0: sound; 1: there is something that a "
        "training should know of, such as files left out for another reason than nulls, no labels, "
        "or the same pipe on both sides of the split; 2: no such data.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument("--picture", type=Path, metavar="FILE.png", help="all wells on one page")
    command.set_defaults(run=_check)


def _add_stitch(commands: Commands) -> None:
    command = commands.add_parser(
        "stitch",
        help="whole logs from patches",
        description="Put the patches of each well together: DIR/well_K.npy (NaN where no patch "
        "is), its mask DIR/labels/well_K.npy (255 where nobody knows), and DIR/test/ for the wells "
        "of test/, which have their own numbers. Row 0 is the top of patch 0.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    command.add_argument(
        "--twins",
        nargs="*",
        metavar="WELL",
        help="wells whose patches 2k and 2k + 1 are interleaved to twice the columns, such as 2 or "
        "test/4; no number for none (default: those whose patches show it)",
    )
    command.add_argument(
        "--overlap",
        type=int,
        metavar="ROWS",
        help="rows that a patch shares with the next one (default: those that are equal)",
    )
    command.set_defaults(run=_stitch)


if __name__ == "__main__":
    sys.exit(main())

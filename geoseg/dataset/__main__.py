"""`python -m geoseg.dataset`: download the data set, check a folder, or stitch logs."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import atomic_folder, name_in_errors
from geoseg.command_line import run_command
from geoseg.dataset.check.report import DatasetReport, format_width, make_table
from geoseg.dataset.download import HANDLE, dataset_url, download
from geoseg.dataset.folder import format_count
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import StitchedLog, Well, find_wells, stitch
from geoseg.progress import track_progress
from geoseg.twins import TWIN_CORRELATION

PROGRAM = "python -m geoseg.dataset"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""

    def work() -> int:
        options = vars(_make_parser().parse_args(arguments))
        return int(options.pop("run")(**options))

    return run_command(PROGRAM, work)


def _download(handle: str, out: Path, dry_run: bool) -> int:
    if dry_run:
        print(f"Would download {dataset_url(handle)} to {out}.")
        return 0
    print(f"{out}: {download(handle, out).rejection_summary()}")
    print(f"Next: {PROGRAM} check {out}")
    return 0


def _check(folder: Path, picture: Path | None) -> int:
    dataset = PatchDataset.load(folder, cache=False)  # leave the folder unchanged
    report = DatasetReport(dataset)
    _print_table(report.make_table())
    print(dataset.rejection_summary())
    if picture:
        # Imported here because Pillow is slow to import.
        from geoseg.dataset.check.picture import save_picture

        try:
            save_picture(report.wells, picture, report.make_notes())
        except OSError as error:  # code 2, since 1 means a problem of the data
            raise ValueError(str(error)) from error
        print(f"Picture: {picture}")
    problems = report.find_problems()
    for problem in problems:
        print(f"Problem: {problem}.")
    if not problems:
        print("No problem found.")
    return 1 if problems else 0


def _stitch(
    folder: Path, out: Path, twins: Collection[str] | None, overlap: int | None, dry_run: bool
) -> int:
    dataset = PatchDataset.load(folder, keep_faulty=True)
    wells = find_wells(dataset, twins, overlap)
    headings = ("patches", "rows", "no patch", "columns", "pairs", "correlation", "overlap")
    table = make_table("log", *headings, "conflicts", "groove")
    conflicting = []
    with nullcontext() if dry_run else atomic_folder(out) as target:
        for well in track_progress(wells, "Stitching"):
            log = stitch(well)
            table.add_row(*_make_cells(well, log))
            if log.conflicts:
                conflicting.append(well)
            if target:
                with name_in_errors(out):
                    _write_log(well.name, log, target)
    _print_table(table)
    print(dataset.rejection_summary(verdict="with a fault"))
    _print_doubts(wells, conflicting, twins_detected=twins is None)
    verb = "would be written" if dry_run else "written"
    print(f"{format_count(len(wells), 'log')} {verb} to {out}")
    return 0


def _make_cells(well: Well, log: StitchedLog) -> list[str]:
    correlation = "-" if isnan(well.correlation) else f"{well.correlation:+.2f}"
    missing = (~log.row_splits.any(0)).sum()
    groove = "-" if log.mask is None else f"{(log.mask == 1).mean():.1%}"
    return [
        *(well.name, f"{len(well.patches):,}", f"{len(log.image):,}", f"{missing:,}"),
        *(format_width(well), f"{well.pairs:,}", correlation),
        *(format_count(well.overlap, "row"), f"{log.conflicts:,}", groove),
    ]


def _print_doubts(wells: Sequence[Well], conflicting: Sequence[Well], twins_detected: bool) -> None:
    """Print what may be wrong with the logs."""
    doubts = {
        "have no pair 2k and 2k + 1 that shows whether they are twins, so they are treated as "
        "single; set --twins to change this": [
            well for well in wells if twins_detected and isnan(well.correlation)
        ],
        "are not twins; check --twins": [
            well for well in wells if well.has_twins and well.correlation < TWIN_CORRELATION
        ],
        "are twins; check --twins": [
            well for well in wells if not well.has_twins and well.correlation >= TWIN_CORRELATION
        ],
        "differ where they overlap, and their mean is used; check --overlap, and whether a patch "
        "exists twice": conflicting,
    }
    for doubt, doubtful in doubts.items():
        if doubtful:
            print(f"Warning: the patches of {', '.join(well.name for well in doubtful)} {doubt}.")


def _write_log(name: str, log: StitchedLog, out: Path) -> None:
    arrays: dict[Path, NDArray[np.generic] | None] = {
        out / f"{name}.npy": log.image,
        (out / name).parent / "labels" / f"{Path(name).name}.npy": log.mask,
    }
    for path, array in arrays.items():
        if array is not None:
            content = io.BytesIO()
            np.save(content, array)  # np.save to a file hides the reason of a failure
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.getbuffer())


def _print_table(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "download",
        help="download the SLB data set from Kaggle, in the layout that --data needs",
        description="Download a data set from Kaggle, check it and lay it out. Needs kagglehub.",
    )
    command.set_defaults(run=_download)
    command.add_argument(
        "--handle",
        type=_parse_handle,
        default=HANDLE,
        metavar="OWNER/NAME",
        help=f"on Kaggle (default: {HANDLE})",
    )
    command.add_argument(
        "--out", type=_parse_new_folder, default="data", metavar="DIR", help="(default: data)"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="show what would be done, without network access"
    )

    command = commands.add_parser(
        "check",
        help="show what a folder holds, and whether a score on it would be biased",
        description="Show what a folder holds. Exit code 0: sound; 1: there is a problem for "
        "training, such as files rejected for another reason than nulls, no labels, or one pipe "
        "under two names or in two splits; 2: the folder is unusable, or the picture cannot be "
        "written.",
    )
    command.set_defaults(run=_check)
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument(
        "--picture", type=_parse_png, metavar="FILE.png", help="picture of all wells on one page"
    )

    command = commands.add_parser(
        "stitch",
        help="stitch patches into whole logs",
        description="Stitch the patches of each well: DIR/well_K.npy (NaN without a patch), its "
        "mask DIR/labels/well_K.npy (255 where unknown), and DIR/test/ for the wells of test/, "
        "which have their own numbers. Row 0 is the top of patch 0.",
    )
    command.set_defaults(run=_stitch)
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument(
        "--out", type=_parse_new_folder, required=True, metavar="DIR", help="new folder"
    )
    command.add_argument(
        "--twins",
        type=_parse_well,
        nargs="*",
        metavar="WELL",
        help="wells whose patches 2k and 2k + 1 are interleaved to twice the columns, such as 2 or "
        "test/4; no value for none (default: detect them)",
    )
    command.add_argument(
        "--overlap",
        type=int,
        metavar="ROWS",
        help="rows that a patch shares with the next one (default: detect equal rows)",
    )
    command.add_argument("--dry-run", action="store_true", help="show the logs, write nothing")
    return parser


def _parse_handle(text: str) -> str:
    if not re.fullmatch(r"\w[\w-]*/\w[\w-]*(/versions/[1-9][0-9]*)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a data set on Kaggle; give OWNER/NAME")
    return text


def _parse_new_folder(text: str) -> Path:
    out = Path(text)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise argparse.ArgumentTypeError(
            f"{out} is not an empty folder; choose another or empty it"
        )
    return out


def _parse_png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text} is not a PNG; give FILE.png")
    return Path(text)


def _parse_well(text: str) -> str:
    """Return the full name of a well such as 2, test/4 or well_2."""
    folder, slash, number = text.rpartition("/")
    return f"{folder}{slash}well_{number.removeprefix('well_')}"


if __name__ == "__main__":
    sys.exit(main())

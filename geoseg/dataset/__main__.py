"""`python -m geoseg.dataset`: download the data set, check a folder, or stitch logs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from geoseg.atomic_files import atomic_folder, check_writable, name_in_errors
from geoseg.dataset.check.duplicates import find_duplicate_wells
from geoseg.dataset.check.report import DatasetReport
from geoseg.dataset.check.tables import (
    make_stitching_row,
    make_stitching_table,
    make_summary_table,
)
from geoseg.dataset.download import HANDLE, DownloadError, check_handle, dataset_url, download
from geoseg.dataset.folder import format_count
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import StitchedLog, Well, find_wells, stitch
from geoseg.twins import TWIN_CORRELATION

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


@dataclass(frozen=True)
class DownloadOptions:
    """The parsed command line of `download`."""

    handle: str
    out: Path
    dry_run: bool


@dataclass(frozen=True)
class CheckOptions:
    """The parsed command line of `check`."""

    folder: Path
    picture: Path | None


@dataclass(frozen=True)
class StitchOptions:
    """The parsed command line of `stitch`."""

    folder: Path
    out: Path
    twins: Sequence[str] | None
    overlap: int | None
    dry_run: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    values = vars(_make_parser().parse_args(arguments))
    run, make_options, failure = (values.pop(name) for name in ("run", "options", "failure"))
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        return int(run(make_options(**values), console))
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (ValueError, OSError, DownloadError) as error:
        console.print(f"error: {error}", style="red", soft_wrap=True)
        return 2 if isinstance(error, ValueError) else int(failure)


def _download(options: DownloadOptions, console: Console) -> int:
    check_handle(options.handle)
    _check_free(options.out)
    if options.dry_run:
        print(f"Would download {dataset_url(options.handle)} to {options.out}.")
        return 0
    dataset = download(options.handle, options.out, console)
    print(f"{options.out}: {dataset.rejection_summary()}")
    print(f"Next: python -m geoseg.dataset check {options.out}")
    return 0


def _check(options: CheckOptions, console: Console) -> int:
    if options.picture:
        if options.picture.suffix.lower() != ".png":
            raise ValueError(f"--picture {options.picture} is not a PNG; give FILE.png")
        check_writable(options.picture)
    dataset = PatchDataset.load(options.folder, cache=False)  # leave the folder unchanged
    report = DatasetReport(dataset, find_wells(dataset), find_duplicate_wells(dataset, console))
    _print_table(make_summary_table(report))
    print(dataset.rejection_summary())
    if options.picture:
        # Imported here because Pillow is slow to import.
        from geoseg.dataset.check.picture import save_picture

        save_picture(report.wells, options.picture, report.make_notes())
        print(f"Picture: {options.picture}")
    problems = report.find_problems()
    for problem in problems:
        print(f"Problem: {problem}.")
    if not problems:
        print("Sound: no problem for training found.")
    return 1 if problems else 0


def _stitch(options: StitchOptions, console: Console) -> int:
    _check_free(options.out)
    dataset = PatchDataset.load(options.folder, keep_faulty=True)
    twins = None if options.twins is None else {_expand_name(well) for well in options.twins}
    wells = find_wells(dataset, twins, options.overlap)
    rows, conflicting = [], []
    with nullcontext() if options.dry_run else atomic_folder(options.out) as out:
        for well in track(wells, "Stitching", console=console, transient=True):
            log = stitch(well)
            rows.append(make_stitching_row(well, log))
            if log.conflicts:
                conflicting.append(well)
            if out:
                with name_in_errors(options.out):
                    _write_log(well.name, log, out)
    _print_table(make_stitching_table(rows))
    print(dataset.rejection_summary(verdict="with a fault"))
    for warning in _find_warnings(wells, conflicting, twins is None):
        print(warning)
    verb = "would be written" if options.dry_run else "written"
    print(f"{format_count(len(wells), 'log')} {verb} to {options.out}")
    return 0


def _find_warnings(
    wells: Sequence[Well], conflicting: Sequence[Well], twins_detected: bool
) -> Iterator[str]:
    """Yield a sentence for each thing that may be wrong with the logs."""
    unsure = [well for well in wells if isnan(well.correlation)]
    if unsure and twins_detected:
        yield (
            "No pair of patches 2k and 2k + 1 shows whether they are twins, so they are treated "
            f"as single: {_join_names(unsure)}; set --twins to change this."
        )
    if wrong := [w for w in wells if w.has_twins and w.correlation < TWIN_CORRELATION]:
        yield f"Warning: the patches of {_join_names(wrong)} are not twins; check --twins."
    if wrong := [w for w in wells if not w.has_twins and w.correlation >= TWIN_CORRELATION]:
        yield f"Warning: the patches of {_join_names(wrong)} are twins; check --twins."
    if conflicting:
        yield (
            f"Warning: overlapping patches differ in {_join_names(conflicting)}, and their mean "
            "is used; check --overlap, and whether a patch exists twice."
        )


def _join_names(wells: Sequence[Well]) -> str:
    return ", ".join(well.name.replace("well_", "") for well in wells)


def _print_table(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)


def _expand_name(well: str) -> str:
    """Return the full name of a well such as 2, test/4 or well_2."""
    folder, slash, number = well.rpartition("/")
    return f"{folder}{slash}well_{number.removeprefix('well_')}"


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; --out needs a folder")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose another folder with --out, or empty it first")


def _write_log(name: str, log: StitchedLog, out: Path) -> None:
    path = out / f"{name}.npy"
    arrays: dict[Path, NDArray[np.generic]] = {path: log.image}
    if log.mask is not None:
        arrays[path.parent / "labels" / path.name] = log.mask
    for target, array in arrays.items():
        content = io.BytesIO()
        np.save(content, array)  # np.save to a file hides the reason of a failure
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.getbuffer())


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m geoseg.dataset", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_download(commands)
    _add_check(commands)
    _add_stitch(commands)
    return parser


def _add_download(commands: Parsers) -> None:
    command = commands.add_parser(
        "download",
        help="download the SLB data set from Kaggle, in the layout that --data needs",
        description="Download a data set from Kaggle, check it and lay it out. Needs kagglehub.",
    )
    command.add_argument(
        "--handle", default=HANDLE, metavar="OWNER/NAME", help=f"on Kaggle (default: {HANDLE})"
    )
    command.add_argument(
        "--out", type=Path, default=Path("data"), metavar="DIR", help="new folder (default: data)"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="show what would be done, without network access"
    )
    command.set_defaults(run=_download, options=DownloadOptions, failure=1)


def _add_check(commands: Parsers) -> None:
    command = commands.add_parser(
        "check",
        help="show what a folder holds, and whether a score on it would be biased",
        description="Show what a folder holds. Exit code 0: sound; 1: there is a problem for "
        "training, such as files rejected for another reason than nulls, no labels, or one pipe "
        "under two names or in two splits; 2: the folder is unusable, or the picture cannot be "
        "written.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="picture of all wells on one page"
    )
    command.set_defaults(run=_check, options=CheckOptions, failure=2)


def _add_stitch(commands: Parsers) -> None:
    command = commands.add_parser(
        "stitch",
        help="stitch patches into whole logs",
        description="Stitch the patches of each well: DIR/well_K.npy (NaN without a patch), its "
        "mask DIR/labels/well_K.npy (255 where unknown), and DIR/test/ for the wells of test/, "
        "which have their own numbers. Row 0 is the top of patch 0.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    command.add_argument(
        "--twins",
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
    command.set_defaults(run=_stitch, options=StitchOptions, failure=1)


if __name__ == "__main__":
    sys.exit(main())

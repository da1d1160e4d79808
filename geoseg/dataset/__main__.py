"""`python -m geoseg.dataset`: download or import a data set, check a folder, or stitch logs."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Sequence
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
from geoseg.dataset.download import dataset_url, download
from geoseg.dataset.folder import format_count
from geoseg.dataset.importing import place_pieces, write_pieces
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.options import (
    PROGRAM,
    CheckOptions,
    DownloadOptions,
    ImportOptions,
    StitchOptions,
    parse_options,
)
from geoseg.dataset.source_layouts import read_source
from geoseg.dataset.stitching import StitchedLog, Well, find_wells, stitch
from geoseg.progress import track_progress
from geoseg.twins import TWIN_CORRELATION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""

    def work() -> int:
        options = parse_options(arguments)
        match options:
            case DownloadOptions():
                return _download(options)
            case ImportOptions():
                return _import(options)
            case CheckOptions():
                return _check(options)
            case StitchOptions():
                return _stitch(options)

    return run_command(PROGRAM, work)


def _download(options: DownloadOptions) -> int:
    if options.dry_run:
        print(f"Would download {dataset_url(options.handle)} to {options.out}.")
        return 0
    print(f"{options.out}: {download(options.handle, options.out).rejection_summary()}")
    print(f"Next: {PROGRAM} check {options.out}")
    return 0


def _import(options: ImportOptions) -> int:
    source = read_source(options.source)
    placed = place_pieces(source, options.validation)
    counts = Counter(item.split for item in placed)
    labelled = Counter(item.split for item in placed if item.piece.label is not None)
    for split, count in counts.items():
        print(f"{split}/: {format_count(count, 'patch')}, {labelled[split]:,} labelled")
    for note in source.notes:
        print(note)
    if not counts["validation"]:
        print("No well is in validation/: add --validation WELL, or train with --folds.")
    if options.dry_run:
        print(f"{format_count(len(placed), 'patch')} would be written to {options.out}")
        return 0
    with atomic_folder(options.out) as target:
        write_pieces(placed, target, options.out)
        dataset = PatchDataset.load(target, cache=False)
    for note in dataset.notes:
        print(note)
    print(f"{options.out}: {dataset.rejection_summary()}")
    print(f"Next: {PROGRAM} check {options.out}")
    return 0


def _check(options: CheckOptions) -> int:
    dataset = PatchDataset.load(options.folder, options=options.measurements, cache=False)
    report = DatasetReport(dataset)
    _print_table(report.make_table())
    print(dataset.rejection_summary())
    for note in dataset.notes:
        print(note)
    if picture := options.picture:
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


def _stitch(options: StitchOptions) -> int:
    dataset = PatchDataset.load(options.folder, options=options.measurements, keep_faulty=True)
    wells = find_wells(dataset, options.twins, options.overlap)
    out, dry_run = options.out, options.dry_run
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
    for note in dataset.notes:
        print(note)
    _print_doubts(wells, conflicting, twins_detected=options.twins is None)
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


if __name__ == "__main__":
    sys.exit(main())

"""`python -m geoseg.dataset`: get the data set, look what a folder holds, put logs together."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
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
from geoseg.dataset.check.tables import row, stitched, summary
from geoseg.dataset.download import HANDLE, DownloadError, check_handle, download, page
from geoseg.dataset.folder import format_count
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import Log, Well, find_wells, stitch
from geoseg.twins import TWIN_CORRELATION

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
        return 2 if isinstance(error, ValueError) else int(options.failure)


def _download(options: argparse.Namespace, console: Console) -> int:
    check_handle(options.handle)
    _check_free(options.out)
    if options.dry_run:
        print(f"Would fetch {page(options.handle)} and lay it out in {options.out}; nothing done.")
        return 0
    dataset = download(options.handle, options.out, console)
    print(f"{options.out}: {dataset.rejection_summary()}")
    print(f"Next: python -m geoseg.dataset check {options.out}")
    return 0


def _check(options: argparse.Namespace, console: Console) -> int:
    if options.picture:
        if options.picture.suffix.lower() != ".png":
            raise ValueError(f"--picture {options.picture} would be a PNG; name it FILE.png")
        check_writable(options.picture)
    dataset = PatchDataset.load(options.folder, cache=False)  # a look leaves no trace
    found = DatasetReport(dataset, find_wells(dataset), find_duplicate_wells(dataset, console))
    _show(summary(found))
    print(dataset.rejection_summary())
    if options.picture:
        from geoseg.dataset.check.picture import save_picture  # Pillow takes its time

        save_picture(found.wells, options.picture, found.notes())
        print(f"Picture: {options.picture}")
    problems = found.problems()
    for problem in problems:
        print(f"Problem: {problem}.")
    if not problems:
        print("Sound: nothing that a training should know of.")
    return 1 if problems else 0


def _stitch(options: argparse.Namespace, console: Console) -> int:
    _check_free(options.out)
    dataset = PatchDataset.load(options.folder, everything=True)
    twins = None if options.twins is None else {_log_name(well) for well in options.twins}
    wells = find_wells(dataset, twins, options.overlap)
    rows, disputed = [], []
    with nullcontext() if options.dry_run else atomic_folder(options.out) as out:
        for well in track(wells, "Stitching", console=console, transient=True):
            log = stitch(well)
            rows.append(row(well, log))
            disputed += [well] * bool(log.disputed)
            if out:
                with name_in_errors(options.out):
                    _write(well.name, log, out)
    _show(stitched(rows))
    print(dataset.rejection_summary(verdict="with a fault"))
    for warning in _doubts(wells, disputed, twins is None):
        print(warning)
    done = "would be written" if options.dry_run else "written"
    print(f"{format_count(len(wells), 'log')} {done} to {options.out}")
    return 0


def _doubts(wells: Sequence[Well], disputed: Sequence[Well], guessed: bool) -> Iterator[str]:
    """What may be wrong with logs, a sentence each."""
    unsure = [well for well in wells if isnan(well.likeness)]
    if unsure and guessed:
        yield (
            f"No patches 2k and 2k + 1 to tell twins by, so taken for none: {_listed(unsure)}; "
            "--twins says otherwise."
        )
    if wrong := [well for well in wells if well.twins and well.likeness < TWIN_CORRELATION]:
        yield f"Warning: the patches of {_listed(wrong)} show no twins; is --twins right?"
    if wrong := [well for well in wells if not well.twins and well.likeness >= TWIN_CORRELATION]:
        yield f"Warning: the patches of {_listed(wrong)} show twins; is --twins right?"
    if disputed:
        yield (
            f"Warning: patches that overlap disagree in {_listed(disputed)}, and their mean was "
            "taken; is --overlap right, or is a patch there twice?"
        )


def _listed(wells: Sequence[Well]) -> str:
    return ", ".join(well.name.replace("well_", "") for well in wells)


def _show(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)


def _log_name(well: str) -> str:
    """What the log of a well is called that the user calls, for instance, 2, test/4 or well_2."""
    folder, slash, number = well.rpartition("/")
    return f"{folder}{slash}well_{number.removeprefix('well_')}"


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; --out needs a folder")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose another folder with --out, or empty it first")


def _write(name: str, log: Log, out: Path) -> None:
    folder, _, name = f"{out}/{name}.npy".rpartition("/")
    arrays: dict[Path, NDArray[np.generic]] = {Path(folder, name): log.image}
    if log.mask is not None:
        arrays[Path(folder, "labels", name)] = log.mask
    for path, array in arrays.items():
        content = io.BytesIO()
        np.save(content, array)  # into a file, it would hide why that cannot be written
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getbuffer())


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
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be done, ask nobody"
    )
    command.set_defaults(run=_download, failure=1)


def _add_check(commands: Commands) -> None:
    command = commands.add_parser(
        "check",
        help="what a folder holds, and whether a training would be honest",
        description="Show what a folder holds. Exit code 0: sound; 1: there is something that a "
        "training should know of, such as files left out for another reason than nulls, no labels, "
        "or one pipe under two names or on both sides of the split; 2: no such data, or no such "
        "picture can be written.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument("--picture", type=Path, metavar="FILE.png", help="all wells on one page")
    command.set_defaults(run=_check, failure=2)


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
    command.add_argument("--dry-run", action="store_true", help="show the logs, write nothing")
    command.set_defaults(run=_stitch, failure=1)


if __name__ == "__main__":
    sys.exit(main())

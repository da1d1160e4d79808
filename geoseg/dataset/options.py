"""The command lines of `python -m geoseg.dataset`, parsed into frozen dataclasses."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from geoseg.dataset.download import HANDLE
from geoseg.measurement_options import add_measurement_options, take_measurement_options
from geoseg.measurements import MeasurementOptions

PROGRAM = "python -m geoseg.dataset"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


@dataclass(frozen=True)
class DownloadOptions:
    """The options of `download`, explained by its --help."""

    handle: str
    out: Path
    dry_run: bool


@dataclass(frozen=True)
class ImportOptions:
    """The options of `import`, explained by its --help."""

    source: Path
    out: Path
    validation: Sequence[int]
    dry_run: bool


@dataclass(frozen=True)
class CheckOptions:
    """The options of `check`, explained by its --help."""

    folder: Path
    picture: Path | None
    measurements: MeasurementOptions


@dataclass(frozen=True)
class StitchOptions:
    """The options of `stitch`, explained by its --help; `twins` is None to detect them."""

    folder: Path
    out: Path
    twins: Sequence[str] | None
    overlap: int | None
    dry_run: bool
    measurements: MeasurementOptions


Options = DownloadOptions | ImportOptions | CheckOptions | StitchOptions


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Parse the command line; exit with code 2 if argparse refuses it."""
    values = vars(_make_parser().parse_args(arguments))
    kind: type[Options] = values.pop("kind")
    if "losses" in values:
        values["measurements"] = take_measurement_options(values)
    return kind(**values)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Download or import a data set, check a folder, or stitch logs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_download, _add_import, _add_check, _add_stitch):
        add(commands)
    return parser


def _add_download(commands: Commands) -> None:
    command = commands.add_parser(
        "download",
        help="download the SLB data set from Kaggle, in the layout that --data needs",
        description="Download a data set from Kaggle, check it and lay it out. Needs kagglehub.",
    )
    command.set_defaults(kind=DownloadOptions)
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


def _add_import(commands: Commands) -> None:
    command = commands.add_parser(
        "import",
        help="lay out the challenge's files, stacks or whole logs as --data needs them",
        description="Lay out images_train/ or x_train/ with y_train.csv, stacks X_train.npy with "
        "y_train.npy, logs X/well.npy with masks y/well.npy, or files well_K_section_S_patch_I.npy "
        "as a data set. Values stay as they are stored. DIR/names.csv lists changed names.",
    )
    command.set_defaults(kind=ImportOptions)
    command.add_argument("source", type=Path, metavar="SRC", help="folder, stack or log")
    command.add_argument(
        "--out", type=_parse_new_folder, default="data", metavar="DIR", help="(default: data)"
    )
    command.add_argument(
        "--validation",
        type=int,
        nargs="+",
        default=(),
        metavar="WELL",
        help="wells of the training files that go to validation/ (default: none)",
    )
    command.add_argument("--dry-run", action="store_true", help="show the plan, write nothing")


def _add_check(commands: Commands) -> None:
    command = commands.add_parser(
        "check",
        help="show what a folder holds, and whether a score on it would be biased",
        description="Show what a folder holds. Exit code 0: sound; 1: there is a problem for "
        "training, such as files rejected for another reason than nulls, no labels, or one pipe "
        "under two names or in two splits; 2: the folder is unusable, or the picture cannot be "
        "written.",
    )
    command.set_defaults(kind=CheckOptions)
    command.add_argument("folder", type=Path, metavar="DIR", help="as --data of python -m train")
    command.add_argument(
        "--picture", type=_parse_png, metavar="FILE.png", help="picture of all wells on one page"
    )
    add_measurement_options(command)


def _add_stitch(commands: Commands) -> None:
    command = commands.add_parser(
        "stitch",
        help="stitch patches into whole logs",
        description="Stitch the patches of each well: DIR/well_K.npy (NaN without a patch), its "
        "mask DIR/labels/well_K.npy (255 where unknown), and DIR/test/ for the wells of test/, "
        "which have their own numbers. Row 0 is the top of patch 0.",
    )
    command.set_defaults(kind=StitchOptions)
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
    add_measurement_options(command)


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

"""The command line of the library: `python -m geoseg segment FILE ... -o OUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from geoseg.patches import PatchError, printable_name
from geoseg.progress import track_progress
from geoseg.segment import (
    DEFAULT_CHECKPOINT,
    SegmentOptions,
    WriteError,
    check_targets,
    find_images,
    load_segmenter,
    segment_file,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, or print the help; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m geoseg", description="Find corrosion grooves in ultrasonic logs of pipes."
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    _add_segment_arguments(
        commands.add_parser("segment", help="write the masks of patches and logs")
    )
    arguments = vars(parser.parse_args(argv))
    if arguments.pop("command") is None:
        parser.print_help()
        return 0
    arguments |= {name: tuple(arguments[name]) for name in ("files", "checkpoints")}
    return run_segment(SegmentOptions(**arguments))


def run_segment(options: SegmentOptions) -> int:
    """Segment every file and print what happened; return the exit code."""
    try:
        images = find_images(options.files)
        segmenter = load_segmenter(options)
        check_targets(images, segmenter.names, options)
        failed = 0
        for path in track_progress(images, "Segmenting"):
            try:
                segment_file(path, segmenter, options)
            except ValueError as error:
                failed += 1
                subject = "" if isinstance(error, PatchError) else f"{printable_name(path.name)}: "
                print(f"segment: {subject}{error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("segment: stopped; the files written so far are complete.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"segment: {error}", file=sys.stderr)
        return 1 if isinstance(error, WriteError) else 2
    console = Console(highlight=False, markup=False)
    summary = f"masks of {len(images) - failed:,} images, {failed:,} files skipped"
    console.print(f"{options.output}: {summary}", soft_wrap=True)
    return 1 if failed else 0


def _add_segment_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "For every FILE x.npy, write the folder OUT/x with mask.npy, probability.npy and "
        "summary.json. With several checkpoints, write OUT/CHECKPOINT/x."
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help=".npy files, folders of them or quoted patterns")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    add(
        "--checkpoint",
        dest="checkpoints",
        nargs="+",
        default=(),
        metavar="PATH",
        help="one or more checkpoints, .safetensors files or hf://user/repo on the Hugging Face "
        f"Hub (default: checkpoints/{DEFAULT_CHECKPOINT.name} of the repository)",
    )
    add(
        "--threshold",
        type=_parse_threshold,
        metavar="T",
        help="a probability above T is a groove (default: the threshold of each checkpoint)",
    )
    add(
        "--no-twins",
        dest="split_twins",
        action="store_false",
        help="segment a log of 72 columns whole, not as two logs of 36",
    )
    add("--pictures", action="store_true", help="write picture.png: the image, and with its mask")
    add("--overwrite", action="store_true", help="replace existing files")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")


def _parse_threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())

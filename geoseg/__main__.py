"""The command line of the library: `python -m geoseg segment FILE ... -o OUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from geoseg.command_line import run_command
from geoseg.measurement_options import add_measurement_options, take_measurement_options
from geoseg.segment import DEFAULT_CHECKPOINT, SegmentOptions, segment_files
from geoseg.wells.units import WellGeometry, parse_length
from geoseg.wells.writing import FORMATS

_LENGTHS = {
    "pitch": "distance from row to row (default: from the file's depths)",
    "diameter": "outer diameter of the pipe (default: from the file's header)",
    "wall": "nominal wall thickness (default: from the file's header)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, or print the help; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m geoseg", description="Find corrosion grooves in ultrasonic logs of pipes."
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    segment = commands.add_parser(
        "segment",
        help="write the masks of patches and logs",
        description="For every FILE x.npy, x.csv, x.las or x.dlis, write the folder OUT/x with "
        "mask.npy, probability.npy, grooves.csv, joints.csv and summary.json. With several "
        "checkpoints, write OUT/CHECKPOINT/x.",
    )
    add = segment.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help=".npy, csv, LAS or DLIS files, folders of .npy files, or quoted patterns",
    )
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    add(
        "--checkpoint",
        dest="checkpoints",
        nargs="+",
        default=[DEFAULT_CHECKPOINT],
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
    add("--pictures", action="store_true", help="write picture.png: the image, and with its mask")
    add("--overwrite", action="store_true", help="replace existing files")
    add("--write", choices=FORMATS, help="write mask and probability with their depths, result.EXT")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add_measurement_options(segment)
    add = segment.add_argument_group("wells").add_argument
    add("--channel", metavar="NAME", help="the image, where a LAS or DLIS file holds several")
    add("--frame", metavar="NAME", help="its frame, where a DLIS file holds several")
    for name, what in _LENGTHS.items():
        add(f"--{name}", type=_parse_length, metavar="LENGTH", help=f"{what}; 1.5in, 38mm")
    arguments = vars(parser.parse_args(argv))
    if arguments.pop("command") is None:
        parser.print_help()
        return 0
    measurements = take_measurement_options(arguments)
    pitch, diameter, wall = (arguments.pop(name) for name in _LENGTHS)
    geometry = WellGeometry(pitch, diameter, wall)
    options = SegmentOptions(**arguments, measurements=measurements, geometry=geometry)
    stopped = "stopped; the files written so far are complete"
    return run_command("segment", lambda: segment_files(options), stopped)


def _parse_length(text: str) -> float:
    try:
        return parse_length(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parse_threshold(text: str) -> float:
    try:
        if 0 <= (value := float(text)) <= 1:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")


if __name__ == "__main__":
    sys.exit(main())

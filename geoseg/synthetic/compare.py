"""`python -m geoseg.synthetic.compare LOG.npy ...`: compare synthetic wells with real logs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from geoseg.atomic_files import atomic_write_text
from geoseg.command_line import run_command
from geoseg.masks import read_mask
from geoseg.measurement_options import add_measurement_options, take_measurement_options
from geoseg.measurements import DEFAULT, MeasurementOptions, read_npy_log
from geoseg.synthetic.logs import synthesize
from geoseg.synthetic.validation.log_statistics import COLUMNS, LATTICE_ROWS, UNITS, measure_log
from geoseg.synthetic.validation.robust_statistics import quantile
from geoseg.synthetic.validation.strips import cut_strips, save_strips

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]
Measures = Mapping[str, float]

STRIPS = 8  # strips of each kind in the picture


@dataclass(frozen=True)
class CompareOptions:
    """The command line; the help of each option says what it means."""

    logs: Sequence[Path]
    masks: Sequence[Path]
    wells: int
    rows: int
    seed: int
    picture: Path | None
    report: Path | None
    measurements: MeasurementOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parse_options(arguments)
    return run_command("compare", lambda: compare(options))


def compare(options: CompareOptions) -> int:
    """Print the comparison, write the picture and the report, and return the exit code."""
    images, labels = read_logs(options.logs, options.masks, options.measurements)
    real = {}
    for name, image in images.items():
        try:
            real[name] = measure_log(image, labels.get(name))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    made = make_wells(options.wells, options.rows, options.seed)
    console = Console(stderr=True)
    synthetic = {
        name: measure_log(*well)
        for name, well in track(made.items(), "Measuring", console=console, transient=True)
    }
    ranges = {name: find_range([well[name] for well in synthetic.values()]) for name in UNITS}
    table = make_table(ranges, real, f"{options.wells} synthetic wells; * outside their range")
    Console(width=None if sys.stdout.isatty() else 80 + 12 * len(real)).print(table)
    if options.report:
        values = {name: getattr(options, name) for name in ("wells", "rows", "seed")}
        values["units"] = UNITS
        values |= {"synthetic": _replace_nan(synthetic), "real": _replace_nan(real)}
        values["outside"] = {
            well: [name for name, v in measures.items() if is_outside(v, ranges[name])]
            for well, measures in real.items()
        }
        atomic_write_text(options.report, json.dumps(values, indent=1) + "\n")
    if options.picture:
        random = np.random.default_rng(options.seed)
        shuffled = {name: made[name][0] for name in random.permutation(list(made))}
        save_strips(cut_strips(shuffled, images, STRIPS, random), options.picture)
    return 0


def read_logs(
    paths: Sequence[Path], mask_paths: Sequence[Path], options: MeasurementOptions = DEFAULT
) -> tuple[dict[str, Image], dict[str, Mask]]:
    """Read logs (Z, A), and the masks that exist, by the stem of their file names.

    Print what was assumed of them.
    """
    read = {path.stem: read_npy_log(path, options) for path in paths}
    for name, log in read.items():
        if log.notes:
            print(f"{name}: {' '.join(log.notes)}")
    logs = {name: log.image for name, log in read.items()}
    if len(logs) < len(paths):
        raise ValueError("two logs have the same name; rename one")
    masks = {
        file.stem: read_mask(file, unknown=True)
        for path in mask_paths
        for file in (path.glob("*.np[yz]") if path.is_dir() else [path])
        if file.stem in logs
    }
    if mask_paths and not masks:
        raise ValueError(f"no mask has the name of a log, such as {min(logs)}; check --masks")
    return logs, masks


def make_wells(wells: int, rows: int, seed: int) -> dict[str, tuple[Image, Mask]]:
    """Synthesize logs and masks (Z, A), half of them with 36 columns, half with 72."""
    for name, value, least in (("wells", wells, 2), ("rows", rows, LATTICE_ROWS)):
        if value < least:
            raise ValueError(f"--{name} is {value}; give at least {least}")
    result = {}
    for columns, count in ((COLUMNS, (wells + 1) // 2), (2 * COLUMNS, wells // 2)):
        images, masks = synthesize(count, rows, columns=columns, seed=seed)
        for number, (image, mask) in enumerate(zip(images.numpy(), masks.numpy(), strict=True), 1):
            result[f"{columns}-{number}"] = image, mask
    return result


def find_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Return minimum, median and maximum of one component; NaN if no well shows it."""
    low, middle, high = (quantile(np.array(values), q) for q in (0, 0.5, 1))
    return low, middle, high


def is_outside(value: float, limits: tuple[float, float, float]) -> bool:
    """Return whether a real value lies outside the range of the synthetic wells."""
    return not math.isnan(value) and not limits[0] <= value <= limits[2]


def make_table(
    ranges: Mapping[str, tuple[float, float, float]], real: Mapping[str, Measures], title: str
) -> Table:
    """Return a row per component: its range over the synthetic wells, and each real value."""
    table = Table("component", "unit", title=title)
    for heading in ("min", "median", "max", *real):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, unit in UNITS.items():
        cells = [format_number(value) for value in ranges[name]]
        for well in real.values():
            value = well.get(name, math.nan)
            mark = "[red]*[/red]" if is_outside(value, ranges[name]) else " "
            cells.append(f"{format_number(value)}{mark}")
        table.add_row(name, unit, *cells)
    return table


def format_number(value: float) -> str:
    """Format with three significant digits, without an exponent; NaN is a dash."""
    if math.isnan(value):
        return "-"
    digits = 0 if value == 0 else 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(digits, 0), 6)}f}"


def _parse_options(arguments: Sequence[str] | None) -> CompareOptions:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.synthetic.compare",
        description="Measure logs of real wells and synthetic wells, and compare them.",
    )
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG.npy", help="whole logs (Z, A)")
    parser.add_argument(
        "--masks",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="folder or files of masks named as their logs (.npy or .npz), 255 where unknown",
    )
    parser.add_argument("--wells", type=int, default=16, help="synthetic wells (default: 16)")
    parser.add_argument("--rows", type=int, default=4000, help="rows of each (default: 4000)")
    parser.add_argument("--seed", type=int, default=0, help="0 or more (default: 0)")
    parser.add_argument(
        "--picture", type=Path, metavar="PNG", help="picture of strips of both, shuffled"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", dest="report", help="file for all values of all wells"
    )
    add_measurement_options(parser)
    values = vars(parser.parse_args(arguments))
    measurements = take_measurement_options(values)
    return CompareOptions(**values, measurements=measurements)


def _replace_nan(wells: Mapping[str, Measures]) -> dict[str, dict[str, float | None]]:
    return {
        name: {k: None if math.isnan(v) else v for k, v in well.items()}
        for name, well in wells.items()
    }


if __name__ == "__main__":
    sys.exit(main())

"""`python -m geoseg.synthetic.compare LOG.npy ...`: compare synthetic wells with real logs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from geoseg.atomic_files import atomic_write_text
from geoseg.patches import read_mask, read_patch
from geoseg.synthetic.logs import synthesize
from geoseg.synthetic.validation.log_statistics import COLUMNS, LATTICE_ROWS, UNITS, measure_log

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]
Measures = dict[str, float]

STRIPS = 8  # strips of each kind in the picture


@dataclass(frozen=True)
class Options:
    """The parsed command line."""

    logs: Sequence[Path]
    masks: Sequence[Path]
    wells: int
    rows: int
    seed: int
    picture: Path | None
    json: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = Options(**vars(_parser().parse_args(arguments)))
    console = Console(stderr=True)
    try:
        _check_numbers(options)
        logs, masks = read_logs(options.logs, options.masks)
        real = {name: measure_log(log, masks.get(name)) for name, log in logs.items()}
        wells = make_wells(options.wells, options.rows, options.seed)
        synthetic = {
            name: measure_log(*well)
            for name, well in track(wells.items(), "Measuring", console=console, transient=True)
        }
        Console(width=None if sys.stdout.isatty() else 80 + 12 * len(real)).print(
            make_table(synthetic, real)
        )
        if options.json:
            atomic_write_text(options.json, _format_json(options, synthetic, real))
        if options.picture:
            _save_picture(
                options.picture, options.seed, {name: well[0] for name, well in wells.items()}, logs
            )
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2 if isinstance(error, ValueError) else 1
    return 0


def _check_numbers(options: Options) -> None:
    for name, least in (("wells", 2), ("rows", LATTICE_ROWS), ("seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} is {getattr(options, name)}; give at least {least}")


def read_logs(
    paths: Sequence[Path], mask_paths: Sequence[Path]
) -> tuple[dict[str, Image], dict[str, Mask]]:
    """Read logs (Z, A), and the masks that exist, by the stem of their file names."""
    candidates = {path.stem: path for path in _find_mask_files(mask_paths)}
    logs: dict[str, Image] = {}
    masks: dict[str, Mask] = {}
    for path in paths:
        if path.stem in logs:
            raise ValueError(f"two logs have the name {path.stem}; rename one")
        log = read_patch(path)
        rows, columns = log.shape
        if columns % COLUMNS or rows < LATTICE_ROWS:
            raise ValueError(
                f"{path.name} has the size {rows} x {columns}; give whole logs with at least "
                f"{LATTICE_ROWS} rows and {COLUMNS} columns or a multiple"
            )
        logs[path.stem] = log
        if path.stem in candidates:
            masks[path.stem] = _read_mask(candidates[path.stem], log)
    if candidates and not masks:
        raise ValueError(
            f"no mask has the name of a log: the masks are {', '.join(sorted(candidates)[:5])}, "
            f"the logs {', '.join(sorted(logs)[:5])}; give a mask the name of its log"
        )
    return logs, masks


def _find_mask_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist; check --masks")
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in (".npy", ".npz"))
        if not files:
            raise ValueError(f"{path} has no .npy or .npz file; check --masks")
        yield from files


def _read_mask(path: Path, log: Image) -> Mask:
    mask = read_mask(path, unknown=True)
    if mask.shape != log.shape:
        raise ValueError(
            f"{path.name} has the shape {mask.shape}, its log {log.shape}; they must be equal"
        )
    return mask


def make_wells(wells: int, rows: int, seed: int) -> dict[str, tuple[Image, Mask]]:
    """Synthesize logs and masks (Z, A), half of them with 36 columns, half with 72."""
    result = {}
    for columns, count in ((COLUMNS, (wells + 1) // 2), (2 * COLUMNS, wells // 2)):
        images, masks = synthesize(count, rows, columns=columns, seed=seed)
        for number, (image, mask) in enumerate(zip(images.numpy(), masks.numpy(), strict=True), 1):
            result[f"{columns}-{number}"] = image, mask
    return result


def find_range(synthetic: Mapping[str, Measures], name: str) -> tuple[float, float, float] | None:
    """Return minimum, median and maximum of one component, or None if no well shows it."""
    values = [well[name] for well in synthetic.values() if not math.isnan(well[name])]
    return (min(values), float(np.median(values)), max(values)) if values else None


def is_outside(value: float, limits: tuple[float, float, float] | None) -> bool:
    """Return whether a real value lies outside the range of the synthetic wells."""
    return not math.isnan(value) and (limits is None or not limits[0] <= value <= limits[2])


def make_table(synthetic: Mapping[str, Measures], real: Mapping[str, Measures]) -> Table:
    """Return a row per component: its range over the synthetic wells, and each real value."""
    title = f"{len(synthetic)} synthetic wells; * outside their range"
    table = Table("component", "unit", "min", "median", "max", *real, title=title)
    for column in table.columns[2:]:
        column.justify = "right"
        column.no_wrap = True
    for name, unit in UNITS.items():
        limits = find_range(synthetic, name)
        cells = [format_number(value) for value in limits or [math.nan] * 3]
        for well in real.values():
            value = well.get(name, math.nan)
            mark = "[red]*[/red]" if is_outside(value, limits) else " "
            cells.append(f"{format_number(value)}{mark}")
        table.add_row(name, unit, *cells)
    return table


def format_number(value: float) -> str:
    """Format with three significant digits, without an exponent; NaN is a dash."""
    if math.isnan(value):
        return "-"
    digits = 0 if value == 0 else 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(digits, 0), 6)}f}"


def _format_json(
    options: Options, synthetic: Mapping[str, Measures], real: Mapping[str, Measures]
) -> str:
    def replace_nan(wells: Mapping[str, Measures]) -> dict[str, dict[str, float | None]]:
        return {
            name: {k: None if math.isnan(v) else v for k, v in well.items()}
            for name, well in wells.items()
        }

    outside = {
        well: [name for name, v in values.items() if is_outside(v, find_range(synthetic, name))]
        for well, values in real.items()
    }
    report = {
        "wells": options.wells,
        "rows": options.rows,
        "seed": options.seed,
        "units": UNITS,
        "synthetic": replace_nan(synthetic),
        "real": replace_nan(real),
        "outside": outside,
    }
    return json.dumps(report, indent=1) + "\n"


def _save_picture(
    path: Path, seed: int, synthetic: Mapping[str, Image], real: Mapping[str, Image]
) -> None:
    # Imported here because Pillow is slow to import.
    from geoseg.synthetic.validation.strips import cut_strips, save_strips

    random = np.random.default_rng(seed)
    order = random.permutation(list(synthetic))
    shuffled = {str(name): synthetic[str(name)] for name in order}
    save_strips(cut_strips(shuffled, real, STRIPS, random), path)


def _parser() -> argparse.ArgumentParser:
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
        "--json", type=Path, metavar="FILE", help="file for all values of all wells"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`python -m geoseg.synthetic`: write a synthetic data set in the original's folder layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from geoseg.command_line import run_command
from geoseg.dataset import PatchDataset
from geoseg.dataset.folder import SPLITS
from geoseg.synthetic.datasets import make_sample_dataset, make_synthetic_dataset

NULL_CODES = (-999.25, -999.0, np.nan)  # those of the real data; each well uses one


@dataclass(frozen=True)
class SyntheticOptions:
    """The command line; the help of each option says what it means."""

    out: Path
    wells: int
    patches: int
    seed: int
    samples: bool
    force: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parse_options(arguments)
    stopped = f"stopped; {options.out} may hold part of the data set (--force replaces it)"
    return run_command("synthetic", lambda: synthesize_dataset(options), stopped)


def synthesize_dataset(options: SyntheticOptions) -> int:
    """Write the data set and return the exit code; raise ValueError for unusable options."""
    out = options.out
    if out.exists() and not options.force and (out.is_file() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder; choose another or add --force")
    console = Console(stderr=True)
    with console.status("Synthesizing pipes"):
        dataset = (
            make_sample_dataset()
            if options.samples
            else make_synthetic_dataset(options.wells, options.patches, options.seed)
        )
    write_dataset(dataset, out, console)
    print(_summarise(dataset, out))
    return 0


def write_dataset(dataset: PatchDataset, root: Path, console: Console) -> None:
    """Write `<root>/<split>/{images,labels}/well_K_patch_I.npy`, little-endian float32.

    Nulls become one of NULL_CODES, by well. Patches that the folder already holds are removed, so
    that it holds one data set only.
    """
    for old in root.glob("*/*/well_*_patch_*.npy"):
        if old.parent.parent.name in SPLITS and old.parent.name in ("images", "labels"):
            old.unlink()
    images, masks = (array.cpu().numpy().astype("<f4") for array in (dataset.images, dataset.masks))
    rows = zip(dataset.names, images, masks, dataset.wells.tolist(), strict=True)
    for name, image, mask, well in track(rows, "Writing", len(dataset), console=console):
        filled = np.where(np.isnan(image), np.float32(NULL_CODES[well % 3]), image)
        for path, array in ((name, filled), (name.replace("/images/", "/labels/"), mask)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            np.save(root / path, array)


def _parse_options(arguments: Sequence[str] | None) -> SyntheticOptions:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.synthetic",
        description="Write synthetic patches with known grooves in the layout of the SLB data set.",
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder (default: data)")
    parser.add_argument("--wells", type=int, default=15, help="pipes (default: 15)")
    parser.add_argument("--patches", type=int, default=9674, help="in all (default: 9674)")
    parser.add_argument("--seed", type=int, default=0, help="0 or more (default: 0)")
    parser.add_argument(
        "--samples", action="store_true", help="write the page's 48 sample patches instead"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the patches that the folder already holds"
    )
    return SyntheticOptions(**vars(parser.parse_args(arguments)))


def _summarise(dataset: PatchDataset, root: Path) -> str:
    counts = []
    for split in dict.fromkeys(dataset.splits):
        wells = dataset.wells[[name == split for name in dataset.splits]]
        counts.append(f"{len(wells):,} {split} patches of {len(wells.unique())} wells")
    share = dataset.masks.float().mean()
    return f"{root}: {', '.join(counts)}; {share:.1%} of the pixels are groove"


if __name__ == "__main__":
    sys.exit(main())

"""How fast the data comes: `python benchmarks/dataset.py` writes benchmarks/dataset.json.

Makes a set of the original's size, writes it as files, and times in turn, in this one process:
reading every file, the same with the cache written, the second start, which reads the cache, and
the comparison of all patches with those of other wells, which `geoseg.dataset check` does.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from geoseg import PatchDataset
from geoseg.dataset import CACHE_NAME
from geoseg.dataset.check.duplicates import find_duplicate_wells
from geoseg.synthetic import make_synthetic_dataset
from geoseg.synthetic.__main__ import write_dataset

ROUNDS = 5
OUTPUT = Path(__file__).with_suffix(".json")


def textbook(root: Path) -> None:
    """What the original does in each epoch: every image and label by `numpy.load`."""
    for path in sorted(root.glob("*/images/*.npy")):
        np.load(path)
        np.load(path.parent.parent / "labels" / path.name)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    console = Console()
    made = time.perf_counter()
    dataset = make_synthetic_dataset()
    made = time.perf_counter() - made
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(dataset, root, console)

        def first() -> None:
            (root / CACHE_NAME).unlink(missing_ok=True)
            PatchDataset.load(root, progress=False)

        steps: dict[str, Callable[[], object]] = {
            "numpy.load of every file": lambda: textbook(root),
            "first start, cache written": first,
            "second start, from the cache": lambda: PatchDataset.load(root).images.sum(),
            "comparing all wells": lambda: find_duplicate_wells(dataset),
        }
        rounds = [{name: seconds(step) for name, step in steps.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(r[name] for r in rounds) for name in steps}
    ratios = [r["numpy.load of every file"] / r["second start, from the cache"] for r in rounds]
    result = {
        "patches": len(dataset),
        "median_seconds": {name: round(value, 3) for name, value in medians.items()},
        "second_start_over_numpy_load": round(statistics.median(ratios), 1),
        "synthetic_patches_per_second": round(len(dataset) / made),
        "rounds": ROUNDS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    console.print_json(data=result)


if __name__ == "__main__":
    main()

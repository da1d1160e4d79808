"""Measure how fast a data set loads: `python benchmarks/dataset.py` writes benchmarks/dataset.json.

Make a set of the original's size, write it as files, and time in turn, in one process: reading
every file; the first start, which also writes the cache; the second start, which reads the cache;
and comparing all patches with those of other wells, as `python -m geoseg.dataset check` does.
"""

from __future__ import annotations

import argparse
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


def load_every_file(root: Path) -> None:
    """Read every image and label with `numpy.load`, as the original does in each epoch."""
    for path in sorted(root.glob("*/images/*.npy")):
        np.load(path)
        np.load(path.parent.parent / "labels" / path.name)


def time_call(call: Callable[[], object]) -> float:
    """Return the wall time of one call in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    console = Console()
    start = time.perf_counter()
    dataset = make_synthetic_dataset()
    elapsed = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(dataset, root, console)

        def first_start() -> None:
            (root / CACHE_NAME).unlink(missing_ok=True)
            PatchDataset.load(root, progress=False)

        steps: dict[str, Callable[[], object]] = {
            "numpy.load of every file": lambda: load_every_file(root),
            "first start, cache written": first_start,
            "second start, from the cache": lambda: PatchDataset.load(root).images.sum(),
            "comparing all wells": lambda: find_duplicate_wells(dataset),
        }
        rounds = [{name: time_call(step) for name, step in steps.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(r[name] for r in rounds) for name in steps}
    ratios = [r["numpy.load of every file"] / r["second start, from the cache"] for r in rounds]
    result = {
        "patches": len(dataset),
        "median_seconds": {name: round(value, 3) for name, value in medians.items()},
        "second_start_over_numpy_load": round(statistics.median(ratios), 1),
        "synthetic_patches_per_second": round(len(dataset) / elapsed),
        "rounds": ROUNDS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    console.print_json(data=result)


if __name__ == "__main__":
    main()

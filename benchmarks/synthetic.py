"""Measure the synthetic generator: `python benchmarks/synthetic.py` writes synthetic.json.

Time in turn, in one process: making an epoch of new pipes, and training the smallest architecture
on as many patches, which must not wait for them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console

from geoseg.segmenter import choose_device
from geoseg.synthetic import make_fresh_dataset
from train.experiments import find_experiments
from train.loop import Trainer
from train.sampling import prepare
from train.tuning import choose_tuning

PATCHES, ROUNDS = 8192, 5
SMALLEST = "micro-fast"
OUTPUT = Path(__file__).with_suffix(".json")


def main() -> None:
    """Measure, print and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    device = choose_device()
    (experiment,) = find_experiments([SMALLEST])
    making, training = [], []  # patches per second
    for repeat in range(ROUNDS + 1):
        start = time.perf_counter()
        dataset = make_fresh_dataset(PATCHES, generation=repeat, device=device)
        if device.type == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
        patches = prepare(dataset, experiment.normalisation, device)
        tuning = choose_tuning(device, PATCHES)
        trainer = Trainer(experiment, patches, patches, tuning=tuning)
        epoch = trainer.run_epoch(lambda _: True)
        assert epoch
        if repeat:  # the first one warms up
            making.append(PATCHES / elapsed)
            training.append(epoch.patches_per_second)
    result = {
        "patches_per_second": round(statistics.median(making)),
        "least": round(min(making)),
        "most": round(max(making)),
        f"{SMALLEST}_trains_per_second": round(statistics.median(training)),
        "made_over_trained": round(
            statistics.median(a / b for a, b in zip(making, training, strict=True)), 1
        ),
        "rounds": ROUNDS,
        "device": str(device),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    Console().print_json(data=result)


if __name__ == "__main__":
    main()

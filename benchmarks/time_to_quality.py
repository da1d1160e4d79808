"""How soon a recipe is good: `python benchmarks/time_to_quality.py` writes time_to_quality.json.

For each family and seed, on synthetic wells of which whole ones are left out: the original's
recipe to its end, and the patches it has seen when its validation IoU is best; then the family's
`fast` recipe, and the patches it has seen when it first is as good. Seconds are patches times the
seconds a patch takes in training, measured beforehand in turn for the textbook loop and for both
recipes in ours. What is done already is kept, so the command can be stopped and called again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import textbook
import torch
from rich.console import Console
from training import README, Ours, describe, seconds

from geoseg import Normalisation
from geoseg.dataset import PatchDataset, by_folder
from geoseg.segmenter import choose_device
from geoseg.synthetic import synthetic_dataset
from geoseg.synthetic.__main__ import write_dataset
from train.experiments import Experiment, find_experiments
from train.loop import Trainer
from train.readme import renew
from train.sampling import prepare
from train.tuning import choose_tuning

# The original's recipe, ours, and how many patches; the stacked model takes eight times as long.
FAMILIES = (("300", "vanilla-fast", 960), ("402", "unet-fast", 960), ("200", "stacked-fast", 240))
WELLS, SET_SEED = 15, 7
OUTPUT = Path(__file__).with_suffix(".json")


VARIED = "402"
VARIANTS: dict[str, dict[str, Any]] = {
    "Adam alone, rate 1e-3": {"muon": None},
    "views drawn anew each epoch": {"cycle": False},
    "moving average, decay 0.99": {"average": 0.99},
    "loss bce": {"loss": "bce"},
    "loss dice": {"loss": "dice"},
    "batch 16": {"batch": 16},
}


def curve(
    experiment: Experiment, data: PatchDataset, device: torch.device, seed: int
) -> list[float]:
    """Validation IoU after every epoch."""
    sides = [prepare(side, Normalisation(), device) for side in by_folder(data)]
    tuning = choose_tuning(device, experiment.epochs * len(sides[0]))
    trainer = Trainer(experiment, *sides, seed=seed, tuning=tuning)
    scores: list[float] = []
    while trainer.epoch < experiment.epochs:
        epoch = trainer.run_epoch(lambda _: True)
        assert epoch
        scores.append(round(epoch.metrics["iou"], 4))
    return scores


def seconds_a_patch(
    original: Experiment, fast: Experiment, data: PatchDataset, device: torch.device
) -> dict[str, float]:
    """Of training alone, medians of rounds in turn."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(data, Path(folder), Console(quiet=True))
        contestants: dict[str, textbook.Loop | Ours] = {
            "textbook": textbook.Loop(original, Path(folder), device),
            "original": Ours(original, data, device),
            "fast": Ours(fast, data, device),
        }
        batches = {"textbook": original.batch, "original": original.batch, "fast": fast.batch}
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(6):
            for name, contestant in contestants.items():
                steps = max(1, 128 // batches[name])
                spent = seconds(partial(contestant.run, steps), device)
                if turn:  # the first one finds and allocates
                    taken[name].append(spent / (steps * batches[name]))
    return {name: round(statistics.median(values), 6) for name, values in taken.items()}


def table(results: dict[str, Any]) -> str:
    """README's rows: means over the seeds."""
    lines = [
        "| family | best IoU of the original's recipe | patches until then | until as good, fast "
        "recipe | seconds: textbook | original's, our loop | fast | fast's own best IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, result in results["families"].items():
        runs, a_patch = list(result["seeds"].values()), result["seconds_a_patch"]
        best = [max(run["original"]) for run in runs]
        before = [_patches(run["original"], max(run["original"]), result["train"]) for run in runs]
        after = [_patches(run["fast"], max(run["original"]), result["train"]) for run in runs]
        if None in after:
            after = [float("nan")]
        old, new = statistics.mean(before), statistics.mean(after)
        lines.append(
            f"| {family} | {_spread(best)} | {old:,.0f} | {new:,.0f} | "
            f"{old * a_patch['textbook']:,.0f} | {old * a_patch['original']:,.0f} | "
            f"**{new * a_patch['fast']:,.0f}** | {_spread([max(run['fast']) for run in runs])} |"
        )
    return "\n".join(lines)


def variants_table(variants: dict[str, dict[str, list[float]]]) -> str:
    """README's rows: the last epoch's IoU, the best variant first."""
    ends = {name: [scores[-1] for scores in seeds.values()] for name, seeds in variants.items()}
    rows = [
        f"| {name} | {_spread(ends[name])} |"
        for name in sorted(ends, key=lambda name: -statistics.mean(ends[name]))
    ]
    return "\n".join(["| changed in `unet-fast` | IoU after 10 epochs |", "|---|---|", *rows])


def _patches(scores: Sequence[float], enough: float, train: int) -> int | None:
    """How many patches were seen when `scores` first reached `enough`."""
    return next((n * train for n, iou in enumerate(scores, 1) if iou >= enough), None)


def _spread(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--afresh", action="store_true", help="forget what was measured before")
    arguments = parser.parse_args()
    device, console = choose_device(arguments.device), Console()
    kept = OUTPUT.exists() and not arguments.afresh
    results: dict[str, Any] = json.loads(OUTPUT.read_text()) if kept else {"families": {}}
    results |= {"device": describe(device), "torch": torch.__version__, "wells": WELLS}
    for original_name, fast_name, patches in FAMILIES:
        original, fast = find_experiments([original_name, fast_name])
        data = synthetic_dataset(WELLS, patches, SET_SEED)
        result = results["families"].setdefault(original.label, {"seeds": {}})
        result["train"] = len(by_folder(data)[0])
        if "seconds_a_patch" not in result:
            result["seconds_a_patch"] = seconds_a_patch(original, fast, data, device)
        for seed in range(arguments.seeds):
            runs = result["seeds"].setdefault(str(seed), {})
            for name, experiment in (("original", original), ("fast", fast)):
                if name not in runs:
                    runs[name] = curve(experiment, data, device, seed)
                    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
                console.print(f"{experiment.label} seed {seed}: {max(runs[name]):.4f}")
    original_name, fast_name, patches = next(row for row in FAMILIES if row[0] == VARIED)
    original, fast = find_experiments([original_name, fast_name])
    data = synthetic_dataset(WELLS, patches, SET_SEED)
    for name, changes in VARIANTS.items():
        seeds = results.setdefault("variants", {}).setdefault(name, {})
        for seed in map(str, range(arguments.seeds)):
            if seed not in seeds:
                seeds[seed] = curve(replace(fast, **changes), data, device, int(seed))
                OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
            console.print(f"{fast_name}, {name}, seed {seed}: {seeds[seed][-1]:.4f}")
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    renew(README, "time to quality", table(results))
    recipe = results["families"][original.label]["seeds"]
    as_it_is = {"nothing": {seed: runs["fast"] for seed, runs in recipe.items()}}
    renew(README, "variants", variants_table(as_it_is | results["variants"]))


if __name__ == "__main__":
    main()

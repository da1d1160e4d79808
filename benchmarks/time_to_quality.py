"""Measure the time that a recipe needs for a given quality: `python benchmarks/time_to_quality.py`.

For each family and seed, with whole synthetic wells left out: train the original's recipe to its
end and count the patches seen when its validation IoU is best; then train the family's `fast`
recipe and count the patches seen when it is first as good. Seconds are patches times the seconds
per patch, measured beforehand in turn for the textbook loop and for both recipes in our loop. Write
benchmarks/time_to_quality.json and the tables in docs/performance.md. Finished curves are kept, so
the command can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import textbook
import torch
from rich.console import Console
from training import DOCUMENT, Ours, describe, time_call

from geoseg import Normalisation
from geoseg.dataset import PatchDataset, split_by_folder
from geoseg.segmenter import choose_device
from geoseg.synthetic import make_synthetic_dataset
from geoseg.synthetic.__main__ import write_dataset
from train.experiments import Experiment, find_experiments
from train.loop import Trainer
from train.markdown_tables import replace_table
from train.sampling import prepare
from train.tuning import choose_tuning

# The original's recipe, ours, and the number of patches; the stacked model is eight times slower.
FAMILIES = (("300", "vanilla-fast", 960), ("402", "unet-fast", 960), ("200", "stacked-fast", 240))
WELLS, SET_SEED = 15, 7
OUTPUT = Path(__file__).with_suffix(".json")
SEEDS = range(3)
FAST_VARIED = "unet-fast"
VARIANTS: dict[str, dict[str, Any]] = {
    "Adam alone, rate 1e-3": {"muon": None},
    "views drawn anew each epoch": {"cycle": False},
    "moving average, decay 0.99": {"average": 0.99},
    "loss dice": {"loss": "dice"},
}


def train_curve(
    experiment: Experiment, data: PatchDataset, device: torch.device, seed: int
) -> list[float]:
    """Train and return the validation IoU after every epoch."""
    sides = [prepare(side, Normalisation(), device) for side in split_by_folder(data)]
    tuning = choose_tuning(device, experiment.epochs * len(sides[0]))
    trainer = Trainer(experiment, *sides, seed=seed, tuning=tuning)
    scores: list[float] = []
    while trainer.epoch < experiment.epochs:
        epoch = trainer.run_epoch(lambda _: True)
        assert epoch
        scores.append(round(epoch.metrics["iou"], 4))
    return scores


def measure_seconds_per_patch(
    original: Experiment, fast: Experiment, data: PatchDataset, device: torch.device
) -> dict[str, float]:
    """Measure training alone; return medians of rounds in turn."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(data, Path(folder), Console(quiet=True))
        contestants: dict[str, textbook.Loop | Ours] = {
            "textbook": textbook.Loop(original, Path(folder), device),
            "original": Ours(original, data, device),
            "fast": Ours(fast, data, device),
        }
        batches = {"textbook": original.batch, "original": original.batch, "fast": fast.batch}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for repeat in range(6):
            for name, contestant in contestants.items():
                steps = max(1, 128 // batches[name])
                elapsed = time_call(partial(contestant.run, steps), device)
                if repeat:  # the first one compiles and allocates
                    times[name].append(elapsed / (steps * batches[name]))
    return {name: round(statistics.median(values), 6) for name, values in times.items()}


def tables(results: dict[str, Any]) -> tuple[str, str]:
    """Format the two Markdown tables: the families' needs and the variants' scores."""
    families = [
        "| family | the original's best IoU | patches until then, original's | fast | seconds, "
        "textbook | original's in our loop | fast | fast's best IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, result in results["families"].items():
        original, fast = (results["curves"][name]["scores"] for name in (family, result["fast"]))
        seconds, train = result["seconds_a_patch"], result["train"]
        goals = {seed: max(scores) for seed, scores in original.items()}
        old, new = (
            [patches_until(scores[seed], goal, train) for seed, goal in goals.items()]
            for scores in (original, fast)
        )
        before, after = (statistics.mean(n for n in until if n) for until in (old, new))
        missed = f", not in {new.count(None)} of {len(new)}" * (None in new)
        families.append(
            f"| {family} | {_spread(goals.values())} | {before:,.0f} | {after:,.0f}{missed} | "
            f"{before * seconds['textbook']:,.0f} | {before * seconds['original']:,.0f} | "
            f"**{after * seconds['fast']:,.0f}** | {_spread(map(max, fast.values()))} |"
        )
    ends = {
        name: [scores[-1] for scores in results["curves"][key]["scores"].values()]
        for name, key in (("nothing", FAST_VARIED), *((name, name) for name in VARIANTS))
    }
    best_first = sorted(ends, key=lambda name: -statistics.mean(ends[name]))
    rows = [f"| {name} | {_spread(ends[name])} |" for name in best_first]
    heading = [f"| changed in `{FAST_VARIED}` | IoU after 10 epochs |", "|---|---|"]
    return "\n".join(families), "\n".join(heading + rows)


def patches_until(scores: Sequence[float], goal: float, train: int) -> int | None:
    """Return the number of patches seen when `scores` first reached `goal`."""
    return next((n * train for n, iou in enumerate(scores, 1) if iou >= goal), None)


def _spread(values: Iterable[float]) -> str:
    values = list(values)
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


class SavedResults:
    """The results file; results of another device or recipe are ignored."""

    def __init__(self, path: Path, device: torch.device, discard: bool) -> None:
        about = {"device": describe(device), "torch": torch.__version__, "wells": WELLS}
        self.path = path
        self.results: dict[str, Any] = {**about, "families": {}, "curves": {}}
        if path.exists() and not discard:
            saved = json.loads(path.read_text())
            if {name: saved[name] for name in about} == about:
                self.results = saved

    def scores(self, name: str, experiment: Experiment) -> dict[str, list[float]]:
        """Return the finished curves of a recipe by seed, to be completed in place."""
        recipe, curves = repr(experiment), self.results["curves"]
        if curves.get(name, {}).get("recipe") != recipe:
            curves[name] = {"recipe": recipe, "scores": {}}
        return curves[name]["scores"]

    def save(self) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(self.results, indent=2) + "\n")


def main() -> None:
    """Measure missing results, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--afresh", action="store_true", help="discard earlier results")
    arguments = parser.parse_args()
    device, console = choose_device(arguments.device), Console()
    saved = SavedResults(OUTPUT, device, arguments.afresh)

    def complete(name: str, experiment: Experiment, data: PatchDataset) -> None:
        scores = saved.scores(name, experiment)
        for seed in SEEDS:
            if str(seed) not in scores:
                scores[str(seed)] = train_curve(experiment, data, device, seed)
                saved.save()
            console.print(f"{name}, seed {seed}: {max(scores[str(seed)]):.4f}")

    for original_name, fast_name, patches in FAMILIES:
        original, fast = find_experiments([original_name, fast_name])
        data = make_synthetic_dataset(WELLS, patches, SET_SEED)
        result = saved.results["families"].setdefault(original.run_name, {})
        result |= {"fast": fast_name, "train": len(split_by_folder(data)[0])}
        if "seconds_a_patch" not in result:
            result["seconds_a_patch"] = measure_seconds_per_patch(original, fast, data, device)
        complete(original.run_name, original, data)
        complete(fast_name, fast, data)
        for name, changes in VARIANTS.items() if fast_name == FAST_VARIED else ():
            complete(name, replace(fast, **changes), data)
    saved.save()
    for name, body in zip(("time to quality", "variants"), tables(saved.results), strict=True):
        replace_table(DOCUMENT, name, body)


if __name__ == "__main__":
    main()

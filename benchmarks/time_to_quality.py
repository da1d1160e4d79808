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
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import textbook
import torch
from rich.console import Console
from training import README, Ours, describe, seconds

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

# The original's recipe, ours, and how many patches; the stacked model takes eight times as long.
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


def curve(
    experiment: Experiment, data: PatchDataset, device: torch.device, seed: int
) -> list[float]:
    """Validation IoU after every epoch."""
    sides = [prepare(side, Normalisation(), device) for side in split_by_folder(data)]
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


def tables(results: dict[str, Any]) -> tuple[str, str]:
    """README's two: what the families need, and what the variants come to."""
    families = [
        "| family | the original's best IoU | patches until then, original's | fast | seconds, "
        "textbook | original's in our loop | fast | fast's best IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, result in results["families"].items():
        original, fast = (results["curves"][name]["scores"] for name in (family, result["fast"]))
        a_patch, train = result["seconds_a_patch"], result["train"]
        goals = {seed: max(scores) for seed, scores in original.items()}
        old, new = (
            [patches_until(scores[seed], goal, train) for seed, goal in goals.items()]
            for scores in (original, fast)
        )
        before, after = (statistics.mean(n for n in until if n) for until in (old, new))
        missed = f", not in {new.count(None)} of {len(new)}" * (None in new)
        families.append(
            f"| {family} | {_spread(goals.values())} | {before:,.0f} | {after:,.0f}{missed} | "
            f"{before * a_patch['textbook']:,.0f} | {before * a_patch['original']:,.0f} | "
            f"**{after * a_patch['fast']:,.0f}** | {_spread(map(max, fast.values()))} |"
        )
    ends = {
        name: [scores[-1] for scores in results["curves"][key]["scores"].values()]
        for name, key in (("nothing", FAST_VARIED), *((name, name) for name in VARIANTS))
    }
    best_first = sorted(ends, key=lambda name: -statistics.mean(ends[name]))
    rows = [f"| {name} | {_spread(ends[name])} |" for name in best_first]
    heading = [f"| changed in `{FAST_VARIED}` | IoU after 10 epochs |", "|---|---|"]
    return "\n".join(families), "\n".join(heading + rows)


def patches_until(scores: Sequence[float], enough: float, train: int) -> int | None:
    """How many patches were seen when `scores` first reached `enough`."""
    return next((n * train for n, iou in enumerate(scores, 1) if iou >= enough), None)


def _spread(values: Iterable[float]) -> str:
    known = list(values)
    return f"{statistics.mean(known):.3f} ± {statistics.stdev(known):.3f}"


class Record:
    """What is measured already, in a file; of another device or recipe it knows nothing."""

    def __init__(self, path: Path, device: torch.device, afresh: bool) -> None:
        about = {"device": describe(device), "torch": torch.__version__, "wells": WELLS}
        self.path = path
        self.results: dict[str, Any] = {**about, "families": {}, "curves": {}}
        if path.exists() and not afresh:
            found = json.loads(path.read_text())
            if {name: found[name] for name in about} == about:
                self.results = found

    def scores(self, name: str, experiment: Experiment) -> dict[str, list[float]]:
        """The curves of a recipe by seed, as far as they are there, to be completed."""
        recipe, curves = repr(experiment), self.results["curves"]
        if curves.get(name, {}).get("recipe") != recipe:
            curves[name] = {"recipe": recipe, "scores": {}}
        return curves[name]["scores"]

    def save(self) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(self.results, indent=2) + "\n")


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--afresh", action="store_true", help="forget what was measured before")
    arguments = parser.parse_args()
    device, console = choose_device(arguments.device), Console()
    record = Record(OUTPUT, device, arguments.afresh)

    def complete(name: str, experiment: Experiment, data: PatchDataset) -> None:
        scores = record.scores(name, experiment)
        for seed in SEEDS:
            if str(seed) not in scores:
                scores[str(seed)] = curve(experiment, data, device, seed)
                record.save()
            console.print(f"{name}, seed {seed}: {max(scores[str(seed)]):.4f}")

    for original_name, fast_name, patches in FAMILIES:
        original, fast = find_experiments([original_name, fast_name])
        data = make_synthetic_dataset(WELLS, patches, SET_SEED)
        result = record.results["families"].setdefault(original.run_name, {})
        result |= {"fast": fast_name, "train": len(split_by_folder(data)[0])}
        if "seconds_a_patch" not in result:
            result["seconds_a_patch"] = seconds_a_patch(original, fast, data, device)
        complete(original.run_name, original, data)
        complete(fast_name, fast, data)
        for name, changes in VARIANTS.items() if fast_name == FAST_VARIED else ():
            complete(name, replace(fast, **changes), data)
    record.save()
    for name, body in zip(("time to quality", "variants"), tables(record.results), strict=True):
        replace_table(README, name, body)


if __name__ == "__main__":
    main()

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
    "loss dice": {"loss": "dice"},
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


def tables(results: dict[str, Any]) -> tuple[str, str]:
    """README's two: what the families need, and what the variants come to."""
    families = [
        "| family | the original's best IoU | patches until then, original's | fast | seconds, "
        "textbook | original's in our loop | fast | fast's best IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, result in results["families"].items():
        curves, a_patch, train = result["curves"], result["seconds_a_patch"], result["train"]
        goals = [max(scores) for scores in curves["original"].values()]
        until = {
            name: [
                patches_until(scores, goal, train)
                for scores, goal in zip(curves[name].values(), goals, strict=True)
            ]
            for name in ("original", "fast")
        }
        missed = until["fast"].count(None)
        old, new = (statistics.mean(n for n in until[k] if n) for k in ("original", "fast"))
        families.append(
            f"| {family} | {_spread(goals)} | {old:,.0f} | {new:,.0f}"
            f"{f', not in {missed} of {len(goals)}' * (missed > 0)} | "
            f"{old * a_patch['textbook']:,.0f} | {old * a_patch['original']:,.0f} | "
            f"**{new * a_patch['fast']:,.0f}** | "
            f"{_spread([max(scores) for scores in curves['fast'].values()])} |"
        )
    ends = {
        name: [scores[-1] for scores in seeds.values()]
        for name, seeds in results["variants"].items()
    }
    best_first = sorted(ends, key=lambda name: -statistics.mean(ends[name]))
    rows = [f"| {name} | {_spread(ends[name])} |" for name in best_first]
    heading = ["| changed in `unet-fast` | IoU after 10 epochs |", "|---|---|"]
    return "\n".join(families), "\n".join(heading + rows)


def patches_until(scores: Sequence[float], enough: float, train: int) -> int | None:
    """How many patches were seen when `scores` first reached `enough`."""
    return next((n * train for n, iou in enumerate(scores, 1) if iou >= enough), None)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


class Record:
    """What is measured already, in a file; of another device or recipe it knows nothing."""

    def __init__(self, path: Path, device: torch.device, afresh: bool) -> None:
        about = {"device": describe(device), "torch": torch.__version__, "wells": WELLS}
        self.path = path
        self.results: dict[str, Any] = {**about, "families": {}, "variants": {}, "recipes": {}}
        if path.exists() and not afresh:
            found = json.loads(path.read_text())
            if {name: found[name] for name in about} == about:
                self.results = found

    def curves(
        self, place: dict[str, Any], name: str, experiment: Experiment, seeds: int
    ) -> dict[str, list[float]]:
        """The curves of an experiment by seed, as far as they are there; `place` holds them."""
        recipe = repr(experiment)
        if self.results["recipes"].get(name) != recipe:
            self.results["recipes"][name], place[name] = recipe, {}
        place[name] = {s: c for s, c in place.get(name, {}).items() if int(s) < seeds}
        return place[name]

    def save(self) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(self.results, indent=2) + "\n")


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="at least 2 (default: 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--afresh", action="store_true", help="forget what was measured before")
    arguments = parser.parse_args()
    device, console = choose_device(arguments.device), Console()
    record = Record(OUTPUT, device, arguments.afresh)
    seeds = max(2, arguments.seeds)

    def fill(place: dict[str, Any], name: str, experiment: Experiment, data: PatchDataset) -> None:
        curves = record.curves(place, name, experiment, seeds)
        for seed in range(seeds):
            if str(seed) not in curves:
                curves[str(seed)] = curve(experiment, data, device, seed)
                record.save()
            console.print(f"{name}, seed {seed}: {max(curves[str(seed)]):.4f}")

    for original_name, fast_name, patches in FAMILIES:
        original, fast = find_experiments([original_name, fast_name])
        data = synthetic_dataset(WELLS, patches, SET_SEED)
        families = record.results["families"]
        result = families.setdefault(original.label, {"train": len(by_folder(data)[0])})
        if "seconds_a_patch" not in result:
            result["seconds_a_patch"] = seconds_a_patch(original, fast, data, device)
        curves = result.setdefault("curves", {"original": {}, "fast": {}})
        for kind, experiment in (("original", original), ("fast", fast)):
            own = {experiment.label: curves[kind]}
            fill(own, experiment.label, experiment, data)
            curves[kind] = own[experiment.label]
        if original_name == VARIED:
            variants = record.results["variants"]
            variants["nothing"] = curves["fast"]
            for name, changes in VARIANTS.items():
                fill(variants, name, replace(fast, **changes), data)
    record.save()
    for name, body in zip(("time to quality", "variants"), tables(record.results), strict=True):
        renew(README, name, body)


if __name__ == "__main__":
    main()

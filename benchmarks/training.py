"""Measure training speed: `python benchmarks/training.py`.

Run the textbook loop (benchmarks/textbook.py) and ours in turn, in one process, for several rounds:
the three families with the original's recipes, a few steps with the recipe's own batch size.
`--choices` adds our loop without each choice that is made for speed, and with `compile`. Write
benchmarks/training.json and the table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import textbook
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from geoseg import Normalisation
from geoseg.dataset import PatchDataset, split_by_folder
from geoseg.segmenter import choose_device
from geoseg.synthetic import make_synthetic_dataset
from geoseg.synthetic.__main__ import write_dataset
from train.experiments import Experiment, find_experiments
from train.loop import Trainer
from train.markdown_tables import replace_table
from train.sampling import prepare
from train.tuning import CHOICES, choose_tuning, keep_freed_memory

FAMILIES = ("300", "402", "200")
PATCHES = 1280
OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


class Ours:
    """Our training loop for one experiment, a few steps at a time."""

    def __init__(
        self, experiment: Experiment, data: PatchDataset, device: torch.device, **choices: Any
    ) -> None:
        sides = [prepare(side, Normalisation(), device) for side in split_by_folder(data)]
        tuning = choose_tuning(device, experiment.epochs * len(sides[0]), **choices)
        self.trainer = Trainer(experiment, *sides, tuning=tuning)
        # Batches have one size: the smaller last one of an epoch is left out.
        self.steps = len(sides[0]) // experiment.batch

    def run(self, steps: int) -> None:
        """Take `steps` steps."""
        keep_freed_memory(self.trainer.tuning.memory)
        torch.backends.cudnn.deterministic = True  # as the trainer sets it
        remaining = steps

        def on_step(_: int) -> bool:
            nonlocal remaining
            remaining -= 1
            return remaining > 0 and self.trainer.step < self.steps

        while remaining:
            if self.trainer.step == self.steps:
                self.trainer.epoch, self.trainer.step = self.trainer.epoch + 1, 0
            self.trainer.run_epoch(on_step)
        keep_freed_memory(False)  # other contestants run as they would alone


def count_operations(model: nn.Module, device: torch.device) -> float:
    """Count the floating-point operations of one training step for one patch."""
    image = torch.zeros(1, 1, 36, 36, device=device)
    with FlopCounterMode(display=False) as counter:
        model.to(device)(image).sum().backward()
    return float(counter.get_total_flops())


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of a large matrix product, the best of eight."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / min(time_call(lambda: a @ b, device) for _ in range(8))


def time_call(call: Callable[[], Tensor | None], device: torch.device) -> float:
    """Return the wall time of one call in seconds, until the device has finished."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(
    experiment: Experiment,
    data: PatchDataset,
    root: Path,
    device: torch.device,
    rounds: int,
    choices: bool,
) -> dict[str, Any]:
    """Run all contestants in turn; return medians and the range of the ratio."""
    contestants: dict[str, textbook.Loop | Ours] = {
        "textbook": textbook.Loop(experiment, root, device),
        "ours": Ours(experiment, data, device),
    }
    if choices:
        contestants |= {
            f"without {name}": Ours(experiment, data, device, without=[name])
            for name in CHOICES
            if name != "compile" and (name != "graph" or device.type == "cuda")
        }
        contestants["with compile"] = Ours(experiment, data, device, compile=True)
    steps = max(1, (256 if device.type == "cpu" else 25_600) // experiment.batch)
    for contestant in contestants.values():
        contestant.run(2)  # the first steps compile and allocate
    times: dict[str, list[float]] = {name: [] for name in contestants}
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(rounds):
        for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
            peaks[name].append(measure_peak(device, dtype))
        for name, contestant in contestants.items():
            times[name].append(time_call(partial(contestant.run, steps), device))
    patches = steps * experiment.batch
    drawn = count_operations(textbook.MODELS[experiment.architecture](), device)
    ratios = [a / b for a, b in zip(times["textbook"], times["ours"], strict=True)]
    return {
        "batch": experiment.batch,
        "patches_per_second": {
            n: round(patches / statistics.median(t), 1) for n, t in times.items()
        },
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "least": round(min(ratios), 2),
            "most": round(max(ratios), 2),
        },
        "operations_per_patch": {
            "as_drawn": round(drawn),
            "as_done": round(count_operations(experiment.create_model(), device)),
        },
        "share_of_peak": {
            name: round(
                statistics.median(
                    drawn * patches / t / p for t, p in zip(times["ours"], values, strict=True)
                ),
                3,
            )
            for name, values in peaks.items()
        },
        "peak_gflops": {n: round(statistics.median(v) / 1e9) for n, v in peaks.items()},
        "rounds": rounds,
    }


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table: a row for each family on each device."""
    lines = [
        "| device | family | textbook | ours | ratio (least to most) | bf16 peak, drawn / done |",
        "|---|---|---|---|---|---|",
    ]
    for result in results.values():
        for family, row in result["families"].items():
            rates, ratio, shares = row["patches_per_second"], row["ratio"], row["share_of_peak"]
            done = row["operations_per_patch"]["as_done"] / row["operations_per_patch"]["as_drawn"]
            lines.append(
                f"| {result['device']} | {family} | {rates['textbook']:,.0f}/s | "
                f"{rates['ours']:,.0f}/s | **{ratio['median']:.2f}** ({ratio['least']:.2f} to "
                f"{ratio['most']:.2f}) | {shares['bf16']:.0%} / "
                f"{shares['bf16'] * done:.0%} |"
            )
    return "\n".join(lines)


def describe(device: torch.device) -> str:
    """Return a short name of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} cores, {platform.machine()}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-e", "--experiments", nargs="+", default=FAMILIES, metavar="ID")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--choices", action="store_true", help="also measure our loop without each choice"
    )
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    console = Console()
    data = make_synthetic_dataset(15, PATCHES if device.type == "cpu" else 9674)
    families = {}
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(data, Path(folder), console)
        for experiment in find_experiments(arguments.experiments):
            row = measure(
                experiment, data, Path(folder), device, arguments.rounds, arguments.choices
            )
            families[experiment.run_name] = row
            console.print(experiment.run_name)
            console.print_json(data=row)
    results = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    results[device.type] = {
        "device": describe(device),
        "torch": torch.__version__,
        "families": families,
    }
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(DOCUMENT, "training", table(results))


if __name__ == "__main__":
    main()

"""Train experiments of the original project: `python -m train -e 300 301`."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from geoseg.checkpoint import CheckpointError
from geoseg.normalisation import Normalisation
from geoseg.segmenter import choose_device
from train.data import add_data_arguments, load_data
from train.experiments import EXPERIMENTS, Experiment, find_experiments
from train.loop import TrainingError, choose_precision
from train.run import Interrupted, Setting, StopRequest, is_run, run
from train.tracking import TrackingError

MOST_SEEDS = 1 << 32


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument(
        "-e",
        "--experiments",
        nargs="+",
        metavar="ID",
        help="numbers or names of experiments; --list shows them",
    )
    parser.add_argument("--list", action="store_true", help="list the experiments and leave")
    parser.add_argument(
        "-nowb", "--no-wandb", action="store_true", help="do not track with Weights & Biases"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where the runs' folders go (default: runs/)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    add_data_arguments(parser)
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="train for N epochs instead of the recipe's"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu or cuda (default: auto, a GPU where there is one)",
    )
    parser.add_argument("--cpu", action="store_true", help="the same as --device cpu")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of the convolutions (default: auto, bf16 where the processor has it)",
    )
    arguments = parser.parse_args(argv)
    if not arguments.list and not arguments.experiments:
        parser.error("say which experiments with -e; --list shows them")
    if not 0 <= arguments.seed < MOST_SEEDS:
        parser.error(f"--seed is {arguments.seed}; it must be from 0 to {MOST_SEEDS - 1:,}")
    if arguments.epochs is not None and arguments.epochs < 1:
        parser.error(f"--epochs is {arguments.epochs}; it must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Train what the command line asks for; gives the exit code."""
    arguments = parse(argv)
    console = Console(highlight=False)
    if arguments.list:
        for experiment in EXPERIMENTS:
            console.print(_describe(experiment), soft_wrap=True)
        return 0
    try:
        experiments = find_experiments(arguments.experiments)
        if arguments.epochs:
            experiments = [replace(e, epochs=arguments.epochs) for e in experiments]
        device = choose_device("cpu" if arguments.cpu else arguments.device)
        _check_free(experiments, arguments)
        data = load_data(arguments, console)
    except KeyboardInterrupt:
        console.print("Stopped before training began.")
        return 130
    except (OSError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    console.print(f"Data: {data.description}.", soft_wrap=True)
    setting = Setting(
        arguments.output,
        device,
        choose_precision(arguments.precision, device),
        arguments.seed,
        not arguments.no_wandb,
        Normalisation(),
        shlex.join(["python", "-m", "train", *(sys.argv[1:] if argv is None else argv)]),
    )
    try:
        with StopRequest() as stop:
            for experiment in experiments:
                run(experiment, data, setting, stop, console)
                stop.check()
    except Interrupted as signal:
        console.print(f"Stopped by {signal}; last.safetensors holds the weights so far.")
        return signal.exit_code
    except (CheckpointError, OSError, TrackingError, TrainingError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


def _check_free(experiments: list[Experiment], arguments: argparse.Namespace) -> None:
    for experiment in experiments:
        folder = arguments.output / experiment.label
        if is_run(folder) and not arguments.overwrite:
            raise ValueError(
                f"{folder} holds a run already; add --overwrite to replace it, or another -o"
            )
        folder.mkdir(parents=True, exist_ok=True)  # better to fail now than after the data


def _describe(e: Experiment) -> str:
    augmentations = " ".join(name for name in ("roll", "flip") if getattr(e, name)) or "plain"
    arguments = ", ".join(f"{k} {v}" for k, v in e.arguments.items()) or "defaults"
    return (
        f"{e.id:>4}  {e.name:31} {e.architecture:8} {arguments:31} {e.epochs:>3} epochs of "
        f"{e.batch:>3}, rate {e.learning_rate:.0e}, {e.loss}, {augmentations}"
    )


if __name__ == "__main__":
    sys.exit(main())

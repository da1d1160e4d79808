"""Train experiments: `python -m train -e 300 301`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from rich.console import Console

from geoseg.checkpoint import CheckpointError, resolve_checkpoint
from geoseg.normalisation import Normalisation
from geoseg.segmenter import choose_device
from geoseg.synthetic.datasets import SEED_LIMIT
from train.cross_validation import summarise_folds
from train.data import Data, add_data_arguments, load_data
from train.distributed import SINGLE_PROCESS, ProcessGroup, local_device
from train.experiments import EXPERIMENTS, Experiment, find_experiments
from train.loop import TrainingError
from train.multi_gpu import list_gpus, run_fleet
from train.run import RunSettings, is_run, run
from train.signals import Interrupted, StopRequest
from train.state import StateError
from train.teacher import find_teacher, load_teacher
from train.tracking import check_names
from train.tuning import CHOICES
from train.wandb_options import Tracking, add_tracking_arguments, choose_tracking

_FAILURES = (CheckpointError, OSError, TrainingError, torch.OutOfMemoryError)


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
        "-o",
        "--output",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where the runs' folders go (default: runs/)",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--resume",
        action="store_true",
        help="go on, bit for bit, with a run that was stopped or killed; start it where none is",
    )
    there.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    parser.add_argument(
        "--save-every",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="save this often; 0 saves after every step (default: 10)",
    )
    add_data_arguments(parser)
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="train for N epochs instead of the recipe's"
    )
    parser.add_argument(
        "--teacher",
        nargs="+",
        default=[],
        metavar="FILE",
        help="checkpoints, or hf://user/repo, to learn from beside the labels, several as the mean "
        "of their logits "
        "(default: the experiment's own teacher, from its run in -o or from checkpoints/)",
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
    parser.add_argument(
        "--compile",
        action="store_true",
        help="let Inductor write the kernels (default: in long runs on a GPU)",
    )
    parser.add_argument(
        "--without",
        nargs="+",
        choices=CHOICES,
        default=[],
        metavar="CHOICE",
        help=f"turn off what is done for speed: {', '.join(CHOICES)}",
    )
    add_tracking_arguments(parser)
    arguments = parser.parse_args(argv)
    if not arguments.list and not arguments.experiments:
        parser.error("say which experiments with -e; --list shows them")
    if not 0 <= arguments.seed < SEED_LIMIT:
        parser.error(f"--seed is {arguments.seed}; it must be from 0 to {SEED_LIMIT - 1:,}")
    for name, asked in (
        ("compile", arguments.compile),
        ("bf16", arguments.precision == "bf16"),
    ):
        if asked and name in arguments.without:
            parser.error(f"{name} is both asked for and left out")
    if arguments.cpu and arguments.device not in ("auto", "cpu"):
        parser.error(f"--cpu and --device {arguments.device} contradict each other")
    if not arguments.save_every >= 0:
        parser.error(f"--save-every is {arguments.save_every}; it must be 0 or more seconds")
    if arguments.epochs is not None and arguments.epochs < 1:
        parser.error(f"--epochs is {arguments.epochs}; it must be at least 1")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Train what the command line asks for; gives the exit code."""
    typed = sys.argv[1:] if argv is None else argv
    arguments = parse(typed)
    console = Console(highlight=False, markup=False)
    if arguments.list:
        for experiment in EXPERIMENTS:
            console.print(_describe(experiment), soft_wrap=True)
        return 0
    ranks = SINGLE_PROCESS
    try:
        experiments = find_experiments(arguments.experiments)
        if arguments.epochs:
            experiments = [replace(e, epochs=arguments.epochs) for e in experiments]
        device = _choose_device(arguments)
        ids = [experiment.id for experiment in experiments]
        tracking = choose_tracking(arguments, ids, console)
        if tracking.wanted:
            check_names(arguments.wandb_project, arguments.wandb_entity, arguments.wandb_tags)
        if _wants_fleet(experiments, device):
            return _run_fleet(experiments, typed, tracking, console)
        ranks = ProcessGroup.join(device)
        console.quiet = ranks.rank > 0
        data = load_data(arguments, console, device)
        arguments.teacher = [resolve_checkpoint(name) for name in arguments.teacher]
        _check_teachers(experiments, data, arguments)
        _check_free(experiments, data, arguments)
    except KeyboardInterrupt:
        console.print("Stopped before training began.")
        ranks.leave()
        return 130
    except (OSError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        ranks.leave()
        return 2
    for part in data:
        console.print(f"Data: {part.description}.", soft_wrap=True)
    setting = _set(arguments, typed, device, ranks, tracking)
    try:
        with StopRequest() as stop:
            for experiment in experiments:
                reports = [run(experiment, part, setting, stop, console) for part in data]
                if arguments.folds and ranks.rank == 0:
                    summarise_folds(reports, arguments.output, experiment.run_name, console)
                if ranks.any(stop.number > 0, device):
                    raise Interrupted(stop.number or signal.SIGTERM)
    except Interrupted as interrupted:
        console.print(f"Stopped by {interrupted}: everything is saved, --resume goes on from here.")
        return interrupted.exit_code
    except (StateError, *_FAILURES) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2 if isinstance(error, StateError) else 1
    finally:
        ranks.leave()
    return 0


def _choose_device(arguments: argparse.Namespace) -> torch.device:
    device = local_device(choose_device("cpu" if arguments.cpu else arguments.device))
    if device.index is not None:
        torch.cuda.set_device(device)  # where streams and graphs are made
    return device


def _set(
    arguments: argparse.Namespace,
    typed: list[str],
    device: torch.device,
    ranks: ProcessGroup,
    tracking: Tracking,
) -> RunSettings:
    return RunSettings(
        arguments.output,
        device,
        arguments.seed,
        ranks,
        precision=arguments.precision,
        compile=arguments.compile,
        without=tuple(arguments.without),
        tracking=tracking,
        command=shlex.join(["python", "-m", "train", *typed]),
        resume=arguments.resume,
        save_every=arguments.save_every,
        teachers=tuple(arguments.teacher),
    )


def _wants_fleet(experiments: list[Experiment], device: torch.device) -> bool:
    """Whether there is a GPU for each of several experiments, and nobody said which one."""
    free = device == torch.device("cuda") and "WORLD_SIZE" not in os.environ
    return free and len(experiments) > 1 and len(list_gpus()) > 1


def _run_fleet(
    experiments: list[Experiment], typed: list[str], tracking: Tracking, console: Console
) -> int:
    gpus = list_gpus()
    console.print(f"{len(experiments)} experiments, one at a time on each of {', '.join(gpus)}.")
    ids = [str(experiment.id) for experiment in experiments]
    with StopRequest() as stop:
        return run_fleet(ids, gpus, typed, stop, console, tracking.environment)


def _check_free(
    experiments: list[Experiment], data: list[Data], arguments: argparse.Namespace
) -> None:
    for experiment, part in product(experiments, data):
        folder = arguments.output / f"{experiment.run_name}{part.suffix}"
        if is_run(folder) and not (arguments.overwrite or arguments.resume):
            raise ValueError(
                f"{folder} holds a run already; add --resume to go on with it, --overwrite to "
                "replace it, or another -o"
            )
        folder.mkdir(parents=True, exist_ok=True)  # better to fail now than later


def _check_teachers(
    experiments: list[Experiment], data: list[Data], arguments: argparse.Namespace
) -> None:
    """ValueError for a teacher that is not there, and will not be when its turn comes."""
    load_teacher(arguments.teacher, Normalisation(), torch.device("cpu"))
    for number, (experiment, part) in enumerate(product(experiments, data)):
        folder = arguments.output / f"{experiment.run_name}{part.suffix}"
        for path in arguments.teacher:
            if path.resolve().parent == folder.resolve():
                raise ValueError(
                    f"{path} would be overwritten by the run that it teaches; copy it elsewhere"
                )
        earlier = {e.id for e in experiments[: number // len(data)]}
        if not arguments.teacher and experiment.teacher not in earlier:
            found = find_teacher(experiment, arguments.output, part.suffix)
            load_teacher(found, Normalisation(), torch.device("cpu"))


def _describe(e: Experiment) -> str:
    views = " ".join(name for name in ("roll", "flip") if getattr(e, name)) or "plain"
    arguments = ", ".join(f"{k} {v}" for k, v in e.arguments.items()) or "defaults"
    muon = f", Muon {e.muon:g}" if e.muon else ""
    toys = f", {e.toy_labels} toys" if e.toy_labels else ""
    teacher = (
        f", taught by {e.teacher} (temperature {e.temperature:g}, weight {e.distillation:g})"
        if e.teacher
        else ""
    )
    return (
        f"{e.id:>5}  {e.name:31} {e.architecture:13} {arguments:49} {e.epochs:>3} epochs of "
        f"{e.batch:>3}, rate {e.learning_rate:.0e}{muon}, {e.loss}, {views}{toys}{teacher}"
    )


if __name__ == "__main__":
    sys.exit(main())

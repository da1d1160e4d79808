"""Train experiments: `python -m train -e 300 301`."""

from __future__ import annotations

import os
import signal
import sys

import torch
from rich.console import Console

from geoseg.command_line import run_command
from geoseg.normalisation import Normalisation
from geoseg.segmenter import choose_device
from train.cross_validation import summarise_folds
from train.data import TrainingData, load_data
from train.distributed import ProcessGroup, local_device
from train.experiments import EXPERIMENTS, Experiment
from train.multi_gpu import train_on_gpus
from train.options import TrainOptions, parse_options
from train.run import RunSettings, has_run, run_experiment
from train.signals import Interrupted, StopRequest
from train.teacher import find_teacher, load_teacher


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return run_command("train", lambda: _run(parse_options(argv)), "stopped before training began")


def _run(options: TrainOptions) -> int:
    console = Console(highlight=False, markup=False)
    if options.list_experiments:
        for experiment in EXPERIMENTS:
            console.print(_describe_experiment(experiment), soft_wrap=True)
        return 0
    device = local_device(choose_device(options.device))
    if device.index is not None:
        torch.cuda.set_device(device)  # streams and graphs are created on the current device
    any_gpu = device == torch.device("cuda") and "WORLD_SIZE" not in os.environ
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count() if any_gpu else 0)]
    ids = [str(experiment.id) for experiment in options.experiments]
    if len(ids) > 1 and len(gpus) > 1:
        console.print(f"{len(ids)} experiments, one at a time on each of {', '.join(gpus)}.")
        environment = {"WANDB_RUN_GROUP": options.wandb_group or ""}
        with StopRequest() as stop:
            return train_on_gpus(ids, gpus, options.arguments, stop, console, environment)
    group = ProcessGroup.join(device)
    try:
        console.quiet = group.rank > 0
        data = load_data(options, console, device)
        _check_runs(options, data)
        with StopRequest() as stop:
            return _train(data, RunSettings(options, device, stop, console, group))
    finally:
        group.leave()


def _train(data: list[TrainingData], settings: RunSettings) -> int:
    """Run every experiment on every fold and return the exit code."""
    options, stop, group = settings.options, settings.stop, settings.group
    for part in data:
        settings.print(f"Data: {part.description}.")
    try:
        for experiment in options.experiments:
            reports = [run_experiment(experiment, part, settings) for part in data]
            if options.folds and group.rank == 0:
                summarise_folds(reports, options.output, experiment.run_name, settings.console)
            if group.any(stop.signal_number > 0, settings.device):
                raise Interrupted(stop.signal_number or signal.SIGTERM)
    except Interrupted as interrupted:
        settings.print(f"Stopped by {interrupted}: everything is saved; continue with --resume.")
        return interrupted.exit_code
    return 0


def _check_runs(options: TrainOptions, data: list[TrainingData]) -> None:
    """Raise ValueError if a run exists, a teacher is missing, or the output is not a folder."""
    cpu, trained = torch.device("cpu"), set()
    load_teacher(options.teachers, Normalisation(), cpu)
    for experiment in options.experiments:
        for part in data:
            folder = options.output / f"{experiment.run_name}{part.suffix}"
            if has_run(folder) and not (options.overwrite or options.resume):
                raise ValueError(
                    f"{folder} already holds a run; add --resume to continue it, --overwrite to "
                    "replace it, or choose another -o"
                )
            if folder.resolve() in {path.resolve().parent for path in options.teachers}:
                raise ValueError(f"{folder} holds the teacher and would overwrite it; move it")
            if not options.teachers and experiment.teacher not in trained:
                teacher = find_teacher(experiment, options.output, part.suffix)
                load_teacher(teacher, Normalisation(), cpu)
        trained.add(experiment.id)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(str(error)) from error


def _describe_experiment(e: Experiment) -> str:
    views = " ".join(name for name in ("roll", "flip") if getattr(e, name)) or "plain"
    arguments = ", ".join(f"{k} {v}" for k, v in e.arguments.items()) or "defaults"
    muon = f", Muon {e.muon:g}" if e.muon else ""
    toys = f", {e.toy_labels} toy labels" if e.toy_labels else ""
    weight = f" (temperature {e.temperature:g}, weight {e.distillation:g})"
    teacher = f", teacher {e.teacher}{weight}" if e.teacher else ""
    return (
        f"{e.id:>5}  {e.name:31} {e.architecture:13} {arguments:49} {e.epochs:>3} epochs of "
        f"{e.batch:>3}, rate {e.learning_rate:.0e}{muon}, {e.loss}, {views}{toys}{teacher}"
    )


if __name__ == "__main__":
    sys.exit(main())

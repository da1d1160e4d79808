"""Train experiments: `python -m train -e 300 301`."""

from __future__ import annotations

import os
import signal
import sys
from itertools import product
from pathlib import Path

import torch
from rich.console import Console

from geoseg.checkpoint import CheckpointError
from geoseg.normalisation import Normalisation
from geoseg.segmenter import choose_device
from train.cross_validation import summarise_folds
from train.data import TrainingData, load_data
from train.distributed import SINGLE_PROCESS, ProcessGroup, local_device
from train.experiments import EXPERIMENTS, Experiment
from train.loop import TrainingError
from train.multi_gpu import list_gpus, train_on_gpus
from train.options import TrainOptions, parse_options
from train.run import RunSettings, has_run, run_experiment
from train.signals import Interrupted, StopRequest
from train.state import StateError
from train.teacher import find_teacher, load_teacher

_RUN_FAILURES = (CheckpointError, OSError, TrainingError, torch.OutOfMemoryError)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    console = Console(highlight=False, markup=False)
    group = SINGLE_PROCESS
    try:
        options = parse_options(argv)
        if options.list_experiments:
            for experiment in EXPERIMENTS:
                console.print(_describe_experiment(experiment), soft_wrap=True)
            return 0
        device = _choose_device(options.device)
        if _has_gpu_per_experiment(options, device):
            return _train_on_gpus(options, console)
        group = ProcessGroup.join(device)
        console.quiet = group.rank > 0
        data = load_data(options.data, console, device)
        _check_teachers(options, data)
        _check_folders(options, data)
    except KeyboardInterrupt:
        console.print("Stopped before training began.")
        group.leave()
        return 130
    except (OSError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        group.leave()
        return 2
    try:
        return _train(options, data, device, group, console)
    finally:
        group.leave()


def _train(
    options: TrainOptions,
    data: list[TrainingData],
    device: torch.device,
    group: ProcessGroup,
    console: Console,
) -> int:
    """Run every experiment on every fold and return the exit code."""
    for part in data:
        console.print(f"Data: {part.description}.", soft_wrap=True)
    settings = RunSettings(options, device, group)
    try:
        with StopRequest() as stop:
            for experiment in options.experiments:
                reports = [run_experiment(experiment, d, settings, stop, console) for d in data]
                if options.data.folds and group.rank == 0:
                    summarise_folds(reports, options.output, experiment.run_name, console)
                if group.any(stop.signal_number > 0, device):
                    raise Interrupted(stop.signal_number or signal.SIGTERM)
    except Interrupted as interrupted:
        console.print(f"Stopped by {interrupted}: everything is saved; continue with --resume.")
        return interrupted.exit_code
    except (StateError, *_RUN_FAILURES) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2 if isinstance(error, StateError) else 1
    return 0


def _choose_device(name: str) -> torch.device:
    device = local_device(choose_device(name))
    if device.index is not None:
        torch.cuda.set_device(device)  # streams and graphs are created on the current device
    return device


def _has_gpu_per_experiment(options: TrainOptions, device: torch.device) -> bool:
    """Return whether several experiments can use several GPUs, and none is named."""
    any_gpu = device == torch.device("cuda") and "WORLD_SIZE" not in os.environ
    return any_gpu and len(options.experiments) > 1 and len(list_gpus()) > 1


def _train_on_gpus(options: TrainOptions, console: Console) -> int:
    gpus = list_gpus()
    ids = [str(experiment.id) for experiment in options.experiments]
    console.print(f"{len(ids)} experiments, one at a time on each of {', '.join(gpus)}.")
    with StopRequest() as stop:
        return train_on_gpus(
            ids, gpus, options.arguments, stop, console, options.tracking.environment
        )


def _run_folder(options: TrainOptions, experiment: Experiment, data: TrainingData) -> Path:
    return options.output / f"{experiment.run_name}{data.suffix}"


def _check_folders(options: TrainOptions, data: list[TrainingData]) -> None:
    """Create the runs' folders; raise ValueError if one holds a run that must not be replaced."""
    for experiment, part in product(options.experiments, data):
        folder = _run_folder(options, experiment, part)
        if has_run(folder) and not (options.overwrite or options.resume):
            raise ValueError(
                f"{folder} already holds a run; add --resume to continue it, --overwrite to "
                "replace it, or choose another -o"
            )
        folder.mkdir(parents=True, exist_ok=True)  # an OSError should come now, not later


def _check_teachers(options: TrainOptions, data: list[TrainingData]) -> None:
    """Raise ValueError for a teacher that is missing, unless an earlier run will make it."""
    load_teacher(options.teachers, Normalisation(), torch.device("cpu"))
    for number, (experiment, part) in enumerate(product(options.experiments, data)):
        folder = _run_folder(options, experiment, part)
        for path in options.teachers:
            if path.resolve().parent == folder.resolve():
                raise ValueError(
                    f"{path} would be overwritten by the run that it teaches; copy it elsewhere"
                )
        earlier = {e.id for e in options.experiments[: number // len(data)]}
        if not options.teachers and experiment.teacher not in earlier:
            found = find_teacher(experiment, options.output, part.suffix)
            load_teacher(found, Normalisation(), torch.device("cpu"))


def _describe_experiment(e: Experiment) -> str:
    views = " ".join(name for name in ("roll", "flip") if getattr(e, name)) or "plain"
    arguments = ", ".join(f"{k} {v}" for k, v in e.arguments.items()) or "defaults"
    muon = f", Muon {e.muon:g}" if e.muon else ""
    toys = f", {e.toy_labels} toy labels" if e.toy_labels else ""
    teacher = (
        f", teacher {e.teacher} (temperature {e.temperature:g}, weight {e.distillation:g})"
        if e.teacher
        else ""
    )
    return (
        f"{e.id:>5}  {e.name:31} {e.architecture:13} {arguments:49} {e.epochs:>3} epochs of "
        f"{e.batch:>3}, rate {e.learning_rate:.0e}{muon}, {e.loss}, {views}{toys}{teacher}"
    )


if __name__ == "__main__":
    sys.exit(main())

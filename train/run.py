"""One run: trains an experiment on its data and writes the run's folder."""

from __future__ import annotations

import json
import platform
import shlex
import signal
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from geoseg.atomic_files import atomic_write_text
from geoseg.dataset import PatchDataset
from train.checkpointing import CHECKPOINTS, RunCheckpointer, lock_folder
from train.data import TrainingData, with_toy_labels
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.experiments import Experiment
from train.loop import Trainer
from train.options import TrainOptions
from train.prediction_samples import PredictionSamples
from train.sampling import PreparedSet, prepare
from train.signals import Interrupted, StopRequest
from train.teacher import find_teacher, load_teacher
from train.tracking import Tracker
from train.tuning import choose_tuning
from train.validation import EpochResult


@dataclass(frozen=True)
class RunSettings:
    """What the runs of one command share."""

    options: TrainOptions
    device: torch.device
    stop: StopRequest
    console: Console
    group: ProcessGroup = SINGLE_PROCESS

    def print(self, message: str) -> None:
        """Print a message without wrapping its lines."""
        self.console.print(message, soft_wrap=True)


def has_run(folder: Path) -> bool:
    """Return whether `folder` holds a checkpoint or a line of metrics."""
    files = [folder / name for name in (*CHECKPOINTS, "metrics.jsonl")]
    return any(file.exists() and file.stat().st_size for file in files)


def run_experiment(
    experiment: Experiment, data: TrainingData, settings: RunSettings
) -> dict[str, Any]:
    """Train one experiment to its end; return the report that is written to report.json.

    The run's folder gets config.json, metrics.jsonl, best.safetensors, last.safetensors and
    resume/. Raise Interrupted, with everything saved, if a signal stops the run; TrainingError if
    it cannot continue; StateError if it cannot be resumed; CheckpointError if its teacher is
    missing or does not fit; OSError if a file cannot be written.
    """
    if experiment.toy_labels:
        data = with_toy_labels(data, experiment.toy_labels)
    options = settings.options
    folder = options.output / f"{experiment.run_name}{data.suffix}"
    trainer = _make_trainer(experiment, data, settings)
    config = _make_config(experiment, data, settings, trainer)
    checkpointer = RunCheckpointer(folder, trainer, config, options.save_every)
    is_writer = settings.group.rank == 0
    with lock_folder(folder) if is_writer else nullcontext():
        settings.print(_describe_start(folder, config, trainer))
        _resume_or_start(trainer, checkpointer, settings)
        is_tracked = options.wandb_mode != "disabled" and trainer.epoch < experiment.epochs
        samples = PredictionSamples(data.validation, trainer.validation_set) if is_tracked else None
        tracking = options if is_tracked else None
        arguments = (folder, config, checkpointer.history, settings.console, tracking, samples)
        with Tracker(*arguments) if is_writer else nullcontext() as tracker:
            _train(trainer, checkpointer, tracker, samples, settings)
            report = {
                "run": folder.name,
                "data": data.description,
                "seed": trainer.seed,
                "parameters": trainer.model.count_parameters(),
                "epochs": trainer.epoch,
                "seconds": round(checkpointer.seconds, 1),
                "best": checkpointer.best,
                "last": checkpointer.history[-1],
            }
            if is_writer:
                atomic_write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    settings.print(f"{folder.name}: {_describe_report(report)}")
    return report


def _describe_report(report: dict[str, Any]) -> str:
    best = report["best"]
    wells = ", ".join(f"{well} {iou:.3f}" for well, iou in best["wells"].items())
    return (
        f"best validation IoU {best['iou']:.4f} at epoch {best['epoch']} of {report['epochs']}, "
        f"{report['seconds']:,.0f} s in total; by well: {wells}"
    )


def _make_trainer(experiment: Experiment, data: TrainingData, settings: RunSettings) -> Trainer:
    def prepare_set(dataset: PatchDataset) -> PreparedSet:
        return prepare(dataset, experiment.normalisation, settings.device)

    make_train_set, options = data.make_train_set, settings.options
    teachers = options.teachers or find_teacher(experiment, options.output, data.suffix)
    return Trainer(
        experiment,
        prepare_set(data.train),
        prepare_set(data.validation),
        make_train_set=make_train_set and (lambda epoch: prepare_set(make_train_set(epoch))),
        seed=options.seed,
        group=settings.group,
        teacher=load_teacher(teachers, experiment.normalisation, settings.device),
        tuning=choose_tuning(
            settings.device,
            experiment.epochs * len(data.train),
            precision=options.precision,
            compile=options.compile,
            without=options.without,
        ),
    )


def _resume_or_start(
    trainer: Trainer, checkpointer: RunCheckpointer, settings: RunSettings
) -> None:
    """Resume if requested and possible, else start afresh."""
    folder = checkpointer.folder
    if settings.options.resume:
        notes = checkpointer.resume()
        if notes is not None:
            for note in notes:
                settings.print(f"Resuming: {note}.")
            done = f"after {trainer.epoch} epochs and {trainer.step} of {trainer.steps} steps"
            if trainer.epoch == trainer.experiment.epochs:
                done = f"finds all {trainer.epoch} epochs done"
            settings.print(f"Resuming {folder} {done}.")
            return
        settings.print(f"Nothing to resume in {folder}: starting afresh.")
    if settings.group.rank == 0:
        checkpointer.start_fresh()


def _train(
    trainer: Trainer,
    checkpointer: RunCheckpointer,
    tracker: Tracker | None,
    samples: PredictionSamples | None,
    settings: RunSettings,
) -> None:
    """Run the remaining epochs; `tracker` is None in a process that does not write."""
    epochs, patches, stop = trainer.experiment.epochs, len(trainer.train_set), settings.stop

    def on_step(step_patches: int) -> bool:
        progress.advance(task, step_patches)
        if tracker and not stop.signal_number:
            checkpointer.save_when_due()
        return not stop.signal_number

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=settings.console,
        transient=True,
        disable=not settings.console.is_terminal,  # a log file gets only the lines of the epochs
    ) as progress:
        task = progress.add_task("", total=patches)
        while trainer.epoch < epochs:
            done = min(trainer.step * trainer.experiment.batch, patches)
            progress.reset(task, description=f"epoch {trainer.epoch + 1}/{epochs}", completed=done)
            result = trainer.run_epoch(on_step)
            if result:
                checkpointer.add_epoch(result)
                settings.print(_describe_epoch(result, epochs))
                is_best = checkpointer.best is checkpointer.history[-1]
                masks = samples.segment(trainer) if samples and is_best else None
                if tracker:
                    tracker.log_epoch(checkpointer.history[-1], masks)
            # All processes stop together, even if only one of them got the signal.
            stops = result is None or trainer.group.any(stop.signal_number > 0, trainer.device)
            if tracker and (stops or trainer.epoch == epochs):
                checkpointer.save()
                last = checkpointer.history[-1] if checkpointer.history else None
                wells = Counter(trainer.validation_set.wells.tolist())
                tracker.log_results(checkpointer.best, last, wells)
            if stops:
                raise Interrupted(stop.signal_number or signal.SIGTERM)


def _make_config(
    experiment: Experiment, data: TrainingData, settings: RunSettings, trainer: Trainer
) -> dict[str, Any]:
    """Return everything that determines the run, as JSON values."""
    tuning, device = asdict(trainer.tuning), settings.device
    is_gpu = device.type == "cuda"
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {
        **asdict(experiment),
        "command": shlex.join(["python", "-m", "train", *settings.options.arguments]),
        "seed": settings.options.seed,
        "device": str(device),
        "hardware": torch.cuda.get_device_name(device) if is_gpu else processor,
        "precision": str(tuning.pop("precision")).removeprefix("torch."),
        "tuning": [name for name, chosen in tuning.items() if chosen],
        "processes": settings.group.world_size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "data": data.description,
        "teachers": trainer.teacher.files if trainer.teacher else {},
    }


def _describe_start(folder: Path, config: dict[str, Any], trainer: Trainer) -> str:
    processes = f" in {config['processes']} processes" * (config["processes"] > 1)
    return (
        f"{folder.name}: {trainer.model.count_parameters():,} parameters, "
        f"{config['epochs']} epochs of {trainer.steps} steps on {config['device']}{processes} in "
        f"{config['precision']}; writing {folder}"
    )


def _describe_epoch(result: EpochResult, epochs: int) -> str:
    width = len(str(epochs))
    metrics = "  ".join(f"{name} {value:.3f}" for name, value in result.metrics.items())
    return (
        f"epoch {result.number:{width}}/{epochs}  loss {result.loss:.4f}  validation "
        f"{result.validation_loss:.4f}  {metrics}  rate {result.learning_rate:.1e}  "
        f"{result.patches_per_second:,.0f} patches/s"
    )

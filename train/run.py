"""One run: from an experiment and its data to a folder with everything it leaves."""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from geoseg.atomic_files import atomic_write_text
from geoseg.dataset import PatchDataset
from train.checkpointing import CHECKPOINTS, RunCheckpointer, lock_folder
from train.data import Data, with_toy_labels
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.experiments import Experiment
from train.loop import Trainer
from train.prediction_samples import PredictionSamples
from train.sampling import PreparedSet, prepare
from train.signals import Interrupted, StopRequest
from train.teacher import find_teacher, load_teacher
from train.tracking import Tracker
from train.tuning import choose_tuning, describe_hardware
from train.validation import Epoch
from train.wandb_options import UNTRACKED, Tracking


@dataclass(frozen=True)
class RunSettings:
    """What the runs of one command share.

    Attributes:
        output: the folder that holds the runs' folders.
        device, seed, ranks: as `Trainer` takes them.
        precision, compile, without: as `choose_tuning` takes them.
        tracking: with Weights & Biases as well, and how.
        command: what was typed, kept in the checkpoint too.
        resume: go on with what an earlier process left, instead of replacing it.
        save_every: seconds between two saves.
        teachers: checkpoints to learn from; where there are none, the experiment says from whom.
    """

    output: Path
    device: torch.device
    seed: int = 0
    ranks: ProcessGroup = SINGLE_PROCESS
    precision: str = "auto"
    compile: bool = False
    without: tuple[str, ...] = ()
    tracking: Tracking = UNTRACKED
    command: str = ""
    resume: bool = False
    save_every: float = 10.0
    teachers: tuple[Path, ...] = ()


def is_run(folder: Path) -> bool:
    """Whether a run has left anything worth keeping in `folder`."""
    lines = folder / "metrics.jsonl"
    return any((folder / name).exists() for name in CHECKPOINTS) or (
        lines.exists() and lines.stat().st_size > 0
    )


def run(
    experiment: Experiment, data: Data, setting: RunSettings, stop: StopRequest, console: Console
) -> dict[str, Any]:
    """Train one experiment to its end; gives the report, which report.json in its folder holds.

    Writes config.json, metrics.jsonl, best.safetensors and last.safetensors, and resume/. Raises
    Interrupted, with everything saved, when a signal stops it; TrainingError where it cannot go on,
    StateError where it cannot be resumed, CheckpointError where its teacher is missing or of no
    use, OSError where it cannot be written.
    """
    if experiment.toy_labels:
        data = with_toy_labels(data, experiment.toy_labels)
    folder = setting.output / f"{experiment.run_name}{data.suffix}"

    trainer = _make_trainer(experiment, data, setting)
    config = _config(experiment, data, setting, trainer)
    keeper = RunCheckpointer(folder, trainer, config, experiment.normalisation, setting.save_every)
    writes = setting.ranks.rank == 0
    with lock_folder(folder) if writes else nullcontext():
        console.print(_headline(folder, config, trainer), soft_wrap=True)
        _begin(keeper, setting, console)
        tracking = setting.tracking if trainer.epoch < experiment.epochs else UNTRACKED
        samples = (
            PredictionSamples(data.validation, trainer.validation) if tracking.wanted else None
        )
        with (
            Tracker(
                folder, config, keeper.records, tracking=tracking, samples=samples, console=console
            )
            if writes
            else nullcontext() as tracker,
            _progress(console) as progress,
        ):
            _train(trainer, keeper, tracker, samples, progress, stop, console)
            report = {
                "run": folder.name,
                "data": data.description,
                "seed": setting.seed,
                "parameters": trainer.model.count_parameters(),
                "epochs": trainer.epoch,
                "seconds": round(keeper.seconds, 1),
                "best": keeper.best,
                "last": keeper.records[-1],
            }
            if writes:
                atomic_write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    console.print(f"{folder.name}: {summary(report)}", soft_wrap=True)
    return report


def summary(report: dict[str, Any]) -> str:
    """A report in words, with a score a well."""
    best = report["best"]
    wells = ", ".join(f"{well} {iou:.3f}" for well, iou in best["wells"].items())
    return (
        f"best validation IoU {best['iou']:.4f} at epoch {best['epoch']} of {report['epochs']}, "
        f"{report['seconds']:,.0f} s in all; by well: {wells}"
    )


def _make_trainer(experiment: Experiment, data: Data, setting: RunSettings) -> Trainer:
    def ready(dataset: PatchDataset) -> PreparedSet:
        return prepare(dataset, experiment.normalisation, setting.device)

    renew = data.renew
    return Trainer(
        experiment,
        ready(data.train),
        ready(data.validation),
        renew=renew and (lambda epoch: ready(renew(epoch))),
        seed=setting.seed,
        ranks=setting.ranks,
        teacher=load_teacher(
            setting.teachers or find_teacher(experiment, setting.output, data.suffix),
            experiment.normalisation,
            setting.device,
        ),
        tuning=choose_tuning(
            setting.device,
            experiment.epochs * len(data.train),
            precision=setting.precision,
            compile=setting.compile,
            without=setting.without,
        ),
    )


def _begin(keeper: RunCheckpointer, setting: RunSettings, console: Console) -> None:
    """Take up what there is to resume, or start afresh."""
    notes = keeper.resume() if setting.resume else None
    for note in notes or []:
        console.print(f"Resuming: {note}.", soft_wrap=True)
    if notes is not None:
        console.print(f"Resuming {keeper.folder} {keeper.position}.", soft_wrap=True)
        return
    if setting.resume:
        console.print(f"Nothing to resume in {keeper.folder}: starting afresh.", soft_wrap=True)
    if setting.ranks.rank == 0:
        keeper.begin()


def _train(
    trainer: Trainer,
    keeper: RunCheckpointer,
    tracker: Tracker | None,
    samples: PredictionSamples | None,
    progress: Progress,
    stop: StopRequest,
    console: Console,
) -> None:
    """Run what is left of the epochs; `tracker` is None in a process that does not write."""
    epochs = trainer.experiment.epochs
    task = progress.add_task("", total=len(trainer.train))
    if tracker and trainer.epoch == epochs and not (keeper.folder / "last.safetensors").exists():
        keeper.save()

    def on_step(patches: int) -> bool:
        progress.advance(task, patches)
        if tracker and not stop.number:
            keeper.save_when_due()
        return not stop.number

    while trainer.epoch < epochs:
        done = min(trainer.step * trainer.experiment.batch, len(trainer.train))
        progress.reset(task, description=f"epoch {trainer.epoch + 1}/{epochs}", completed=done)
        epoch = trainer.run_epoch(on_step)
        if epoch:
            keeper.note(epoch)
            console.print(_line(epoch, epochs), soft_wrap=True)
            record = keeper.records[-1]
            masks = samples.segment(trainer) if samples and keeper.best is record else None
            if tracker:
                tracker.log(record, masks)
        # All processes stop together, though another one may have been asked.
        stops = epoch is None or trainer.ranks.any(stop.number > 0, trainer.device)
        if tracker and (stops or trainer.epoch == epochs):
            keeper.save()
            _conclude(tracker, keeper, trainer)
        if stops:
            raise Interrupted(stop.number or signal.SIGTERM)


def _conclude(tracker: Tracker, keeper: RunCheckpointer, trainer: Trainer) -> None:
    last = keeper.records[-1] if keeper.records else None
    tracker.conclude(keeper.best, last, Counter(trainer.validation.wells.tolist()))


def _config(
    experiment: Experiment, data: Data, setting: RunSettings, trainer: Trainer
) -> dict[str, Any]:
    """Everything that makes the run what it is, as JSON values."""
    tuning = asdict(trainer.tuning)
    return {
        **asdict(experiment),
        "command": setting.command,
        "seed": setting.seed,
        "device": str(setting.device),
        "hardware": describe_hardware(setting.device),
        "precision": str(tuning.pop("precision")).removeprefix("torch."),
        "tuning": [name for name, chosen in tuning.items() if chosen],
        "processes": setting.ranks.world,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "data": data.description,
        "teachers": trainer.teacher.files if trainer.teacher else {},
    }


def _headline(folder: Path, config: dict[str, Any], trainer: Trainer) -> str:
    processes = f" in {config['processes']} processes" * (config["processes"] > 1)
    return (
        f"{folder.name}: {trainer.model.count_parameters():,} parameters, "
        f"{config['epochs']} epochs of {trainer.steps} steps on {config['device']}{processes} in "
        f"{config['precision']}; writing {folder}"
    )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"patches, {task.finished_speed or task.speed or 0:,.0f}/s")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # the lines of the epochs are enough for a log file
    )


def _line(epoch: Epoch, epochs: int) -> str:
    width = len(str(epochs))
    metrics = "  ".join(f"{name} {value:.3f}" for name, value in epoch.metrics.items())
    return (
        f"epoch {epoch.number:{width}}/{epochs}  loss {epoch.loss:.4f}  validation "
        f"{epoch.validation_loss:.4f}  {metrics}  rate {epoch.learning_rate:.1e}  "
        f"{epoch.patches_per_second:,.0f} patches/s"
    )

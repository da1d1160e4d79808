"""One run: a folder, a progress display, checkpoints, and a way to stop."""

from __future__ import annotations

import signal
import sys
import time
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

from geoseg.checkpoint import save_checkpoint
from geoseg.normalisation import Normalisation
from train.data import Data
from train.experiments import Experiment
from train.loop import Epoch, Trainer, prepare
from train.tracking import Tracker

CHECKPOINTS = ("best.safetensors", "last.safetensors")


class Interrupted(Exception):
    """A signal asked the run to stop, and it stopped in good order."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopRequest:
    """Notes a first SIGINT or SIGTERM in `number`; a second one leaves at once."""

    number = 0

    def __enter__(self) -> StopRequest:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {n: signal.signal(n, self._note) for n in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted where a signal has come."""
        if self.number:
            raise Interrupted(self.number)

    def _note(self, number: int, _: object) -> None:
        if self.number:
            sys.exit(128 + number)
        self.number = number


@dataclass(frozen=True)
class Setting:
    """What the runs of one command share.

    Attributes:
        output: the folder that holds the runs' folders.
        device, precision, seed: as `Trainer` takes them.
        wandb: track with Weights & Biases as well.
        normalisation: of the input, kept in the checkpoint.
        command: what was typed, kept in the checkpoint too.
    """

    output: Path
    device: torch.device
    precision: torch.dtype
    seed: int
    wandb: bool
    normalisation: Normalisation
    command: str


def is_run(folder: Path) -> bool:
    """Whether a run has left anything worth keeping in `folder`."""
    lines = folder / "metrics.jsonl"
    return any((folder / name).exists() for name in CHECKPOINTS) or (
        lines.exists() and lines.stat().st_size > 0
    )


def run(
    experiment: Experiment, data: Data, setting: Setting, stop: StopRequest, console: Console
) -> Path:
    """Train one experiment to its end; gives the run's folder. A run that was there goes first.

    Writes config.json, metrics.jsonl, last.safetensors after every epoch, and best.safetensors
    whenever the validation IoU improves. Raises Interrupted, with last.safetensors written, when a
    signal stops it, and TrainingError where it cannot go on.
    """
    folder = setting.output / experiment.label
    trainer = Trainer(
        experiment,
        prepare(data.train, setting.normalisation, setting.device),
        prepare(data.validation, setting.normalisation, setting.device),
        seed=setting.seed,
        precision=setting.precision,
    )
    config = _config(experiment, data, setting)
    console.print(
        f"[bold]{experiment.label}[/]: {trainer.model.count_parameters():,} parameters, "
        f"{experiment.epochs} epochs of {trainer.steps} steps on {setting.device} in "
        f"{config['precision']}; writing {folder}",
        soft_wrap=True,
    )
    for name in CHECKPOINTS:  # what an earlier run left must not pass for this one's
        (folder / name).unlink(missing_ok=True)
    keeper = _Keeper(folder, trainer, config, setting.normalisation)
    with (
        Tracker(folder, config, wandb=setting.wandb, console=console) as tracker,
        _progress(console) as progress,
    ):
        task = progress.add_task("", total=len(data.train))

        def on_step(patches: int) -> bool:
            progress.advance(task, patches)
            return not stop.number

        for number in range(1, experiment.epochs + 1):
            progress.reset(task, description=f"epoch {number}/{experiment.epochs}")
            epoch = trainer.run_epoch(number, on_step)
            if epoch:
                tracker.log(_record(epoch))
                console.print(_line(epoch, experiment.epochs), soft_wrap=True)
            keeper.keep(epoch)
            stop.check()
    console.print(f"{experiment.label}: {keeper.summary()}")
    return folder


def _config(experiment: Experiment, data: Data, setting: Setting) -> dict[str, Any]:
    """Everything that makes the run what it is, as JSON values."""
    return {
        **asdict(experiment),
        "command": setting.command,
        "seed": setting.seed,
        "device": str(setting.device),
        "precision": str(setting.precision).removeprefix("torch."),
        "torch": torch.__version__,
        "data": data.description,
    }


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


def _record(epoch: Epoch) -> dict[str, Any]:
    record = asdict(epoch)
    return {"epoch": record.pop("number"), **record.pop("metrics"), **record}


def _line(epoch: Epoch, epochs: int) -> str:
    width = len(str(epochs))
    metrics = "  ".join(f"{name} {value:.3f}" for name, value in epoch.metrics.items())
    return (
        f"epoch {epoch.number:{width}}/{epochs}  loss {epoch.loss:.4f}  validation "
        f"{epoch.validation_loss:.4f}  {metrics}  rate {epoch.learning_rate:.1e}  "
        f"{epoch.patches_per_second:,.0f} patches/s"
    )


class _Keeper:
    """Writes the last and the best checkpoint of a run."""

    def __init__(
        self, folder: Path, trainer: Trainer, config: dict[str, Any], normalisation: Normalisation
    ) -> None:
        self._folder, self._trainer, self._normalisation = folder, trainer, normalisation
        self._experiment = dict(config)
        self._data = self._experiment.pop("data")
        self._best: Epoch | None = None
        self._last: Epoch | None = None
        self._start = time.perf_counter()

    def keep(self, epoch: Epoch | None) -> None:
        """Save after `epoch`, or after one that was cut short (None)."""
        if epoch:
            self._last = epoch
            if self._best is None or epoch.metrics["iou"] > self._best.metrics["iou"]:
                self._best = epoch
                self._save("best", epoch)
        self._save("last", epoch)

    def summary(self) -> str:
        """The best epoch in words."""
        assert self._best
        return (
            f"best validation IoU {self._best.metrics['iou']:.4f} at epoch {self._best.number}, "
            f"{time.perf_counter() - self._start:,.0f} s in all"
        )

    def _save(self, name: str, epoch: Epoch | None) -> None:
        done = {
            "epochs_done": self._last.number if self._last else 0,
            "interrupted": epoch is None,  # in the midst of the next epoch: no scores are known
            "seconds": round(time.perf_counter() - self._start),
        }
        save_checkpoint(
            self._folder / f"{name}.safetensors",
            self._trainer.model,
            normalisation=self._normalisation,
            threshold=self._last.threshold if self._last else 0.5,
            experiment={**self._experiment, **done},
            data=self._data,
            metrics={"validation": {**epoch.metrics, "threshold": 0.5}} if epoch else {},
        )

"""Checkpoints and states of a run: saving them, and resuming from them."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from geoseg.checkpoint import save_checkpoint
from geoseg.metrics import METRICS
from geoseg.models import Model
from train.loop import Trainer
from train.schedules import Linear
from train.state import State, StateError, StateStore
from train.tracking import RUN_FILE
from train.validation import EpochResult

CHECKPOINTS = ("best.safetensors", "last.safetensors")
# The configuration beyond the recipe: a change of one of these changes the last bits of a run.
_CIRCUMSTANCES = ("hardware", "precision", "tuning", "threads", "processes", "torch")


class RunCheckpointer:
    """Saves a run to its folder, and resumes what an earlier process saved there.

    Checkpoints and state are saved together, at most every `save_every` seconds and on request:
    each file atomically, and the state last. So whenever the process dies, the newest state agrees
    with all files before it, and the steps after it are repeated with the same result.

    Args:
        folder: of the run.
        trainer: of the run; `resume` restores its state.
        config: everything that determines the run, as JSON values.
        save_every: seconds.

    Attributes:
        history: the lines of metrics.jsonl, one for each complete epoch.
        best: the line of the best epoch by validation IoU, if any.
    """

    def __init__(
        self, folder: Path, trainer: Trainer, config: dict[str, Any], save_every: float
    ) -> None:
        self.folder = folder
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self._trainer, self._config, self._save_every = trainer, config, save_every
        self._normalisation = trainer.experiment.normalisation
        self._states = StateStore(folder / "resume")
        self._unsaved_best: Model | None = None
        self._earlier_seconds = 0.0  # of earlier processes
        self._start = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """The duration of the run, over all its processes."""
        return self._earlier_seconds + time.monotonic() - self._start

    def start_fresh(self) -> None:
        """Delete the files of an earlier run and save the initial state."""
        self._states.clear()  # first: checkpoints without a state are refused, not resumed
        for name in (*CHECKPOINTS, "report.json", RUN_FILE):
            (self.folder / name).unlink(missing_ok=True)
        self._delete_temporary_files()
        self._save_state(self._trainer.state())

    def resume(self) -> list[str] | None:
        """Restore the newest intact state; return notes for the user, or None without a state.

        Raise StateError if the state belongs to another run, or if all states are damaged.
        """
        state, damaged = self._states.load()
        if state is None:
            if any((self.folder / name).exists() for name in CHECKPOINTS):
                raise StateError(
                    f"{self.folder} holds checkpoints, but no state to resume from; --overwrite "
                    "replaces them"
                )
            return None
        saved = state.values
        for name, now in self._identity.items():
            if (before := saved["identity"].get(name)) != now:
                raise StateError(
                    f"the run in {self.folder} began with {name} {before}, not {now}: resume it "
                    "with the same options and data, or replace it with --overwrite"
                )
        epochs, steps = saved["trainer"]["epoch"], saved["trainer"]["step"]
        goal = self._trainer.experiment.epochs
        if epochs + (steps > 0) > goal:
            raise StateError(
                f"the run in {self.folder} is beyond {goal} epochs already; ask for more, or "
                "--overwrite it"
            )
        self._trainer.restore(State(state.tensors, saved["trainer"]))
        self.history, self._earlier_seconds = saved["records"], saved["seconds"]
        self.best = next((r for r in self.history if r["epoch"] == saved["best"]), None)
        if self._trainer.group.rank == 0:  # another rank would delete what rank 0 is writing
            self._delete_temporary_files()
        return [f"{text}; using the one before" for text in damaged] + [
            f"{name} was {before} and is {self._config[name]} now: the run can go on, but its last "
            "bits will differ"
            for name in _CIRCUMSTANCES
            if (before := saved["circumstances"].get(name)) != self._config[name]
        ]

    def add_epoch(self, result: EpochResult) -> None:
        """Add a complete epoch to the history, and keep its model if it is the best."""
        self.history.append(result.to_json())
        if self.best is None or result.metrics["iou"] > self.best["iou"]:
            self.best = self.history[-1]
            self._unsaved_best = copy.deepcopy(self._trainer.evaluated_model)

    def save_when_due(self) -> None:
        """Save if the last save is `save_every` seconds ago."""
        if time.monotonic() - self._saved >= self._save_every:
            self.save()

    def save(self) -> None:
        """Write both checkpoints and the state; on OSError the earlier files are unharmed."""
        state = self._trainer.state()  # first, because it refuses weights that are not finite
        if self._unsaved_best:
            assert self.best
            self._write_checkpoint("best", self._unsaved_best, self.best)
            self._unsaved_best = None
        # Within an epoch the weights have no scores.
        scored = self.history[-1] if self.history and not self._trainer.step else None
        self._write_checkpoint("last", self._trainer.evaluated_model, scored)
        self._save_state(state)

    def _delete_temporary_files(self) -> None:
        """Delete the unfinished files of a killed process."""
        for folder in (self.folder, self._states.folder):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def _save_state(self, state: State) -> None:
        values = {
            "trainer": state.values,
            "identity": self._identity,
            "circumstances": {name: self._config[name] for name in _CIRCUMSTANCES},
            "records": self.history,
            "best": self.best and self.best["epoch"],
            "seconds": self.seconds,
        }
        steps = self._trainer.epoch * self._trainer.steps + self._trainer.step
        self._states.save(steps, State(state.tensors, values))
        self._saved = time.monotonic()

    def _write_checkpoint(self, name: str, model: Model, epoch: dict[str, Any] | None) -> None:
        """Write a checkpoint; `epoch` is the line of its epoch, None within an epoch."""
        experiment = {
            **{key: value for key, value in self._config.items() if key != "data"},
            "command": _strip_folders(self._config["command"]),
            "epochs_done": epoch["epoch"] if epoch else self._trainer.epoch,
            "interrupted": epoch is None,
            "seconds": round(self.seconds),
        }
        latest = epoch or (self.history[-1] if self.history else None)
        scores = epoch and {**{name: epoch[name] for name in METRICS}, "threshold": 0.5}
        save_checkpoint(
            self.folder / f"{name}.safetensors",
            model,
            normalisation=self._normalisation,
            threshold=latest["threshold"] if latest else 0.5,
            experiment=experiment,
            data=self._config["data"],
            metrics={"validation": scores} if scores else {},
            columns=self._trainer.train_set.pairs.shape[-1],
        )

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a run must have in common with a state to resume from it."""
        trainer, teacher = self._trainer, self._trainer.teacher
        recipe = json.loads(json.dumps(asdict(trainer.experiment)))
        epochs = recipe.pop("epochs")
        if isinstance(trainer.experiment.schedule, Linear):
            recipe["epochs"] = epochs  # with other schedules no step depends on their number
        if not teacher:  # they have no effect, and states of earlier versions do not hold them
            del recipe["temperature"], recipe["distillation"]
        teachers = [digest[:16] for digest in teacher.files.values()] if teacher else None
        if trainer.make_train_set:  # pipes made on a GPU can differ in the last bits
            patches = {"fresh": self._config["data"]}
        else:
            sets = {"train": trainer.train_set, "validation": trainer.validation_set}
            patches = {
                name: hashlib.sha256(part.pairs.cpu().numpy().data).hexdigest()[:16]
                for name, part in sets.items()
            }
        return {**recipe, "seed": trainer.seed, "teachers": teachers, "patches": patches}


def _strip_folders(command: str) -> str:
    """Strip the folders from a command, so that a checkpoint does not reveal local paths.

    >>> _strip_folders("python -m train --data /a/well_x/ --teacher=/b/t.safetensors -o ../c/runs")
    'python -m train --data well_x --teacher=t.safetensors -o runs'
    """
    path = re.compile(r"(--?[\w-]+=?)?(?:/|(?:\.\./)+)(?:.*/)?([^/]+)/?")
    words = (path.fullmatch(word) or [word, word, ""] for word in shlex.split(command))
    return shlex.join((word[1] or "") + word[2] for word in words)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process; raise OSError if another process holds the lock.

    The lock ends with the process, however it ends. On Windows there is no lock.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another process is training in {folder}; wait for it, or stop it"
            raise OSError(message) from error
        yield
    finally:
        os.close(handle)

"""What a run leaves on disk: checkpoints, and the state from which it can go on."""

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
from geoseg.normalisation import Normalisation
from train.experiments import Linear
from train.loop import Trainer
from train.sampling import PreparedSet
from train.state import State, StateError, StateStore
from train.tracking import RUN_FILE
from train.validation import Epoch

CHECKPOINTS = ("best.safetensors", "last.safetensors")
# How a run's numbers come about beyond its recipe: another of these changes the last bits.
_CIRCUMSTANCES = ("hardware", "precision", "tuning", "threads", "processes", "torch")


class RunCheckpointer:
    """Saves a run, and finds what an earlier process saved of it.

    Checkpoints and state are written together, every `every` seconds at most and when asked, each
    file atomically and the state last. So whenever the process dies, the newest state stands for
    everything before it, and what comes after will be done again, the same.

    Args:
        folder: of the run.
        trainer: of the run; `resume` sets it to where it was.
        config: everything that made the run what it is, as JSON values.
        normalisation: of the input, kept in the checkpoints.
        every: seconds.

    Attributes:
        records: of all complete epochs, as metrics.jsonl has them.
        best: the record of the best epoch by validation IoU, if any.
    """

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        config: dict[str, Any],
        normalisation: Normalisation,
        every: float,
    ) -> None:
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self._trainer, self._config, self._every = trainer, config, every
        self._normalisation = normalisation
        self._states = StateStore(folder / "resume")
        self._unsaved_best: Model | None = None
        self._before = 0.0  # seconds that earlier processes took
        self._start = self._saved = time.monotonic()

    @property
    def position(self) -> str:
        """How far the run has come, in words."""
        trainer = self._trainer
        epochs = trainer.experiment.epochs
        if trainer.epoch >= epochs:
            return f"finds all {epochs} epochs done"
        return f"after {trainer.epoch} epochs and {trainer.step} of {trainer.steps} steps"

    @property
    def seconds(self) -> float:
        """How long the run has taken, in all processes that had a part in it."""
        return self._before + time.monotonic() - self._start

    def begin(self) -> None:
        """Start afresh; what an earlier run left must not pass for this one's."""
        self._states.clear()  # first: checkpoints without a state are refused, not resumed
        for name in (*CHECKPOINTS, "report.json", RUN_FILE):
            (self.folder / name).unlink(missing_ok=True)
        self._clear_leftovers()
        self._save_state(self._trainer.state())

    def resume(self) -> list[str] | None:
        """Go on where the newest whole state is; gives what the user should know.

        None where there is nothing to go on from. StateError where the run was another one, or all
        its states are damaged.
        """
        state, damaged = self._states.load()
        notes = [f"{text}; going on from the one before" for text in damaged]
        if state is None:
            if any((self.folder / name).exists() for name in CHECKPOINTS):
                raise StateError(
                    f"{self.folder} holds checkpoints, but no state to resume from; --overwrite "
                    "replaces them"
                )
            return None
        saved = state.values
        self._check_same(saved["identity"])
        for name in _CIRCUMSTANCES:
            before, now = saved["circumstances"].get(name), self._circumstances[name]
            if before != now:
                notes.append(
                    f"{name} was {before} and is {now} now: the run stays sound, but not bit for "
                    "bit what it would have been"
                )
        done, goal = saved["trainer"]["epoch"], self._trainer.experiment.epochs
        if done + (saved["trainer"]["step"] > 0) > goal:
            raise StateError(
                f"the run in {self.folder} is beyond {goal} epochs already: it has {done}, and "
                f"{saved['trainer']['step']} steps of the next; ask for more, or --overwrite it"
            )
        self._trainer.restore(State(state.tensors, saved["trainer"]))
        self.records, self._before = saved["records"], saved["seconds"]
        self.best = next((r for r in self.records if r["epoch"] == saved["best"]), None)
        if self.best and not (self.folder / "best.safetensors").exists():
            if self._trainer.epoch < self._trainer.experiment.epochs:
                notes.append("best.safetensors is gone; the best epoch from here on replaces it")
                self.best = None
            else:
                notes.append("best.safetensors is gone, and no epoch is left to replace it")
        if self._trainer.ranks.rank == 0:  # another one would take from under it what it writes
            self._clear_leftovers()
        return notes

    def note(self, epoch: Epoch) -> None:
        """Take notice of a complete epoch."""
        self.records.append(epoch.record())
        if self.best is None or epoch.metrics["iou"] > self.best["iou"]:
            self.best = self.records[-1]
            self._unsaved_best = copy.deepcopy(self._trainer.best_model)

    def save_when_due(self) -> None:
        """Save if the last time is long enough ago."""
        if time.monotonic() - self._saved >= self._every:
            self.save()

    def save(self) -> None:
        """Write best, last and state; OSError where that fails, with the old ones unharmed."""
        state = self._trainer.state()  # first, as it refuses weights that are beyond saving
        if self._unsaved_best:
            assert self.best
            self._write("best", self._unsaved_best, self.best)
            self._unsaved_best = None
        # In the midst of an epoch nobody has scored the weights.
        scored = self.records[-1] if self.records and not self._trainer.step else None
        self._write("last", self._trainer.best_model, scored)
        self._save_state(state)

    def _clear_leftovers(self) -> None:
        """Remove what a killed process left half-written."""
        for folder in (self.folder, self._states.folder):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def _save_state(self, state: State) -> None:
        trainer = self._trainer
        values = {
            "trainer": state.values,
            "identity": self._identity,
            "circumstances": self._circumstances,
            "records": self.records,
            "best": self.best and self.best["epoch"],
            "seconds": self.seconds,
        }
        steps = trainer.epoch * trainer.steps + trainer.step
        self._states.save(steps, State(state.tensors, values))
        self._saved = time.monotonic()

    def _write(self, name: str, model: Model, record: dict[str, Any] | None) -> None:
        experiment = {key: value for key, value in self._config.items() if key != "data"}
        experiment["command"] = _told(self._config["command"])
        experiment["epochs_done"] = record["epoch"] if record else self._trainer.epoch
        experiment["interrupted"] = record is None
        experiment["seconds"] = round(self.seconds)
        latest = record or (self.records[-1] if self.records else None)
        scores = {name: record[name] for name in METRICS} if record else None
        save_checkpoint(
            self.folder / f"{name}.safetensors",
            model,
            normalisation=self._normalisation,
            threshold=latest["threshold"] if latest else 0.5,
            experiment=experiment,
            data=self._config["data"],
            metrics={"validation": {**scores, "threshold": 0.5}} if scores else {},
        )

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What makes it this run and no other."""
        trainer = self._trainer
        recipe = json.loads(json.dumps(asdict(trainer.experiment)))
        epochs = recipe.pop("epochs")
        if isinstance(trainer.experiment.schedule, Linear):
            recipe["epochs"] = epochs  # else nothing before the end depends on it: it may be moved
        teacher = trainer.teacher
        if not teacher:  # then these count for nothing, and an earlier geoseg did not know them
            del recipe["temperature"], recipe["distillation"]
        teachers = [digest[:16] for digest in teacher.files.values()] if teacher else None
        sets = {"train": trainer.train, "validation": trainer.validation}
        patches = (
            {
                "fresh": self._config["data"]
            }  # a GPU's pipes differ in the last bits from time to time
            if trainer.renews
            else {name: _fingerprint(part) for name, part in sets.items()}
        )
        return {**recipe, "seed": trainer.seed, "teachers": teachers, "patches": patches}

    @property
    def _circumstances(self) -> dict[str, Any]:
        return {name: self._config[name] for name in _CIRCUMSTANCES}

    def _check_same(self, before: dict[str, Any]) -> None:
        now = self._identity
        for name in now:
            if before.get(name) != now[name]:
                raise StateError(
                    f"the run in {self.folder} began with {name} {before.get(name)}, not "
                    f"{now[name]}: resume it with the same options and data, or replace it with "
                    "--overwrite"
                )


def _told(command: str) -> str:
    """A command for whoever gets the checkpoint: not where on this machine its files are.

    >>> _told("python -m train --data /home/ada/well_x/ --teacher=/a/t.safetensors -o ../../b/runs")
    'python -m train --data well_x --teacher=t.safetensors -o runs'
    """
    place = re.compile(r"(--?[\w-]+=?)?(?:/|(?:\.\./)+)(?:.*/)?([^/]+)/?")
    words = (place.fullmatch(word) or [word, word, ""] for word in shlex.split(command))
    return shlex.join((word[1] or "") + word[2] for word in words)


def _fingerprint(patches: PreparedSet) -> str:
    return hashlib.sha256(patches.pairs.cpu().numpy().data).hexdigest()[:16]


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a run's folder against a second process; OSError where there is one already.

    The hold ends with the process, however it ends. Not on Windows.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(
            f"another process is training in {folder}; wait for it, or stop it"
        ) from error
    else:
        yield
    finally:
        os.close(handle)

"""Tracking of a run: JSON lines always, and Weights & Biases (wandb) unless disabled.

An error of wandb never stops a run: it is reported in one line, and at least the JSON lines go on.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from geoseg.atomic_files import atomic_write_text, name_in_errors
from geoseg.checkpoint import read_card
from train.prediction_samples import Mask, PredictionSamples

PROJECT = "geoseg"
RUN_FILE = "wandb.json"  # holds the id of a folder's wandb run, its group, and the last epoch sent
_START_SECONDS, _FINISH_SECONDS = 20, 60  # how long to wait for the server


@dataclass(frozen=True)
class TrackingOptions:
    """How the runs of one command are tracked with Weights & Biases.

    Attributes:
        mode: "online" (falls back to "offline" without a login or a network), "offline" or
            "disabled".
        project, entity, tags: None leaves them to wandb, which reads WANDB_ENTITY and WANDB_TAGS.
        group: the name of the command's runs if it has several, or WANDB_RUN_GROUP.
    """

    mode: str = "disabled"
    project: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] | None = None
    group: str | None = None

    @classmethod
    def choose(
        cls,
        mode: str | None,
        project: str | None,
        entity: str | None,
        tags: Sequence[str] | None,
        experiments: Sequence[int],
        folds: int,
    ) -> TrackingOptions:
        """Complete the command line's choices from wandb's environment variables.

        Raise ValueError if wandb refuses one of the choices.
        """
        mode = mode or os.environ.get("WANDB_MODE") or "online"
        if mode != "disabled":
            _check_names(project, entity, tags)
        project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        group = os.environ.get("WANDB_RUN_GROUP")
        if not group and len(experiments) * folds > 1:
            ids = "-".join(map(str, experiments))[:80]
            group = f"{ids}-{time.strftime('%Y%m%d-%H%M%S')}"
        return cls(mode, project, entity, tuple(tags) if tags else None, group)

    @property
    def enabled(self) -> bool:
        """Whether anything is tracked with Weights & Biases."""
        return self.mode != "disabled"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make another process track its runs in the same group."""
        return {"WANDB_RUN_GROUP": self.group} if self.group else {}


UNTRACKED = TrackingOptions()


def _check_names(project: str | None, entity: str | None, tags: Sequence[str] | None) -> None:
    """Raise ValueError if wandb refuses one of these."""
    if entity and not re.fullmatch(r"[\w.-]+", entity):
        raise ValueError(f"Weights & Biases: {entity!r} is not the name of a user or team")
    if project or tags:
        wandb = _import_wandb()
        try:
            wandb.Settings(project=project, run_tags=tuple(tags) if tags else None)
        except (wandb.Error, ValueError) as error:
            raise ValueError(f"Weights & Biases: {_describe_error(error)}") from error


def _import_wandb() -> Any:
    """Import wandb, which takes a second, so only when it is needed."""
    # Its error reports to its makers would delay the end if the server does not answer.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


class Tracker:
    """Writes `config.json` and `metrics.jsonl` in a run's folder, and mirrors them to wandb.

    Args:
        folder: of the run; created if missing. The wandb run named in its wandb.json is continued.
        config: everything that determines the run; JSON values.
        history: the lines of epochs that an earlier process logged.
        options: how to track with Weights & Biases.
        samples: the patches whose masks are shown there.
        console: for messages.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        history: Sequence[dict[str, Any]] = (),
        *,
        options: TrackingOptions,
        console: Console,
        samples: PredictionSamples | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lines, self._console = folder / "metrics.jsonl", console
        atomic_write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        atomic_write_text(self._lines, "".join(json.dumps(epoch) + "\n" for epoch in history))
        self._wandb_run: _WandbRun | None = None
        if options.enabled:
            with self._reporting_errors():
                self._wandb_run = _WandbRun(folder, config, history, options, samples, console)

    def log_epoch(self, epoch: dict[str, Any], masks: Sequence[Mask] | None = None) -> None:
        """Log one epoch.

        Args:
            epoch: JSON values, with "epoch", "iou" and "wells" among them.
            masks: the model's masks of the samples, or None to show none.
        """
        with name_in_errors(self._lines), self._lines.open("a") as lines:
            lines.write(json.dumps(epoch) + "\n")
        if self._wandb_run:
            with self._reporting_errors():
                self._wandb_run.log_epoch(epoch, masks)

    def log_results(
        self, best: dict[str, Any] | None, last: dict[str, Any] | None, wells: Mapping[int, int]
    ) -> None:
        """Send the scores of each well and the checkpoints in the folder to wandb.

        Args:
            best, last: the lines of these epochs, if any.
            wells: the number of validation patches of each well.
        """
        if self._wandb_run:
            # After an error here, the epochs already sent must still be finished.
            with self._reporting_errors("the scores by well are not sent", disable=False):
                self._wandb_run.log_wells(best, last, wells)
            with self._reporting_errors("the checkpoints are not sent", disable=False):
                self._wandb_run.log_checkpoints()

    @contextmanager
    def _reporting_errors(
        self, consequence: str = "training continues without it", disable: bool = True
    ) -> Iterator[None]:
        """Report any error of wandb instead of raising it; `disable` stops the tracking then."""
        try:
            yield
        except Exception as error:
            if disable:
                self._wandb_run = None
            message = f"Weights & Biases: {_describe_error(error)}; {consequence}."
            self._console.print(message, soft_wrap=True)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if self._wandb_run:
            with self._reporting_errors("not everything was sent"):
                self._wandb_run.finish(exit_code=0 if error_type is None else 1)


class _WandbRun:
    """A run at Weights & Biases, with the arguments of `Tracker`; raises what wandb raises."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        history: Sequence[dict[str, Any]],
        options: TrackingOptions,
        samples: PredictionSamples | None,
        console: Console,
    ) -> None:
        self._folder, self._samples, self._console = folder, samples, console
        self._saved = _read_run_file(folder / RUN_FILE)
        self._saved["group"] = self._saved["group"] or options.group
        wandb = _import_wandb()
        tags = options.tags or wandb.setup(wandb.Settings(silent=True)).settings.run_tags or ()
        start = partial(
            wandb.init,
            project=options.project,
            entity=options.entity,
            group=self._saved["group"],
            tags=list(dict.fromkeys([config["architecture"], *tags])),
            name=folder.name,
            id=self._saved["id"],
            resume="allow",
            dir=folder,
            config=config,
            settings=wandb.Settings(
                silent=True,
                console="off",
                reinit="finish_previous",  # a run left open would get this run's numbers
                allow_val_change=True,
                init_timeout=_START_SECONDS,
                finish_timeout=_FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        is_offline = options.mode in ("offline", "dryrun")  # the latter is wandb's older name
        self._run = run = start(mode="offline") if is_offline else self._start_online(start)
        self._write_run_file()
        run.define_metric("*", step_metric="epoch")
        # Online, the server knows the last epoch; offline, the earlier process's files hold it.
        self._sent = self._saved["sent"] if run.offline else run.summary.get("epoch") or 0
        self._best: dict[str, Any] = {}
        for epoch in history:
            self.log_epoch(epoch)

    def log_epoch(self, epoch: dict[str, Any], masks: Sequence[Mask] | None = None) -> None:
        """Send an epoch, unless it was sent before the run was interrupted."""
        if not self._best or epoch["iou"] > self._best["best_iou"]:
            self._best = {"best_iou": epoch["iou"], "best_epoch": epoch["epoch"]}
        if epoch["epoch"] <= self._sent:
            return
        values = {name: value for name, value in epoch.items() if name != "wells"}
        values |= {f"wells/{well}": iou for well, iou in epoch["wells"].items()}
        if self._samples and masks is not None:
            values["samples"] = self._samples.make_images(masks, _import_wandb().Image)
        self._run.log(values)
        self._run.summary.update(self._best)
        self._saved["sent"] = epoch["epoch"]
        self._write_run_file()

    def _start_online(self, start: Callable[..., Any]) -> Any:
        """Start online, or offline if there is no login or no network."""
        wandb = _import_wandb()
        reason = "no login found (`wandb login`)"
        try:
            if wandb.login(prompt=False, verify=False):
                run = start(mode="online")
                self._console.print(f"Weights & Biases: {run.url}", soft_wrap=True)
                return run
        except Exception as error:  # wandb raises many kinds, and none of them may stop the run
            reason = _describe_error(error)
            wandb.teardown()  # the failed start still holds the run's id
        self._console.print(f"Weights & Biases: {reason}; tracking offline.", soft_wrap=True)
        return start(mode="offline")

    def _write_run_file(self) -> None:
        atomic_write_text(self._folder / RUN_FILE, json.dumps(self._saved) + "\n")

    def log_wells(
        self, best: dict[str, Any] | None, last: dict[str, Any] | None, wells: Mapping[int, int]
    ) -> None:
        """Send the table of the scores by well; the arguments are those of `log_results`."""
        if best and last:
            columns: list[str | int] = ["well", "patches", "IoU, best epoch", "IoU, last epoch"]
            rows = [
                [well, count, best["wells"][str(well)], last["wells"][str(well)]]
                for well, count in wells.items()
            ]
            table = _import_wandb().Table(columns=columns, data=rows)
            self._run.log({"epoch": last["epoch"], "scores_by_well": table})

    def log_checkpoints(self) -> None:
        """Send the checkpoints as versions of a model, with the aliases "best" and "latest".

        The best goes first, because a server may name the newest version "latest" anyway. If both
        are of one epoch, one version gets both aliases.
        """
        versions: dict[Any, tuple[Path, dict[str, Any], list[str]]] = {}
        for name, alias in (("best", "best"), ("last", "latest")):
            path = self._folder / f"{name}.safetensors"
            if path.exists():
                card = read_card(path)
                metadata = {"data": card.data, "metrics": card.metrics, **card.experiment}
                version = metadata["epochs_done"], metadata["interrupted"]
                versions.setdefault(version, (path, metadata, []))[-1].append(alias)
        for path, metadata, aliases in versions.values():
            name = f"{self._folder.name}-{self._run.id}"
            model = _import_wandb().Artifact(name, "model", metadata=metadata)
            model.add_file(str(path))
            self._run.log_artifact(model, aliases=aliases)

    def finish(self, exit_code: int) -> None:
        """Send the rest, in at most `_FINISH_SECONDS`."""
        files = shlex.quote(str(self._folder / "wandb"))
        message = f"`wandb sync {files}` sends it to Weights & Biases" if self._run.offline else ""
        try:
            with self._console.status("Sending the rest to Weights & Biases"):
                self._run.finish(exit_code=exit_code)
        except TimeoutError:
            message = (
                f"Weights & Biases did not receive everything in {_FINISH_SECONDS} s; `wandb sync "
                f"--include-online {files}` sends the epochs again"
            )
        if message:
            self._console.print(f"{message}.", soft_wrap=True)


def _read_run_file(file: Path) -> dict[str, Any]:
    """Read the id, the group and the last epoch sent of a wandb run; make a new id if missing.

    Raise ValueError if the file is damaged.
    """
    if not file.exists():
        return {"id": secrets.token_hex(4), "group": None, "sent": 0}
    with suppress(ValueError):
        saved = json.loads(file.read_text())
        name = saved.get("id") if isinstance(saved, dict) else None
        if isinstance(name, str) and re.fullmatch(r"[\w-]{1,64}", name):
            sent = saved["sent"] if isinstance(saved.get("sent"), int) else 0
            return {"id": name, "group": saved.get("group"), "sent": sent}
    raise ValueError(f"{file} is damaged; delete it, and the next --resume starts a new run there")


def _describe_error(error: BaseException) -> str:
    """Return an error's message on one line, without a full stop and without pydantic's framing."""
    details = error.errors() if hasattr(error, "errors") else []
    text = details[0]["msg"].removeprefix("Value error, ") if details else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__

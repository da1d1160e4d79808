"""Tracking of a run: JSON lines always, and Weights & Biases (wandb) unless disabled.

An error of wandb never stops a run: it is reported in one line, and at least the JSON lines go on.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from geoseg.atomic_files import atomic_write_text, name_in_errors
from geoseg.checkpoint import read_card
from train.options import TrainOptions
from train.prediction_samples import Mask, PredictionSamples

RUN_FILE = "wandb.json"  # holds the id of a folder's wandb run, its group, and the last epoch sent
_START_SECONDS, _FINISH_SECONDS = 20, 60  # how long to wait for the server


class Tracker:
    """Writes `config.json` and `metrics.jsonl` in a run's folder, and mirrors them to wandb.

    Args:
        folder: of the run; created if missing. The wandb run named in its wandb.json is continued.
        config: everything that determines the run; JSON values.
        history: the lines of epochs that an earlier process logged.
        console: for messages.
        options: how to track with Weights & Biases; None does not.
        samples: the patches whose masks are shown there.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        history: Sequence[dict[str, Any]],
        console: Console,
        options: TrainOptions | None = None,
        samples: PredictionSamples | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lines = folder, folder / "metrics.jsonl"
        self._console, self._samples = console, samples
        atomic_write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        atomic_write_text(self._lines, "".join(json.dumps(epoch) + "\n" for epoch in history))
        self._run: Any = None  # of wandb
        if options:
            with self._report_errors():
                self._start_wandb(config, options)
                for epoch in history:
                    self._send_epoch(epoch)

    def log_epoch(self, epoch: dict[str, Any], masks: Sequence[Mask] | None = None) -> None:
        """Log one epoch.

        Args:
            epoch: JSON values, with "epoch", "iou" and "wells" among them.
            masks: the model's masks of the samples, or None to show none.
        """
        with name_in_errors(self._lines), self._lines.open("a") as lines:
            lines.write(json.dumps(epoch) + "\n")
        if self._run:
            with self._report_errors():
                self._send_epoch(epoch, masks)

    def log_results(
        self, best: dict[str, Any] | None, last: dict[str, Any] | None, wells: Mapping[int, int]
    ) -> None:
        """Send the scores of each well and the checkpoints in the folder to wandb.

        Args:
            best, last: the lines of these epochs, if any.
            wells: the number of validation patches of each well.
        """
        if not (run := self._run):
            return
        with self._report_errors("not all scores by well and checkpoints are sent"):
            if best and last:
                columns = ["well", "patches", "IoU, best epoch", "IoU, last epoch"]
                rows = [
                    [well, count, best["wells"][str(well)], last["wells"][str(well)]]
                    for well, count in wells.items()
                ]
                table = self._wandb.Table(columns=columns, data=rows)
                run.log({"epoch": last["epoch"], "scores_by_well": table})
            # The best goes first, because a server may name the newest version "latest" anyway.
            for file, alias in (("best", "best"), ("last", "latest")):
                path = self._folder / f"{file}.safetensors"
                if path.exists():
                    card = read_card(path)
                    metadata = {"data": card.data, "metrics": card.metrics, **card.experiment}
                    name = f"{self._folder.name}-{run.id}"
                    model = self._wandb.Artifact(name, "model", metadata=metadata)
                    model.add_file(str(path))
                    run.log_artifact(model, aliases=[alias])
        self._run = run  # the epochs already sent must still be finished

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if self._run:
            with self._report_errors("not everything was sent"):
                self._finish(exit_code=0 if error_type is None else 1)

    @contextmanager
    def _report_errors(self, consequence: str = "training continues without it") -> Iterator[None]:
        """Report any error of wandb instead of raising it, and end the tracking there."""
        try:
            yield
        except Exception as error:
            self._run = None
            message = f"Weights & Biases: {_describe_error(error)}; {consequence}."
            self._console.print(message, soft_wrap=True)

    def _start_wandb(self, config: dict[str, Any], options: TrainOptions) -> None:
        """Start or continue the folder's wandb run; offline if there is no login or no network."""
        # Its error reports to its makers would delay the end if the server does not answer.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._wandb: Any = import_module("wandb")  # not above: it takes a second
        wandb, self._saved = self._wandb, {"id": secrets.token_hex(4), "group": None, "sent": 0}
        if (self._folder / RUN_FILE).exists():
            self._saved |= json.loads((self._folder / RUN_FILE).read_text())
        self._saved["group"] = self._saved["group"] or options.wandb_group
        start = partial(
            wandb.init,
            entity=options.wandb_entity,
            group=self._saved["group"],
            name=self._folder.name,
            id=self._saved["id"],
            resume="allow",
            dir=self._folder,
            config=config,
            settings=wandb.Settings(
                project=options.wandb_project,
                run_tags=tuple(dict.fromkeys([config["architecture"], *options.wandb_tags])),
                silent=True,
                console="off",
                reinit="finish_previous",  # a run left open would get this run's numbers
                allow_val_change=True,
                init_timeout=_START_SECONDS,
                finish_timeout=_FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        if options.wandb_mode != "online":
            self._run = start(mode=options.wandb_mode)
        else:
            message = "no login found (`wandb login`); tracking offline."
            try:
                if wandb.login(prompt=False, verify=False):
                    self._run = start(mode="online")
                    message = self._run.url
            except Exception as error:  # wandb raises many kinds, and none of them may stop the run
                message = f"{_describe_error(error)}; tracking offline."
                wandb.teardown()  # the failed start still holds the run's id
            self._console.print(f"Weights & Biases: {message}", soft_wrap=True)
            self._run = self._run or start(mode="offline")
        self._write_run_file()
        self._run.define_metric("*", step_metric="epoch")
        if not self._run.offline:  # the server knows; offline the earlier process's files hold it
            self._saved["sent"] = self._run.summary.get("epoch") or 0
        self._best: dict[str, Any] = {}

    def _write_run_file(self) -> None:
        atomic_write_text(self._folder / RUN_FILE, json.dumps(self._saved) + "\n")

    def _send_epoch(self, epoch: dict[str, Any], masks: Sequence[Mask] | None = None) -> None:
        """Send an epoch, unless it was sent before the run was interrupted."""
        if not self._best or epoch["iou"] > self._best["best_iou"]:
            self._best = {"best_iou": epoch["iou"], "best_epoch": epoch["epoch"]}
        if epoch["epoch"] <= self._saved["sent"]:
            return
        values = {name: value for name, value in epoch.items() if name != "wells"}
        values |= {f"wells/{well}": iou for well, iou in epoch["wells"].items()}
        if self._samples and masks is not None:
            values["samples"] = self._samples.make_images(masks, self._wandb.Image)
        self._run.log(values)
        self._run.summary.update(self._best)
        self._saved["sent"] = epoch["epoch"]
        self._write_run_file()

    def _finish(self, exit_code: int) -> None:
        """Send the rest, in at most `_FINISH_SECONDS`."""
        files = shlex.quote(str(self._folder / "wandb"))
        message = f"`wandb sync {files}` sends it to Weights & Biases." if self._run.offline else ""
        try:
            with self._console.status("Sending the rest to Weights & Biases"):
                self._run.finish(exit_code=exit_code)
        except TimeoutError:
            message = (
                f"Weights & Biases did not receive everything in {_FINISH_SECONDS} s; `wandb sync "
                f"--include-online {files}` sends the epochs again."
            )
        if message:
            self._console.print(message, soft_wrap=True)


def _describe_error(error: Exception) -> str:
    """Return an error's message on one line, without a full stop and without pydantic's framing."""
    details = error.errors() if hasattr(error, "errors") else []
    text = details[0]["msg"].removeprefix("Value error, ") if details else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__

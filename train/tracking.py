"""Where a run's numbers go: JSON lines always, Weights & Biases when asked.

Nothing that goes wrong with Weights & Biases stops a run: it is said in one sentence, and the run
goes on with what is left, its JSON lines at the least.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from geoseg.atomic_files import atomic_write_text, name_in_errors
from geoseg.checkpoint import read_card
from train.prediction_samples import Mask, PredictionSamples
from train.wandb_options import Mode, Tracking

RUN_FILE = "wandb.json"  # the run that a folder is tracked as
_START, _FINISH = 20, 60  # seconds to wait for the server at most


def check_names(project: str | None, entity: str | None, tags: Sequence[str] | None) -> None:
    """ValueError where wandb would refuse these."""
    if entity and not re.fullmatch(r"[\w.-]+", entity):
        raise ValueError(f"Weights & Biases: {entity!r} is no name of a user or team")
    if project or tags:
        wandb = _import_wandb()
        try:
            wandb.Settings(project=project, run_tags=tuple(tags) if tags else None)
        except (wandb.Error, ValueError) as error:
            raise ValueError(f"Weights & Biases: {_sentence(error)}") from error


def _import_wandb() -> Any:
    """The package, which takes a second that a run without it should not pay."""
    # What it tells its makers of itself would hold up the end where a server is silent.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


class Tracker:
    """Writes `config.json` and `metrics.jsonl` in a run's folder, and mirrors them to wandb.

    Args:
        folder: of the run; made where missing. If a wandb.json is there, the run that it names goes
            on.
        config: everything that made the run what it is; JSON values.
        records: of epochs that an earlier process has logged.
        tracking: how to track with Weights & Biases.
        samples: the patches whose masks are shown there.
        console: where to say what becomes of it.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        records: Sequence[dict[str, Any]] = (),
        *,
        tracking: Tracking,
        console: Console,
        samples: PredictionSamples | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lines, self._console = folder / "metrics.jsonl", console
        atomic_write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        atomic_write_text(self._lines, "".join(json.dumps(record) + "\n" for record in records))
        self._mirror: _Mirror | None = None
        if tracking.wanted:
            with self._sparing_the_run():
                self._mirror = _Mirror(folder, config, records, tracking, samples, console)

    def log(self, record: dict[str, Any], masks: Sequence[Mask] | None = None) -> None:
        """Write one epoch.

        Args:
            record: JSON values, with "epoch", "iou" and "wells" among them.
            masks: what the model makes of the samples, where they shall be shown.
        """
        with name_in_errors(self._lines), self._lines.open("a") as lines:
            lines.write(json.dumps(record) + "\n")
        if self._mirror:
            with self._sparing_the_run():
                self._mirror.log(record, masks)

    def conclude(
        self, best: dict[str, Any] | None, last: dict[str, Any] | None, wells: Mapping[int, int]
    ) -> None:
        """Show the scores of each well, and keep the checkpoints that stand in the folder.

        Args:
            best, last: the records of these epochs, where there are any.
            wells: how many validation patches each well has.
        """
        if self._mirror:
            # What was sent before is still to be finished.
            with self._sparing_the_run("the scores by well are not shown there", ends=False):
                self._mirror.send_scores(best, last, wells)
            with self._sparing_the_run("the checkpoints are not kept there", ends=False):
                self._mirror.send_checkpoints()

    @contextmanager
    def _sparing_the_run(
        self, then: str = "the run goes on without it", ends: bool = True
    ) -> Iterator[None]:
        """Whatever wandb raises ends the tracking at most, not the training; `then` is said."""
        try:
            yield
        except Exception as error:
            if ends:
                self._mirror = None
            self._console.print(f"Weights & Biases: {_sentence(error)}; {then}.", soft_wrap=True)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._mirror:
            with self._sparing_the_run("not all of it was sent"):
                self._mirror.finish(exit_code=0 if error is None else 1)


class _Mirror:
    """A run at Weights & Biases; the arguments are those of `Tracker`. Raises what wandb raises."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        records: Sequence[dict[str, Any]],
        tracking: Tracking,
        samples: PredictionSamples | None,
        console: Console,
    ) -> None:
        self._folder, self._samples, self._console = folder, samples, console
        self._known = _read_known(folder / RUN_FILE)
        self._known["group"] = tracking.group or self._known["group"] or tracking.command
        self._run = run = _start(self._known, folder, config, tracking, console)
        self._note()
        run.define_metric("*", step_metric="epoch")
        # A server says what it has already; offline that is in the files of the process before.
        self._sent = self._known["sent"] if run.offline else run.summary.get("epoch") or 0
        self._best: dict[str, Any] = {}
        for record in records:
            self.log(record)

    def log(self, record: dict[str, Any], masks: Sequence[Mask] | None = None) -> None:
        """Send an epoch, unless it was sent before the run was interrupted."""
        if not self._best or record["iou"] > self._best["best_iou"]:
            self._best = {"best_iou": record["iou"], "best_epoch": record["epoch"]}
        if record["epoch"] <= self._sent:
            return
        values = {name: value for name, value in record.items() if name != "wells"}
        values |= {f"wells/{well}": iou for well, iou in record["wells"].items()}
        if self._samples and masks is not None:
            values["samples"] = self._samples.images(masks, _import_wandb().Image)
        self._run.log(values)
        self._run.summary.update(self._best)
        self._known["sent"] = record["epoch"]
        self._note()

    def _note(self) -> None:
        atomic_write_text(self._folder / RUN_FILE, json.dumps(self._known) + "\n")

    def send_scores(
        self, best: dict[str, Any] | None, last: dict[str, Any] | None, wells: Mapping[int, int]
    ) -> None:
        """Send the table that `Tracker.conclude` speaks of."""
        if best and last:
            names: list[str | int] = ["well", "patches", "IoU, best epoch", "IoU, last epoch"]
            rows = [
                [well, count, best["wells"][str(well)], last["wells"][str(well)]]
                for well, count in wells.items()
            ]
            table = _import_wandb().Table(columns=names, data=rows)
            self._run.log({"epoch": last["epoch"], "scores_by_well": table})

    def send_checkpoints(self) -> None:
        """The best weights with the alias "best", the last with "latest", as versions of a model.

        In this order, as a server may call the newest version "latest" in any case. Where both are
        those of one epoch, one version has both names.
        """
        versions: dict[Any, tuple[Path, dict[str, Any], list[str]]] = {}
        for name, alias in (("best", "best"), ("last", "latest")):
            path = self._folder / f"{name}.safetensors"
            if path.exists():
                card = read_card(path)
                about = {"data": card.data, "metrics": card.metrics, **card.experiment}
                weights = about["epochs_done"], about["interrupted"]
                versions.setdefault(weights, (path, about, []))[-1].append(alias)
        for path, about, aliases in versions.values():
            name = f"{self._folder.name}-{self._run.id}"
            model = _import_wandb().Artifact(name, "model", metadata=about)
            model.add_file(str(path))
            self._run.log_artifact(model, aliases=aliases)

    def finish(self, exit_code: int) -> None:
        """Send what is left, in a minute at most."""
        files = shlex.quote(str(self._folder / "wandb"))
        words = f"`wandb sync {files}` sends it to Weights & Biases" if self._run.offline else None
        try:
            with self._console.status("Sending what is left to Weights & Biases"):
                self._run.finish(exit_code=exit_code)
        except TimeoutError:
            words = (
                f"Weights & Biases did not take all of it in {_FINISH} s; `wandb sync "
                f"--include-online {files}` sends the epochs again"
            )
        if words:
            self._console.print(f"{words}.", soft_wrap=True)


def _start(
    known: dict[str, Any],
    folder: Path,
    config: dict[str, Any],
    tracking: Tracking,
    console: Console,
) -> Any:
    """A run of wandb, online where that is wished and possible."""
    wandb = _import_wandb()
    wandb.setup(wandb.Settings(silent=True))

    def start(mode: Mode) -> Any:
        return wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            group=known["group"],
            tags=list(dict.fromkeys([config["architecture"], *tracking.tags])),
            name=folder.name,
            id=known["id"],
            resume="allow",
            dir=folder,
            config=config,
            mode=mode,
            settings=wandb.Settings(
                silent=True,
                console="off",
                reinit="finish_previous",  # were one left open, it would get this run's numbers
                allow_val_change=True,
                init_timeout=_START,
                finish_timeout=_FINISH,
                finish_timeout_raises=True,
            ),
        )

    return _start_online(start, console) if tracking.mode == "online" else start("offline")


def _read_known(file: Path) -> dict[str, Any]:
    """What is known of the run that goes on, or a new one: its id, its group, the last epoch sent.

    ValueError where the file is damaged.
    """
    if not file.exists():
        return {"id": secrets.token_hex(4), "group": None, "sent": 0}
    with suppress(ValueError):
        known = json.loads(file.read_text())
        name = known.get("id") if isinstance(known, dict) else None
        if isinstance(name, str) and re.fullmatch(r"[\w-]{1,64}", name):
            sent = known["sent"] if isinstance(known.get("sent"), int) else 0
            return {"id": name, "group": known.get("group"), "sent": sent}
    raise ValueError(f"{file} is damaged; without it, the next --resume begins a new run there")


def _start_online(start: Callable[[Mode], Any], console: Console) -> Any:
    wandb = _import_wandb()
    reason = "no login found (`wandb login`)"
    try:
        if wandb.login(prompt=False, verify=False):
            run = start("online")
            console.print(f"Weights & Biases: {run.url}", soft_wrap=True)
            return run
    except Exception as error:  # of many kinds, and none of them must end the run
        reason = _sentence(error)
        wandb.teardown()  # what has failed to start holds the run's id
    console.print(f"Weights & Biases: {reason}; tracking offline.", soft_wrap=True)
    return start("offline")


def _sentence(error: BaseException) -> str:
    """What an error says, on one line and with no full stop; pydantic's without its own words."""
    details = error.errors() if hasattr(error, "errors") else []
    text = details[0]["msg"].removeprefix("Value error, ") if details else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__

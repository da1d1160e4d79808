"""Where a run's numbers go: JSON lines always, Weights & Biases when asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rich.console import Console

from geoseg.files import naming, replace_text


class TrackingError(RuntimeError):
    """Tracking cannot start; the message says why and what to do."""


class Tracker:
    """Writes `config.json` and `metrics.jsonl` in a run's folder, and mirrors them to wandb.

    Args:
        folder: of the run; made where missing.
        config: everything that made the run what it is; JSON values.
        records: of epochs that an earlier process has logged.
        wandb: also track with Weights & Biases: online where there is a login, else offline, which
            is said; it never asks. The environment (WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY) is
            heeded.
        console: where to say so.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        records: Sequence[dict[str, Any]] = (),
        *,
        wandb: bool,
        console: Console,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = folder / "metrics.jsonl"
        replace_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        replace_text(self._lines, "".join(json.dumps(record) + "\n" for record in records))
        self._run = _start_wandb(folder, config, console) if wandb else None

    def log(self, record: dict[str, Any]) -> None:
        """Write one epoch; `record` has an "epoch" and JSON values."""
        with naming(self._lines), self._lines.open("a") as lines:
            lines.write(json.dumps(record) + "\n")
        if self._run:
            self._run.log(record)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._run:
            self._run.finish(exit_code=0 if error is None else 1)


def _start_wandb(folder: Path, config: dict[str, Any], console: Console) -> Any:
    import wandb  # takes a second, which a run without it should not pay

    def start(mode: Literal["online", "offline", "disabled"]) -> Any:
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", "geoseg"),
            name=folder.name,
            dir=folder,
            config=config,
            mode=mode,
            settings=wandb.Settings(silent=True, console="off", init_timeout=30),
        )

    wish = os.environ.get("WANDB_MODE", "online")
    try:
        if wish == "disabled":
            run = start("disabled")
        elif wish in {"offline", "dryrun"}:
            run = start("offline")
        elif wish not in {"online", "run", "shared"}:
            raise TrackingError(f"WANDB_MODE is {wish!r}; set it to online, offline or disabled")
        elif not wandb.login(prompt=False, verify=False):
            console.print("Weights & Biases: no login found (`wandb login`), tracking offline.")
            run = start("offline")
        else:
            run = _start_online(start, console)
    except (wandb.Error, ValueError) as error:
        raise TrackingError(f"Weights & Biases: {error}; mend it, or add -nowb") from error
    run.define_metric("*", step_metric="epoch")
    return run


def _start_online(start: Callable[[Any], Any], console: Console) -> Any:
    import wandb

    try:
        run = start("online")
    except wandb.Error as error:
        console.print(f"Weights & Biases cannot be reached ({error}); tracking offline.")
        return start("offline")
    console.print(f"Weights & Biases: {run.url}", soft_wrap=True)
    return run

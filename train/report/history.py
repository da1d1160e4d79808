"""Read what a run wrote about itself from its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_METRICS_FILE = "metrics.jsonl"
_LIMIT = 1e9  # a larger number is damaged


class RunHistoryError(ValueError):
    """A history that cannot be read; the message names the folder and the reason."""


@dataclass(frozen=True)
class RunHistory:
    """The epochs of a run.

    Attributes:
        name: name of the folder.
        epochs: the metrics of each complete epoch, in order; at least one.
        config: the configuration of the run; empty if it is missing or damaged.
        damaged: numbers of the lines that were left out.
    """

    name: str
    epochs: list[dict[str, Any]]
    config: dict[str, Any]
    damaged: list[int]

    @property
    def best(self) -> dict[str, Any]:
        """Return the metrics of the epoch with the best validation IoU, the first of equals."""
        return max(self.epochs, key=lambda epoch: epoch["iou"])

    def series(self, key: str) -> list[tuple[int, float]]:
        """Return the number of each epoch with its value of a metric."""
        return [(epoch["epoch"], epoch[key]) for epoch in self.epochs]


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of runs at or directly in `paths`, each once.

    RunHistoryError if there is none in one of `paths`.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        runs = [path] if (path / _METRICS_FILE).is_file() else sorted(_find_started_runs(path))
        if not runs:
            reason = "is not there" if not path.exists() else "holds no run"
            raise RunHistoryError(f"{path} {reason}; name a folder with a {_METRICS_FILE}")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _find_started_runs(folder: Path) -> list[Path]:
    return [file.parent for file in folder.glob(f"*/{_METRICS_FILE}") if file.stat().st_size]


def read_history(folder: Path) -> RunHistory:
    """Read a run; RunHistoryError if it has no complete epoch, OSError if it cannot be read."""
    lines = (folder / _METRICS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    epochs: dict[int, dict[str, Any]] = {}
    damaged = []
    for number, line in enumerate(lines, 1):
        epoch = _parse_json(line)
        if _is_epoch(epoch):
            epochs[epoch["epoch"]] = epoch
        else:
            damaged.append(number)
    if not epochs:
        reason = {0: "it has no complete epoch yet", 1: "its only line is damaged"}.get(
            len(lines), f"all {len(lines)} lines are damaged"
        )
        raise RunHistoryError(f"{folder / _METRICS_FILE} cannot be drawn: {reason}")
    file = folder / "config.json"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    config = _parse_json(text)
    ordered = [epochs[number] for number in sorted(epochs)]
    return RunHistory(
        folder.resolve().name, ordered, config if isinstance(config, dict) else {}, damaged
    )


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for thousands of brackets
        return None


def _is_epoch(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and type(value.get("epoch")) is int
        and 0 < value["epoch"] < _LIMIT
        and all(
            type(value.get(key)) in (int, float) and 0 <= value[key] < _LIMIT
            for key in ("loss", "validation_loss", "iou")
        )
    )

"""Read what a run wrote about itself from its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_METRICS_FILE = "metrics.jsonl"
_LIMIT = 1e9  # a larger number is damaged


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

    ValueError if there is none in one of `paths`.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        files = [*path.glob(_METRICS_FILE), *sorted(path.glob(f"*/{_METRICS_FILE}"))]
        runs = [file.parent for file in files if file.stat().st_size]
        if not runs:
            raise ValueError(f"{path} holds no run; name a folder with a {_METRICS_FILE}")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def read_history(folder: Path) -> RunHistory:
    """Read a run; ValueError if it has no complete epoch, OSError if it cannot be read."""
    file = folder / _METRICS_FILE
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    epochs = {number: _parse_epoch(line) for number, line in enumerate(lines, 1)}
    complete = {epoch["epoch"]: epoch for epoch in epochs.values() if epoch}
    if not complete:
        raise ValueError(f"{file} cannot be drawn: it has no complete epoch")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = {}
    return RunHistory(
        folder.resolve().name,
        [complete[number] for number in sorted(complete)],
        config if isinstance(config, dict) else {},
        [number for number, epoch in epochs.items() if not epoch],
    )


def _parse_epoch(line: str) -> dict[str, Any] | None:
    """Return the metrics of an epoch; None if the line is damaged."""
    try:
        epoch = json.loads(line)
        scores = [epoch[key] for key in ("loss", "validation_loss", "iou")]
        valid = 0 < epoch["epoch"] < _LIMIT and all(0 <= value < _LIMIT for value in scores)
    # RecursionError for thousands of brackets; TypeError for a number that is text, for example.
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return epoch if valid else None

"""What a run has written about itself, read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LINES = "metrics.jsonl"
_MOST = 1e9  # beyond it a number is damaged


class RunHistoryError(ValueError):
    """A folder whose history cannot be read; the message says which and why."""


@dataclass(frozen=True)
class RunHistory:
    """The epochs of a run.

    Attributes:
        name: of the folder.
        records: a complete epoch each, in their order; never none.
        config: everything that made the run what it is; empty where it is missing or damaged.
        damaged: the numbers of the lines that were left out.
    """

    name: str
    records: list[dict[str, Any]]
    config: dict[str, Any]
    damaged: list[int]

    @property
    def best(self) -> dict[str, Any]:
        """The record with the best validation IoU, the first of equals."""
        return max(self.records, key=lambda record: record["iou"])

    def series(self, name: str) -> list[tuple[int, float]]:
        """The epochs with the value of each."""
        return [(record["epoch"], record[name]) for record in self.records]


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The runs' folders among `paths`, each once; a folder of runs stands for those in it.

    HistoryError where there is none in one of them.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        runs = [path] if (path / _LINES).is_file() else sorted(_runs_in(path))
        if not runs:
            what = "is not there" if not path.exists() else "holds no run"
            raise RunHistoryError(f"{path} {what}; name a folder with a {_LINES}")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _runs_in(folder: Path) -> list[Path]:
    """Those that have begun to write."""
    return [lines.parent for lines in folder.glob(f"*/{_LINES}") if lines.stat().st_size]


def read_history(folder: Path) -> RunHistory:
    """Read a run; HistoryError where it has no complete epoch, OSError where it cannot be read."""
    lines = (folder / _LINES).read_text(encoding="utf-8", errors="replace").splitlines()
    records: dict[int, dict[str, Any]] = {}
    damaged = []
    for number, line in enumerate(lines, 1):
        record = _parse(line)
        if _is_record(record):
            records[record["epoch"]] = record
        else:
            damaged.append(number)
    if not records:
        why = {0: "it has no complete epoch yet", 1: "its only line is damaged"}.get(
            len(lines), f"all {len(lines)} lines are damaged"
        )
        raise RunHistoryError(f"{folder / _LINES} cannot be drawn: {why}")
    file = folder / "config.json"
    config = _parse(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else None
    ordered = [records[epoch] for epoch in sorted(records)]
    return RunHistory(
        folder.resolve().name, ordered, config if isinstance(config, dict) else {}, damaged
    )


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for thousands of brackets
        return None


def _is_record(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and type(value.get("epoch")) is int
        and 0 < value["epoch"] < _MOST
        and all(
            type(value.get(name)) in (int, float) and 0 <= value[name] < _MOST
            for name in ("loss", "validation_loss", "iou")
        )
    )

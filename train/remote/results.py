"""Fetched runs: unpack and check them; a local run is replaced only on request."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from geoseg.checkpoint import CheckpointError, load_checkpoint, read_card
from train.checkpointing import CHECKPOINTS, lock_folder
from train.remote import RemoteError

BEST, LAST = CHECKPOINTS
ARCHIVE = "runs.tar"


class FetchedRun(NamedTuple):
    """What `install_runs` did with one run: whether it is installed now, and why not."""

    name: str
    installed: bool
    message: str


def install_runs(
    archive: Path, output: Path, overwrite: bool, names: Sequence[str]
) -> list[FetchedRun]:
    """Put the runs of an archive into `output`, in the trainer's layout `<id>-<name>/`.

    Install the runs `names`, with their folds, whose checkpoints load; replace a local run only
    with `overwrite`. Raise RemoteError if the archive cannot be unpacked, OSError if `output`
    cannot be written or a process is training in a run's folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".fetched-") as unpacked:
        try:
            with tarfile.open(archive, "r:") as packed:
                without_links = [m for m in packed if m.isfile() or m.isdir()]
                packed.extractall(unpacked, without_links, filter="data")
        except tarfile.TarError as error:
            raise RemoteError(f"{archive.name} is damaged ({error}); fetch it again") from error
        fetched = sorted(Path(unpacked).iterdir())
        return [
            _install(path, output / path.name, overwrite)
            for path in fetched
            if any(is_run_of(path.name, name) for name in names)
        ]


def is_run_of(file: str, name: str) -> bool:
    """Whether a file or folder belongs to the run `name` or to one of its folds."""
    return file == name or file.startswith(f"{name}-fold")


def _install(path: Path, target: Path, overwrite: bool) -> FetchedRun:
    """Move a run, or the summary of several folds, to `target`."""
    try:
        message = _check_run(path) if path.is_dir() else "installed"
    except CheckpointError as error:
        return FetchedRun(path.name, False, f"not installed: {error}")
    if target.exists() and not overwrite:
        return FetchedRun(path.name, False, "kept as it is here; --overwrite replaces it")
    if target.is_dir():
        with lock_folder(target):
            replaced = target.replace(path.with_name(f"{path.name}.replaced"))
        try:
            path.replace(target)
        except BaseException:
            replaced.replace(target)
            raise
    else:
        path.replace(target)
    return FetchedRun(path.name, True, message)


def _check_run(run: Path) -> str:
    """Return the score of a run; raise CheckpointError if a checkpoint does not load."""
    load_checkpoint(run / LAST)
    if not (run / BEST).exists():
        return "stopped in its first epoch"
    load_checkpoint(run / BEST)
    scores = read_card(run / BEST).metrics.get("validation", {})
    return f"best validation IoU {scores.get('iou', float('nan')):.4f}"

"""Fetched runs: unpack and check them, and replace only worse local runs."""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.card import Card
from geoseg.checkpoint import CheckpointError, load_checkpoint, read_card
from train.checkpointing import CHECKPOINTS, lock_folder
from train.remote.job import RemoteError
from train.state import StateError, StateStore

BEST, LAST = CHECKPOINTS
ARCHIVE, RESULT, LOG = "runs.tar", "result.json", "training.log"


@dataclass(frozen=True)
class FetchedRun:
    """What `install_runs` did with one run: whether it is installed now, and why."""

    name: str
    installed: bool
    message: str


def install_runs(
    results: Path, output: Path, overwrite: bool, names: Sequence[str]
) -> tuple[list[FetchedRun], str]:
    """Put the runs of an archive into `output`, in the trainer's layout `<id>-<name>/`.

    A run whose checkpoints do not load is not installed; one that was stopped in its first epoch
    has no best checkpoint yet. A local run is replaced if its best validation IoU on the same
    patches is lower, or equal after fewer epochs, or if `overwrite` is set.

    Args:
        results: the folder of the downloaded files.
        output: the local folder of runs.
        overwrite: replace local runs even if they are better.
        names: the runs to install, with their folds.

    Returns:
        What was done with each run, and why the training failed, or "".

    Raises:
        RemoteError: there is no archive, or it cannot be unpacked.
        OSError: `output` cannot be written, or a process is training in a run's folder.
    """
    archive = results / ARCHIVE
    if not archive.exists():
        raise RemoteError(f"the training left no {ARCHIVE}{_read_last_lines(results)}")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".fetched-") as scratch:
        unpacked, replaced = Path(scratch, "new"), Path(scratch, "old")
        unpacked.mkdir()
        replaced.mkdir()
        try:
            with tarfile.open(archive, "r:") as packed:
                without_links = [m for m in packed if m.isfile() or m.isdir()]
                packed.extractall(unpacked, without_links, filter="data")
        except tarfile.TarError as error:
            reason = str(error).partition("\n")[0]
            raise RemoteError(f"{ARCHIVE} is damaged ({reason}); fetch it again") from error
        fetched = []
        for run in sorted(unpacked.iterdir()):
            if not any(is_run_of(run.name, name) for name in names):
                continue
            if run.is_dir():
                fetched.append(_install_run(run, output / run.name, replaced, overwrite))
            elif overwrite or not (output / run.name).exists():  # the summary of several folds
                shutil.copy(run, output / run.name)
    return fetched, _describe_failure(results)


def is_run_of(file: str, name: str) -> bool:
    """Whether a file or folder belongs to the run `name` or to one of its folds."""
    return file == name or file.startswith(f"{name}-fold")


def _install_run(run: Path, target: Path, replaced: Path, overwrite: bool) -> FetchedRun:
    """Move one run to `target`, unless the run there is better."""
    best = None
    try:
        if (run / BEST).exists() or not _has_state(run):
            best = load_checkpoint(run / BEST).card
        last = load_checkpoint(run / LAST).card
    except (CheckpointError, StateError) as error:
        return FetchedRun(run.name, False, f"not installed: {error}")
    assert last
    score = f"best validation IoU {_iou(best):.4f}" if best else "stopped in its first epoch"
    if not target.exists():
        run.rename(target)
        return FetchedRun(run.name, True, score)
    with lock_folder(target):
        if all(_have_same_bytes(run / name, target / name) for name in CHECKPOINTS):
            return FetchedRun(run.name, True, "is already installed")
        reason = "" if overwrite else _find_reason_to_keep(target, best, last)
        if reason:
            message = f"the run in {target} is kept; --overwrite replaces it: {reason}"
            return FetchedRun(run.name, False, message)
        target.rename(replaced / run.name)
        try:
            run.rename(target)
        except BaseException:  # Ctrl-C too
            (replaced / run.name).rename(target)
            raise
    return FetchedRun(run.name, True, f"{score}, replaces the local run")


def _has_state(run: Path) -> bool:
    """Whether a run can be resumed."""
    return StateStore(run / "resume").load()[0] is not None


def _have_same_bytes(file: Path, other: Path) -> bool:
    if not file.exists() or not other.exists():
        return file.exists() == other.exists()
    return file.read_bytes() == other.read_bytes()


def _find_reason_to_keep(target: Path, best: Card | None, last: Card) -> str:
    """Return why the fetched run should not replace the local one, or ""."""
    if not best:
        return "the fetched one was stopped in its first epoch"
    try:
        local, local_last = (read_card(target / name) for name in CHECKPOINTS)
    except CheckpointError as error:
        return f"it cannot be compared ({error})"
    if _describe_patches(local) != _describe_patches(best):
        return f"scored on other patches ({local.data}; fetched: {best.data})"
    if (_iou(local), _epochs(local_last)) >= (_iou(best), _epochs(last)):
        return f"best validation IoU {_iou(local):.4f}, fetched {_iou(best):.4f}"
    return ""


def _iou(card: Card) -> float:
    validation = card.metrics.get("validation") or {}
    return float(validation.get("iou", 0.0))


def _epochs(card: Card) -> int:
    return int(card.experiment.get("epochs_done", 0))


def _describe_patches(card: Card) -> str:
    """Return what a run was trained and validated on, without the folder, which differs there."""
    return card.data.partition("; ")[2]


def describe_training(results: Path) -> str:
    """Return the command that the other machine ran, or "" if it is unknown."""
    try:
        result = json.loads((results / RESULT).read_text())
        command = shlex.join(["python", "-m", "train", *map(str, result["arguments"])])
        return f"{command}, at commit {str(result['commit'])[:10] or 'unknown'}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _describe_failure(results: Path) -> str:
    try:
        code = int(json.loads((results / RESULT).read_text())["exit_code"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return f"the training did not finish{_read_last_lines(results)}"
    if code == 0:
        return ""
    if code in (143, -15):
        return "the training reached its time limit; python -m train ... --resume continues it here"
    return f"the training ended with exit code {code}{_read_last_lines(results)}"


def _read_last_lines(results: Path, lines: int = 5) -> str:
    log = results / LOG
    if not log.exists():
        return ""
    text = log.read_text(errors="replace").strip().splitlines()
    return "".join(f"\n  {line}" for line in text[-lines:])

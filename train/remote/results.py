"""Bringing runs home: unpacked, checked, and never in place of a better one."""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from geoseg.card import Card
from geoseg.checkpoint import CheckpointError, load_checkpoint, read_card
from train.checkpointing import CHECKPOINTS, lock_folder
from train.remote.job import RemoteError
from train.state import StateError, StateStore

BEST, LAST = CHECKPOINTS
ARCHIVE, RESULT, LOG = "runs.tar", "result.json", "training.log"


class FetchedRun(NamedTuple):
    """What became of one run: whether it is here now, and why, in words."""

    name: str
    here: bool
    words: str


def install_runs(
    collected: Path, output: Path, overwrite: bool, labels: Sequence[str]
) -> tuple[list[FetchedRun], str]:
    """Put the runs of an archive into `output`, each `<id>-<name>/` as the trainer lays it out.

    Only those of the experiments `labels` and of their folds. A run whose checkpoints do not load
    stays away; one that was stopped in its first epoch has no best one yet. One that is there
    already is replaced if it is worse, by the best validation IoU on the same patches, or did not
    come as far with the same, or by `overwrite`.

    Returns:
        What became of each run, and what went wrong in the training, or "".

    Raises:
        RemoteError: there is no archive, or it cannot be unpacked.
        OSError: `output` cannot be written, or a process is training in a run's folder.
    """
    archive = collected / ARCHIVE
    if not archive.exists():
        raise RemoteError(f"the training left no {ARCHIVE}{_tail(collected)}")
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
        outcomes = []
        for run in sorted(unpacked.iterdir()):
            if not any(is_of(run.name, label) for label in labels):
                continue
            if run.is_dir():
                outcomes.append(_settle(run, output / run.name, replaced, overwrite))
            elif overwrite or not (output / run.name).exists():  # the summary of several folds
                shutil.copy(run, output / run.name)
    return outcomes, _failure(collected)


def is_of(name: str, label: str) -> bool:
    """Whether a file or folder is of an experiment's run, or of its folds."""
    return name == label or name.startswith(f"{label}-fold")


def _settle(run: Path, target: Path, replaced: Path, overwrite: bool) -> FetchedRun:
    """Move one run to where it belongs, if it should be there."""
    best = None
    try:
        if (run / BEST).exists() or not _is_begun(run):
            best = load_checkpoint(run / BEST).card
        last = load_checkpoint(run / LAST).card
    except (CheckpointError, StateError) as error:
        return FetchedRun(run.name, False, f"left where it was: {error}")
    assert last
    score = f"best validation IoU {_iou(best):.4f}" if best else "stopped in its first epoch"
    if not target.exists():
        run.rename(target)
        return FetchedRun(run.name, True, score)
    with lock_folder(target):
        if all(_same(run / name, target / name) for name in CHECKPOINTS):
            return FetchedRun(run.name, True, "is here already")
        stays = "" if overwrite else _why_not(best, last, target)
        if stays:
            words = f"the run in {target} stays; --overwrite replaces it: {stays}"
            return FetchedRun(run.name, False, words)
        target.rename(replaced / run.name)
        try:
            run.rename(target)
        except BaseException:  # Ctrl-C too
            (replaced / run.name).rename(target)
            raise
    return FetchedRun(run.name, True, f"{score}, in place of the run that was here")


def _is_begun(run: Path) -> bool:
    """Whether a run can be gone on with."""
    return StateStore(run / "resume").load()[0] is not None


def _same(file: Path, other: Path) -> bool:
    if not file.exists() or not other.exists():
        return file.exists() == other.exists()
    return file.read_bytes() == other.read_bytes()


def _why_not(best: Card | None, last: Card, target: Path) -> str:
    """Why a run that is here should not be replaced by the fetched one, or ""."""
    if not best:
        return "the fetched one was stopped in its first epoch"
    try:
        ours, our_last = (read_card(target / name) for name in CHECKPOINTS)
    except CheckpointError as error:
        return f"it cannot be compared ({error})"
    if _patches(ours) != _patches(best):
        return f"scored on other patches ({ours.data}; fetched: {best.data})"
    if (_iou(ours), _epochs(our_last)) >= (_iou(best), _epochs(last)):
        return f"best validation IoU {_iou(ours):.4f}, fetched {_iou(best):.4f}"
    return ""


def _iou(card: Card) -> float:
    validation = card.metrics.get("validation") or {}
    return float(validation.get("iou", 0.0))


def _epochs(card: Card) -> int:
    return int(card.experiment.get("epochs_done", 0))


def _patches(card: Card) -> str:
    """What a run was trained and judged on, without the name of the folder, another one there."""
    return card.data.partition("; ")[2]


def ordered(collected: Path) -> str:
    """What the other machine was told, in words, or "" where it left no word of it."""
    try:
        result = json.loads((collected / RESULT).read_text())
        command = shlex.join(["python", "-m", "train", *map(str, result["arguments"])])
        return f"{command}, at commit {str(result['commit'])[:10] or 'unknown'}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _failure(collected: Path) -> str:
    try:
        code = int(json.loads((collected / RESULT).read_text())["exit_code"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return f"the training did not end{_tail(collected)}"
    if code == 0:
        return ""
    if code in (143, -15):
        return "the training reached its time limit; python -m train ... --resume goes on from here"
    return f"the training ended with exit code {code}{_tail(collected)}"


def _tail(collected: Path, lines: int = 5) -> str:
    log = collected / LOG
    if not log.exists():
        return ""
    text = log.read_text(errors="replace").strip().splitlines()
    return "".join(f"\n  {line}" for line in text[-lines:])

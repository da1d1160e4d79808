"""Bringing runs home: unpacked, checked, and never in place of a better one."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from geoseg.card import Card
from geoseg.checkpoint import CheckpointError, load_checkpoint, read_card
from train.keeper import alone_in
from train.remote.order import RemoteError
from train.state import StateError, States

ARCHIVE, RESULT, LOG = "runs.tar", "result.json", "training.log"


class Outcome(NamedTuple):
    """What became of one run: whether it is here now, and why, in words."""

    name: str
    here: bool
    words: str


def bring_home(collected: Path, output: Path, overwrite: bool) -> tuple[list[Outcome], str]:
    """Put the runs of an archive into `output`, each `<id>-<name>/` as the trainer lays it out.

    A run whose checkpoints do not load stays away; one that was stopped in its first epoch has no
    best one yet. One that is there already is replaced if it is worse, by the best validation IoU
    on the same patches, or by `overwrite`.

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
            with tarfile.open(archive) as packed:
                packed.extractall(unpacked, filter="data")
        except tarfile.TarError as error:
            raise RemoteError(f"{ARCHIVE} is damaged ({error}); fetch it again") from error
        outcomes = []
        for run in sorted(unpacked.iterdir()):
            if run.is_dir():
                outcomes.append(_settle(run, output / run.name, replaced, overwrite))
            elif overwrite or not (output / run.name).exists():  # the summary of several folds
                shutil.copy(run, output / run.name)
    return outcomes, _failure(collected)


def _settle(run: Path, target: Path, replaced: Path, overwrite: bool) -> Outcome:
    """Move one run to where it belongs, if it should be there."""
    best = None
    try:
        if (run / "best.safetensors").exists() or not _is_begun(run):
            best = load_checkpoint(run / "best.safetensors").card
        load_checkpoint(run / "last.safetensors")
    except (CheckpointError, StateError) as error:
        return Outcome(run.name, False, f"left where it was: {error}")
    score = f"best validation IoU {_iou(best):.4f}" if best else "stopped in its first epoch"
    if not target.exists():
        run.rename(target)
        return Outcome(run.name, True, score)
    with alone_in(target):
        here, words = _compare(run, best, target)
        if here or (words and not overwrite):
            return Outcome(run.name, here, words)
        target.rename(replaced / run.name)
        run.rename(target)
    return Outcome(run.name, True, f"{score}, in place of the run that was here")


def _is_begun(run: Path) -> bool:
    """Whether a run can be gone on with."""
    return States(run / "resume").load()[0] is not None


def _compare(run: Path, best: Card | None, target: Path) -> tuple[bool, str]:
    """Whether the run is here already; else why the one that is here should stay, or ""."""
    there = target / ("best.safetensors" if best else "last.safetensors")
    if not there.exists():
        return False, ""
    if there.read_bytes() == (run / there.name).read_bytes():
        return True, "is here already"
    stays = f"the run in {target} stays; --overwrite replaces it"
    if not best:
        return False, f"{stays}: the fetched one was stopped in its first epoch"
    try:
        ours = read_card(there)
    except CheckpointError:
        return False, ""
    if _patches(ours) != _patches(best):
        return False, f"{stays}: scored on other patches ({ours.data}; fetched: {best.data})"
    if _iou(ours) >= _iou(best):
        return False, f"{stays}: best validation IoU {_iou(ours):.4f}, fetched {_iou(best):.4f}"
    return False, ""


def _iou(card: Card) -> float:
    validation = card.metrics.get("validation") or {}
    return float(validation.get("iou", 0.0))


def _patches(card: Card) -> str:
    """What a run was trained and judged on, without the name of the folder, another one there."""
    return card.data.partition("; ")[2]


def _failure(collected: Path) -> str:
    try:
        code = int(json.loads((collected / RESULT).read_text())["exit_code"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"the training did not end{_tail(collected)}"
    if code in (0, None):
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

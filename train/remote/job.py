"""The name, the code and the teachers of a training on another machine."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from train.experiments import Experiment
from train.git import ROOT, CloneError, find_origin, run_git
from train.teacher import find_teacher

# The part of the code that training needs.
_PARTS = ("geoseg", "train", "requirements.txt", "pyproject.toml")
_EXCLUDED = ("geoseg/samples", "geoseg/page")


class RemoteError(RuntimeError):
    """A training cannot be sent or fetched; the message says why and what to do."""


def choose_name(experiments: Sequence[Experiment]) -> str:
    """Return a name for a training: the same for the same experiments.

    >>> from train.experiments import find_experiments
    >>> choose_name(find_experiments(["300", "301"]))
    'geoseg-300-301'
    """
    ids = [str(experiment.id) for experiment in experiments]
    name = "-".join(["geoseg", *ids])
    return name if len(name) <= 50 else f"geoseg-{ids[0]}-to-{ids[-1]}-{len(ids)}-in-all"


def find_commit(root: Path = ROOT) -> tuple[str, list[str]]:
    """Return the current commit ("" without git) and the files that differ from it."""
    try:
        commit = run_git(root, "rev-parse", "HEAD").decode().strip()
    except CloneError:
        return "", []
    changed = run_git(root, "status", "--porcelain", "--", *_PARTS).decode().splitlines()
    return commit, [line[3:] for line in changed]


def find_clone_url(commit: str, root: Path = ROOT) -> str:
    """Return the address to clone this commit from; raise CloneError or RemoteError without one."""
    url = find_origin(root)
    if not run_git(root, "branch", "--remotes", "--contains", commit).decode().strip():
        raise RemoteError(f"commit {commit[:10]} is not in {url}; git push first, or omit --clone")
    return url


def pack_code(commit: str, teachers: Mapping[str, Path], root: Path = ROOT) -> str:
    """Return the code at the commit (without git: the files) and checkpoints as base64 .tar.xz.

    `teachers` are files by their name in the archive.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as archive:
        if commit:
            excluded = [f":(exclude){part}" for part in _EXCLUDED]
            content = io.BytesIO(run_git(root, "archive", commit, "--", *_PARTS, *excluded))
            with tarfile.open(fileobj=content) as tracked:
                for member in tracked:
                    archive.addfile(member, tracked.extractfile(member))
        for part in () if commit else _PARTS:
            archive.add(root / part, part, filter=_exclude)
        for name, path in teachers.items():
            archive.add(path, name)
    return base64.b64encode(file.getvalue()).decode()


def _exclude(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    excluded = member.name in _EXCLUDED or Path(member.name).name == "__pycache__"
    return None if excluded else member


def find_teachers(experiments: Sequence[Experiment], runs: Path) -> dict[str, Path]:
    """Return the teachers' checkpoints that no earlier experiment of the job makes.

    The keys are the names that the trainer looks for. Raise CheckpointError if one is missing.
    """
    found = {}
    for number, experiment in enumerate(experiments):
        if experiment.teacher not in {earlier.id for earlier in experiments[:number]}:
            for path in find_teacher(experiment, runs):
                name = path.parent.name if path.stem == "best" else path.stem
                found[f"checkpoints/{name}.safetensors"] = path
    return found

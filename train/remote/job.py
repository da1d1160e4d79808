"""What is sent to the other machine: which experiments, and the code at the present commit."""

from __future__ import annotations

import base64
import inspect
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from train.experiments import Experiment
from train.git import ROOT, CloneError, find_origin, git
from train.remote import remote_script
from train.remote.remote_script import TrainingJob
from train.teacher import find_teacher

# What training needs of the code.
_PARTS = ("geoseg", "train", "requirements.txt", "pyproject.toml")
_SPARED = ("geoseg/samples", "geoseg/page")


class RemoteError(RuntimeError):
    """The other machine does not do its part; the message says why and what to do."""


def choose_name(experiments: Sequence[Experiment]) -> str:
    """What a training is called elsewhere: the same for the same experiments.

    >>> from train.experiments import find_experiments
    >>> choose_name(find_experiments(["300", "301"]))
    'geoseg-300-301'
    """
    ids = [str(experiment.id) for experiment in experiments]
    name = "-".join(["geoseg", *ids])
    return name if len(name) <= 50 else f"geoseg-{ids[0]}-to-{ids[-1]}-{len(ids)}-in-all"


def script(order: TrainingJob, last: str) -> tuple[str, str, str]:
    """The three parts of what is run there: the settings, the code, and its call."""
    settings = ",\n".join(f"    {json.dumps(k)}: {_python(v)}" for k, v in order.items())
    return f"ORDER = {{\n{settings},\n}}\n", inspect.getsource(remote_script), last


def _python(value: object) -> str:
    """A literal; a long text in lines, which editors and diffs prefer."""
    if not isinstance(value, str) or len(value) < 100:
        return repr(value)
    lines = [repr(value[i : i + 92]) for i in range(0, len(value), 92)]
    return "(\n        " + "\n        ".join(lines) + "\n    )"


def find_commit(root: Path = ROOT) -> tuple[str, list[str]]:
    """The present commit, empty without git, and the files that differ from it."""
    if not (root / "requirements.txt").exists():
        raise RemoteError(f"{root} is no clone of the repository; run this from one")
    try:
        commit = git(root, "rev-parse", "HEAD").decode().strip()
    except CloneError:
        return "", []
    changed = git(root, "status", "--porcelain", "--", *_PARTS).decode().splitlines()
    return commit, [line[3:] for line in changed]


def find_clone_url(commit: str, root: Path = ROOT) -> str:
    """Where anybody can clone this commit from; RemoteError where nobody can."""
    try:
        url = find_origin(root)
    except CloneError as error:
        raise RemoteError(f"{error}; give --clone a URL, or leave it away") from error
    if not git(root, "branch", "--remotes", "--contains", commit).decode().strip():
        raise RemoteError(
            f"commit {commit[:10]} is not in {url}; git push first, or leave --clone away"
        )
    return url


def pack_code(commit: str, teachers: Mapping[str, Path], root: Path = ROOT) -> str:
    """The code at the commit (without git: as it lies there) and checkpoints, as base64 .tar.xz.

    `teachers` are files by what they are called in the archive.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as archive:
        if commit:
            _add_commit(archive, commit, root)
        else:
            for part in _PARTS:
                archive.add(root / part, part, filter=_spare)
        for name, path in teachers.items():
            archive.add(path, name)
    return base64.b64encode(file.getvalue()).decode()


def _add_commit(archive: tarfile.TarFile, commit: str, root: Path) -> None:
    spared = [f":(exclude){part}" for part in _SPARED]
    content = io.BytesIO(git(root, "archive", commit, "--", *_PARTS, *spared))
    with tarfile.open(fileobj=content) as files:
        for member in files:
            archive.addfile(member, files.extractfile(member) if member.isfile() else None)


def find_teachers(experiments: Sequence[Experiment], runs: Path) -> dict[str, Path]:
    """The checkpoints that experiments learn from and that none of them makes before.

    By the name that the trainer looks for; CheckpointError where one is missing.
    """
    found = {}
    for number, experiment in enumerate(experiments):
        if experiment.teacher not in {earlier.id for earlier in experiments[:number]}:
            for path in find_teacher(experiment, runs):
                label = path.parent.name if path.stem == "best" else path.stem
                found[f"checkpoints/{label}.safetensors"] = path
    return found


def _spare(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    spared = member.name in _SPARED or Path(member.name).name == "__pycache__"
    return None if spared else member

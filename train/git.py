"""The clone of the project that this code is in: its git commands, its files to send."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The part of the code that training needs.
TRAINING_CODE = ("geoseg", "train", "requirements.txt", "pyproject.toml")
_EXCLUDED = ("geoseg/samples/validation", "geoseg/page")


class CloneError(RuntimeError):
    """A git command failed, or the clone lacks what is needed; the message says why."""


def run_git(root: Path, *arguments: str) -> bytes:
    """Return what git prints for the repository at `root`; raise CloneError if it fails."""
    # Do not use a repository that merely contains `root`.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(root.resolve().parent)}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            env={**os.environ, **ceiling},
            check=True,
            capture_output=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
        raise CloneError(f"git {arguments[0]}: {reason}") from error


def find_origin(root: Path = ROOT) -> str:
    """Return the address of git's remote 'origin' as https, without user name and password.

    Raise CloneError if there is none, or if only this machine can reach it.
    """
    remote = run_git(root, "remote", "get-url", "origin").decode().strip()
    url = re.sub(r"^(?:ssh://git@([^:/]+)(?::\d+)?/|git@([^:/]+):)", r"https://\1\2/", remote)
    shown = re.sub(r"//[^/]*@", "//", url)
    if not url.startswith("https://"):
        raise CloneError(f"other machines cannot clone {shown}")
    return shown


def warn_of_unsent_files(names: Sequence[str], reason: str) -> None:
    """Print a warning that names files which are not sent, if there are any."""
    if names:
        print(f"Warning: {reason}, so not sent: {', '.join(names)}.")


def find_commit(root: Path = ROOT) -> tuple[str, list[str]]:
    """Return the current commit ("" without git) and the files that differ from it."""
    try:
        commit = run_git(root, "rev-parse", "HEAD").decode().strip()
    except CloneError:
        return "", []
    changed = run_git(root, "status", "--porcelain", "--", *TRAINING_CODE).decode().splitlines()
    return commit, [line[3:] for line in changed]


def find_clone_url(commit: str, root: Path = ROOT) -> str:
    """Return the address to clone this commit from; raise CloneError if there is none."""
    url = find_origin(root)
    if not run_git(root, "branch", "--remotes", "--contains", commit).decode().strip():
        raise CloneError(f"commit {commit[:10]} is not in {url}; git push first, or omit --clone")
    return url


def pack_code(commit: str, teachers: Mapping[str, Path], root: Path = ROOT) -> str:
    """Return a base64 .tar.xz of the code at the commit (without git: now) and of `teachers`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as archive:
        if commit:
            excluded = [f":(exclude){part}" for part in _EXCLUDED]
            content = io.BytesIO(run_git(root, "archive", commit, "--", *TRAINING_CODE, *excluded))
            with tarfile.open(fileobj=content) as tracked:
                for member in tracked:
                    archive.addfile(member, tracked.extractfile(member))
        for part in () if commit else TRAINING_CODE:
            archive.add(root / part, part, filter=_exclude)
        for name, path in teachers.items():
            archive.add(path, name)
    return base64.b64encode(file.getvalue()).decode()


def _exclude(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    excluded = member.name in _EXCLUDED or Path(member.name).name == "__pycache__"
    return None if excluded else member

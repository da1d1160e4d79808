"""This clone of the project, and what git says of it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class CloneError(RuntimeError):
    """What git cannot do here; the message says why."""


def git(root: Path, *arguments: str) -> bytes:
    """What git says of the repository at `root`; CloneError where there is none, or it refuses."""
    above = {"GIT_CEILING_DIRECTORIES": str(root.resolve().parent)}  # which would be another one
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            env={**os.environ, **above},
            check=True,
            capture_output=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
        raise CloneError(f"git {arguments[0]}: {reason}") from error


def find_origin(root: Path = ROOT) -> str:
    """The address of git's remote 'origin' for the eyes of others: https, and nobody's password.

    CloneError where there is none, or one that is of use on this machine only.
    """
    try:
        remote = git(root, "remote", "get-url", "origin").decode().strip()
    except CloneError as error:
        raise CloneError("there is no remote 'origin' to clone from") from error
    url = re.sub(r"^(?:ssh://git@([^:/]+)(?::\d+)?/|git@([^:/]+):)", r"https://\1\2/", remote)
    shown = re.sub(r"//[^/]*@", "//", url)
    if not url.startswith("https://"):
        raise CloneError(f"nobody else can clone {shown}")
    return shown


def describe_unsent(names: Sequence[str], why: str) -> str:
    """A sentence about files that do not go along; "" where all do."""
    if not names:
        return ""
    more = f" and {len(names) - 5} more" * (len(names) > 5)
    return f"Warning: {why}, so not sent: {', '.join(names[:5])}{more}."

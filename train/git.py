"""Git commands on this clone of the project."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


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
    try:
        remote = run_git(root, "remote", "get-url", "origin").decode().strip()
    except CloneError as error:
        raise CloneError("git has no remote 'origin' to clone from") from error
    url = re.sub(r"^(?:ssh://git@([^:/]+)(?::\d+)?/|git@([^:/]+):)", r"https://\1\2/", remote)
    shown = re.sub(r"//[^/]*@", "//", url)
    if not url.startswith("https://"):
        raise CloneError(f"other machines cannot clone {shown}")
    return shown


def warn_of_unsent_files(names: Sequence[str], reason: str) -> str:
    """Return a warning that names files which are not sent; "" if there are none."""
    if not names:
        return ""
    more = f" and {len(names) - 5} more" * (len(names) > 5)
    return f"Warning: {reason}, so not sent: {', '.join(names[:5])}{more}."

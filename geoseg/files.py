"""Writing a file so that a failure never harms the one that was there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it takes the place of `path`.

    The folder is made where it is missing. Contents and folder are flushed to disk, so that after a
    power cut either the old file or the new one is there, whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some writers make their files private
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in place of `path`; OSError names it."""
    with naming(path), replacing(path) as temporary:
        temporary.write_text(text)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which file it was that cannot be written: Python does not where the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error}") from error

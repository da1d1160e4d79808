"""Writing a file so that a failure never harms the one that was there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it takes the place of `path`.

    The folder is made where it is missing, a link is followed. Contents and folder are flushed to
    disk, so that after a power cut either the old file or the new one is there, whole. OSError
    where `path` is a folder or a device.
    """
    path, temporary = _beside(path)
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


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder; when the block ends well, what it holds is what `path` holds.

    `path` is new or an empty folder. A failure or an interrupt leaves nothing in it. OSError at
    once where nothing can be written there.
    """
    path = Path(os.path.realpath(path))
    inside = path.is_dir()  # it may be a disk of its own, or where somebody is
    with name_in_errors(path):
        (path if inside else path.parent).mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(
            dir=path if inside else path.parent, prefix=f".{path.name}."
        )
    with temporary as folder:
        whole = Path(folder, path.name)
        whole.mkdir()
        yield whole
        with name_in_errors(path):
            if not inside:
                whole.replace(path)
                return
            for part in whole.iterdir():
                part.replace(path / part.name)


def check_writable(path: str | os.PathLike[str]) -> None:
    """OSError now, instead of after long work, where `path` could not be written."""
    with name_in_errors(path):
        _, temporary = _beside(path)
        try:
            temporary.touch()
        finally:
            temporary.unlink(missing_ok=True)


def _beside(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """What `path` really is, and a temporary path in the same folder, which is made."""
    real = Path(os.path.realpath(path))
    if real.exists() and not real.is_file():
        raise OSError(f"it is a {'folder' if real.is_dir() else 'device'}; name a file")
    real.parent.mkdir(parents=True, exist_ok=True)
    return real, real.with_name(f".{real.name}.{os.getpid()}.tmp")


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in place of `path`; OSError names it."""
    with name_in_errors(path), atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def name_in_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which file it was that cannot be written: Python does not where the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error}") from error

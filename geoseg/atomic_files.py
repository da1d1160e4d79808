"""Write files and folders atomically: a failure or a power cut leaves the previous content."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` if the block succeeds.

    The folder is created if missing, a symbolic link is followed. File and folder are flushed to
    disk, so that after a power cut either the old or the new file is there, complete. Raise OSError
    with the path if it cannot be written, or is a folder or a device.
    """
    with name_in_errors(path):
        real, temporary = _prepare(path)
        try:
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # some writers create private files
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(real)
        finally:
            temporary.unlink(missing_ok=True)
        if os.name == "posix":  # other systems cannot open a folder
            folder = os.open(real.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text to `path`, atomically; an OSError names the path."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError if `path` cannot be written: before long work instead of after it."""
    with name_in_errors(path):
        _prepare(path)[1].unlink()


def _prepare(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Resolve `path`, create its folder, and return it with a new temporary file beside it."""
    real = Path(os.path.realpath(path))
    if real.exists() and not real.is_file():
        raise OSError(f"it is a {'folder' if real.is_dir() else 'device'}; name a file")
    real.parent.mkdir(parents=True, exist_ok=True)
    temporary = real.with_name(f".{real.name}.{os.getpid()}.tmp")
    temporary.touch()
    return real, temporary


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder, whose content becomes that of `path` if the block succeeds.

    `path` is new or an empty folder; a failure or an interrupt leaves nothing in it. Raise OSError
    before the block if nothing can be written there.
    """
    path = Path(os.path.realpath(path))
    inside = path.is_dir()  # it may be a mount point, or a process's working directory
    parent = path if inside else path.parent
    with name_in_errors(path):
        parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=parent, prefix=f".{path.name}.")
    with temporary as folder:
        content = Path(folder, path.name)
        content.mkdir()
        yield content
        with name_in_errors(path):
            for source in content.iterdir() if inside else [content]:
                source.replace(parent / source.name)


@contextmanager
def name_in_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the path to any OSError: Python omits it if the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error}") from error

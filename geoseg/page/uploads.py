"""A user's own files: read once into memory, kept for that user alone, forgotten after a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from geoseg.page.browse import Entry, PatchSet, Rejected, check_size, natural_key
from geoseg.patches import PatchError, printable, read_patch

MAX_FILES = 512
MAX_FILE_BYTES = 2**20
MAX_TOTAL_PIXELS = 2**22  # of one user: 3,236 patches of 36x36, or 16 MiB of memory
KEPT_SECONDS = 4 * 3600


def read_uploads(files: Iterable[Mapping[str, Any]]) -> PatchSet:
    """The patches among uploaded files (Gradio's FileData); the rest by name, with reasons.

    Unlike a set from `load_set` it may be empty. No message holds a path.
    """
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    pixels = 0
    named = ((clean(file.get("orig_name") or file["path"]), file) for file in files)
    for number, (name, file) in enumerate(sorted(named, key=lambda pair: natural_key(pair[0]))):
        try:
            if number >= MAX_FILES:
                raise PatchError(f"Only {MAX_FILES} files fit in one upload; send it in parts.")
            patch = check_size(read_patch(uploaded_bytes(file)))
            if pixels + patch.size > MAX_TOTAL_PIXELS:
                raise PatchError(
                    f"The upload is beyond {MAX_TOTAL_PIXELS:,} pixels; send it in parts."
                )
        except PatchError as error:
            rejected.append(Rejected(name, str(error)))
        else:
            pixels += patch.size
            entries.append(Entry(name, patch))
    return PatchSet("Your files", tuple(entries), tuple(rejected))


def clean(name: str) -> str:
    """A file's base name, printable, of a length that fits on a page."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return printable(base)[:120] or "unnamed"


def uploaded_bytes(file: Any) -> bytes:
    """The content of one uploaded file.

    Bytes, so that no later message can name the path. PatchError for anything that is not a file
    in the upload folder: Gradio lets a path without its `meta` mark through unchecked.
    """
    path = file.get("path") if isinstance(file, Mapping) else None
    if not isinstance(path, str) or not path:
        raise PatchError("No file was given; upload a .npy file first.")
    try:
        real = Path(path).resolve(strict=True)
        inside = real.is_relative_to(Path(get_upload_folder()).resolve()) and real.is_file()
        size = real.stat().st_size
        content = real.read_bytes() if inside and size <= MAX_FILE_BYTES else b""
    except (OSError, RuntimeError, ValueError):  # gone, a loop of links, a null character
        inside = False
    if not inside:
        raise PatchError("The file was not uploaded here; upload it first.")
    if size > MAX_FILE_BYTES:
        raise PatchError(f"The file is larger than {MAX_FILE_BYTES:,} bytes; cut it into slices.")
    return content

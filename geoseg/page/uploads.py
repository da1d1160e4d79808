"""Files that programs upload for the endpoints: received to disk, read on use."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from python_multipart.exceptions import FormParserError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from geoseg.patches import PatchError, printable_name

MAX_FILES = 512
MAX_FILE_BYTES = 2**20
MAX_TOTAL_BYTES = 2**26 - 2**20  # of one upload; its form needs some room in a body
MAX_INBOX_BYTES = 2**29  # of files that nobody has read yet
MAX_INBOX_FILES = 4096
UNREAD_SECONDS = 600
DATA_URL = re.compile(rb'"data:[^",]*;base64,([^"]*)"')
NOT_HERE = "The file was not uploaded here, or was read already; upload it first."

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it reports each broken form


def clean(name: str) -> str:
    """Return a file's base name, printable and short enough for the page."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return printable_name(base)[:120] or "unnamed"


def file_name(file: Any) -> str:
    """Return the display name of an uploaded file, whichever way it was sent."""
    if isinstance(file, Mapping):
        file = file.get("orig_name") or file.get("path")
    is_path = isinstance(file, str) and not file.startswith("data:")
    return clean(file) if is_path else "unnamed"


def uploaded_bytes(file: Any) -> bytes:
    """Read one uploaded file and delete it.

    A file is Gradio's FileData, the path that `/upload` gave, or a `data:` URL of base64. Bytes,
    so that no later message can name the path. PatchError for anything that is not a file in the
    inbox: Gradio lets a path without its `meta` mark through unchecked.
    """
    path = file.get("path") if isinstance(file, Mapping) else file
    if not isinstance(path, str) or not path:
        raise PatchError("No file was given; upload a .npy file first.")
    return check_length(_data_url(path) if path.startswith("data:") else _take(path))


def check_length(content: bytes) -> bytes:
    """Return the content; raise PatchError if it is longer than MAX_FILE_BYTES."""
    if len(content) > MAX_FILE_BYTES:
        raise PatchError(f"The file is larger than {MAX_FILE_BYTES:,} bytes; cut it into slices.")
    return content


def _data_url(url: str) -> bytes:
    head, _, body = url.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise PatchError("The data: URL is not base64; encode the whole .npy file.") from None


def _take(path: str) -> bytes:
    """Read a file of the inbox, whose length the inbox has checked, and delete it."""
    real = _find(path)
    try:
        content = real.read_bytes()
        _remove(real)
    except OSError:  # somebody else was faster
        raise PatchError(NOT_HERE) from None
    return content


def _find(path: Any) -> Path:
    if not isinstance(path, str):
        raise PatchError(NOT_HERE)
    _refuse_address(path)
    try:
        real = Path(path).resolve(strict=True)
        if real.is_relative_to(inbox().resolve()) and real.is_file():
            return real
    except (OSError, RuntimeError, ValueError):  # gone, a loop of links, a null character
        pass
    raise PatchError(NOT_HERE)


def check_paths(value: Any) -> None:
    """Raise PatchError if a call's JSON names an address, or a file that is not in the inbox."""
    if isinstance(value, str):
        _refuse_address(value)
    elif isinstance(value, Mapping):
        if "path" in value:
            _find(value["path"])
        # Gradio's own scripts add the address of a file that they have uploaded.
        others = [one for key, one in value.items() if key != "url"]
        check_paths(others)
    elif isinstance(value, list):
        for one in value:
            check_paths(one)


def _refuse_address(text: str) -> None:
    if re.match(r"[A-Za-z][\w+.-]*://", text):
        raise PatchError("Addresses are not fetched; upload the file, or send a data: URL of it.")


def inbox() -> Path:
    """Return the folder of uploaded files not read yet; no route serves it."""
    return Path(get_upload_folder()) / "inbox"


async def receive(request: Request) -> Response:
    """`POST /gradio_api/upload`: keep the form's `files` and answer with their paths.

    In place of Gradio's own, which leaves files behind that nothing deletes (aborted uploads,
    other fields) and gives one path to all who upload the same bytes. 400 for a form that cannot
    be read or has too many files, 413 for too large a file, 503 while the inbox is full.
    """
    try:
        async with read_form(request) as form:
            files = [f for f in form.getlist("files") if isinstance(f, UploadFile)]
            if any((f.size or 0) > MAX_FILE_BYTES for f in files):
                raise HTTPException(413, f"A file is larger than {MAX_FILE_BYTES:,} bytes.")
            paths = await run_in_threadpool(_store, files)
            asyncio.get_running_loop().call_later(UNREAD_SECONDS + 1, sweep)
    except PatchError as error:
        raise HTTPException(400, str(error)) from None
    except OSError:  # no room on the disk
        paths = None
    if paths is None:
        raise HTTPException(503, "Too many uploads wait to be read; try again in ten minutes.")
    return JSONResponse(paths)


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Open a form of at most MAX_FILES files and close them at the end; PatchError for none."""
    try:
        async with request.form(max_files=MAX_FILES, max_fields=8, max_part_size=1024) as form:
            yield form
    except (FormParserError, KeyError, UnicodeError):
        text = "The form cannot be read; send files as multipart/form-data."
        raise PatchError(text) from None


def keep_data(match: re.Match[bytes]) -> bytes:
    """Replace a `data:` URL in JSON, as DATA_URL finds it, by the path of a file with its content.

    It stays as it is where it is not base64 or there is no room.
    """
    try:
        content = base64.b64decode(match[1], validate=True)
    except (binascii.Error, ValueError):
        return match[0]
    paths = _store([UploadFile(io.BytesIO(content), size=len(content))])
    return json.dumps(paths[0]).encode() if paths else match[0]


def _store(files: Sequence[UploadFile]) -> list[str] | None:
    """Write each file into a folder that cannot be guessed; None where there is no room."""
    present = [size for path in inbox().glob("*/*") if (size := _size(path)) is not None]
    room = MAX_INBOX_BYTES - sum(present)
    if sum(f.size or 0 for f in files) > room or len(present) + len(files) > MAX_INBOX_FILES:
        return None
    paths = []
    for file in files:
        folder = inbox() / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700, parents=True)
        path = folder / _on_disk(clean(file.filename or ""))
        path.write_bytes(file.file.read())
        paths.append(str(path))
    return paths


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # somebody has just read it
        return None


def _on_disk(name: str) -> str:
    """Return the name, which is printable, without what a file system may not take."""
    safe = re.sub(r'[/\\:*?"<>|]', "_", name).encode()[-200:].decode(errors="ignore")
    return f"_{safe}" if safe.startswith((".", "-")) else safe


def sweep(age: float = UNREAD_SECONDS) -> None:
    """Delete what has waited in the inbox for more than `age` seconds."""
    for path in inbox().glob("*/*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > age:
                _remove(path)


def _remove(path: Path) -> None:
    path.unlink()
    with suppress(OSError):  # others read the rest of it
        path.parent.rmdir()

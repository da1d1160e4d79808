"""Read one `.npy` file, or one array of an `.npz` archive, into checked arrays.

NumPy parses the header, after its length is checked against a limit; the shape is checked against
the bytes that are there before anything is allocated for it. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from geoseg.file_kinds import HEAD, describe_foreign_file

Source = str | os.PathLike[str] | bytes

# The largest log accepted: 2**26 pixels are 1.8 million rows of 36 columns, or 256 MiB as float32.
MAX_ELEMENTS = 2**26
# Bytes of the longest header accepted. NumPy writes 118 to 192 for any plain array; 4096 leaves
# room for padding by other programs.
MAX_HEADER = 4096
# Bytes of the longest header without the padding at its end: too few for nested brackets to take
# much time, or to exhaust the stack of Python's parser.
_MAX_LITERAL = 512

# What values of a NumPy kind are called.
_KINDS = {
    "b": "true/false values",
    "c": "complex numbers",
    "O": "Python objects, which are never loaded",
    "S": "text",
    "U": "text",
    "V": "records (a structured type)",
}


class PatchError(ValueError):
    """A file that is not a usable patch or mask; the message is one sentence for the user."""


class AllNullError(PatchError):
    """A readable file that holds only nulls."""


def read_arrays(
    source: Source, *, kinds: str = "iuf", member: str | None = None
) -> tuple[str, NDArray[np.generic]]:
    """Read the arrays of one file.

    `source` is the path of a `.npy` file, or its bytes: numbers of any size and byte order, C or
    Fortran order, of one array (Z, A), (1, Z, A) or (Z, A, 1), or of a stack of N arrays (N, Z, A)
    or (N, Z, A, 1). Of two candidate axes the leading one is dropped, so (1, Z, 1) gives (Z, 1).

    Return the name of the file without its folder, "The file" for bytes, and the arrays (N, Z, A)
    as they are stored. Raise PatchError if the file is missing, damaged or of another kind.

    Args:
        kinds: the NumPy kinds of dtype to accept.
        member: the file to read from a zip archive; None refuses an archive.
    """
    with open_source(source) as (name, file, size):
        return name, _parse(file, size, name, kinds, member)


def printable_name(name: str) -> str:
    """Return a file's name with "?" in place of every character that cannot be printed."""
    return "".join(c if c.isprintable() else "?" for c in name)


@contextmanager
def open_source(source: Source) -> Iterator[tuple[str, IO[bytes], int]]:
    """Open a path, or bytes; give its name for messages, the open file and its size in bytes.

    Raise PatchError if it is no regular file or cannot be read.
    """
    if isinstance(source, bytes):
        yield "The file", io.BytesIO(source), len(source)
        return
    path = os.fspath(source)
    name = printable_name(os.path.basename(path)) or "The path"  # folders stay private
    try:
        # Without the flag, opening a named pipe waits for a writer. Windows has no such flag.
        flag = getattr(os, "O_NONBLOCK", 0)
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | flag)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PatchError(f"{name} is not a regular file; choose a .npy file.")
            yield name, file, status.st_size
    except PatchError:
        raise
    except FileNotFoundError:
        raise PatchError(f"{name} does not exist; check its name and folder.") from None
    # ValueError for a null character in the path, or a file that became shorter meanwhile.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PatchError(f"{name} cannot be read ({reason}); check the file.") from None


def _parse(
    file: IO[bytes], size: int, subject: str, kinds: str, member: str | None
) -> NDArray[np.generic]:
    """Read the array of an open `.npy` file of `size` bytes, or that of a member of an archive.

    The expanded size of a member has the limits of any array.
    """
    is_archive = file.read(2) == b"PK"
    file.seek(0)
    if not (member and is_archive):
        return _parse_npy(file, size, subject, kinds)
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as part:
            size = archive.getinfo(member).file_size
            return _parse_npy(part, size, f"{member} in {subject}", kinds)
    except KeyError:
        raise PatchError(f"{subject} has no array {member[:-4]!r}; save one in it.") from None
    except PatchError:
        raise
    except Exception:  # zipfile and its decompressors raise many types of error
        raise PatchError(f"{subject} is damaged or encrypted; save it again.") from None


def _parse_npy(file: IO[bytes], size: int, subject: str, kinds: str) -> NDArray[np.generic]:
    """Read the arrays (N, Z, A) of an open file of `size` bytes."""
    header = _read_header(file, subject)
    try:
        shape, fortran, dtype = _parse_header(header)
    except Exception:  # the parser of literals raises many types of error
        raise PatchError(
            f"{subject} has a damaged header, or values of an unknown type; save the array again "
            "with numpy.save."
        ) from None
    if dtype.kind not in kinds:
        what = _KINDS.get(dtype.kind, "values of an unknown type")
        raise PatchError(f"{subject} holds {what}; save it as real numbers, for example float32.")
    stack = _find_stack(shape, subject)
    expected = math.prod(shape) * dtype.itemsize
    left = size - file.tell()
    if left != expected:
        fault = "is truncated" if left < expected else "has extra bytes at its end"
        raise PatchError(
            f"{subject} {fault} ({left:,} bytes of data where its header declares {expected:,}); "
            "export it again."
        )
    return np.frombuffer(file.read(expected), dtype).reshape(stack, order="F" if fortran else "C")


def _read_header(file: IO[bytes], subject: str) -> bytes:
    """Return the header, of any version, without its length.

    The length is checked here because NumPy reads as much as it declares before checking it.
    """
    magic = file.read(npy_format.MAGIC_LEN)
    if not magic or not magic.startswith(npy_format.MAGIC_PREFIX[: len(magic)]):
        what = describe_foreign_file(magic + file.read(HEAD))
        raise PatchError(
            f"{subject} {what or 'is not a .npy file; save the array with numpy.save'}."
        )
    version = tuple(magic[len(npy_format.MAGIC_PREFIX) :])
    if len(version) == 2 and version not in {(1, 0), (2, 0), (3, 0)}:
        raise PatchError(f"{subject} has an unknown .npy version; save it again with NumPy.")
    width = 2 if version == (1, 0) else 4
    field = file.read(width)
    length = int.from_bytes(field, "little")
    if length > MAX_HEADER:
        raise PatchError(
            f"{subject} declares a header of {length:,} bytes where a plain array needs fewer "
            f"than {MAX_HEADER:,}; save it again with numpy.save."
        )
    header = file.read(length)
    if len(field) < width or len(header) < length:
        raise PatchError(f"{subject} is truncated inside its header; export it again.")
    return header


@lru_cache(maxsize=16)  # the files of a data set share one header
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Return shape, whether the order is Fortran's, and dtype; any error for a damaged header."""
    literal = header.rstrip(b" \t\n")
    if len(literal) > _MAX_LITERAL:
        raise ValueError(f"the header has {len(literal)} bytes")
    # Python 2 wrote (36L, 36L). NumPy reads that too, but emits a warning.
    literal = re.sub(rb"(?<=\d)L(?=\s*[,)])", b"", literal)
    # The versions differ in the width of the length, and 3 in the UTF-8 of the names of fields,
    # which no plain array has.
    file = io.BytesIO(len(literal).to_bytes(4, "little") + literal)
    shape, fortran, dtype = npy_format.read_array_header_2_0(file, max_header_size=_MAX_LITERAL)
    if any(type(side) is not int or side < 0 for side in shape):  # NumPy takes True for 1
        raise ValueError(f"shape is {shape}")
    return shape, fortran, dtype


def _find_stack(shape: tuple[int, ...], subject: str) -> tuple[int, int, int]:
    """Return (N, Z, A) for a stored shape."""
    stack = shape
    if len(shape) == 4 and shape[3] == 1:
        stack = shape[:3]
    elif len(shape) == 3 and shape[0] != 1 and shape[2] == 1:
        stack = (1, *shape[:2])
    elif len(shape) == 2:
        stack = (1, *shape)
    if len(stack) != 3 or 0 in stack:
        raise PatchError(
            f"{subject} has the shape {shape}; save one patch (depth, azimuth), or a stack of them."
        )
    if math.prod(stack) > MAX_ELEMENTS:
        raise PatchError(
            f"{subject} has the shape {shape}, more than {MAX_ELEMENTS:,} pixels; cut it in pieces."
        )
    return stack[0], stack[1], stack[2]

"""One `.npy` file, or one array of an `.npz` archive, to one checked array.

The header of a `.npy` file is a Python literal, and NumPy evaluates it before it checks anything:
deep nesting can crash the interpreter, and 80 bytes can ask for 32 GiB. So this module reads
headers itself, with a length limit and a fixed grammar, and allocates only what the file holds.
Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import zipfile
from functools import lru_cache
from itertools import permutations
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

Source = str | os.PathLike[str] | bytes

# Anything beyond this is a code for "no measurement": -999.25 and -999.0 in the SLB data, -9999
# elsewhere. Readings are below 1, so the limit is far from both.
NULL_BEYOND = 900.0

# The largest log accepted: 2**26 pixels are 1.8 million rows of 36 columns, or 256 MiB as float32.
MAX_ELEMENTS = 2**26

# NumPy writes 118 to 192 bytes for any plain array. 4096 leaves room for padding by others, and
# keeps every number in the header below the 4300 digits at which Python refuses to read it.
MAX_HEADER = 4096

UNKNOWN_LABEL = 255  # what a mask may hold where nobody knows

_MAGIC = b"\x93NUMPY"
# A header is what Python prints for a dict of these three, in any order. A space stands for any
# white space. Each pattern can match in one way only, so a crafted header takes linear time.
_ITEMS = (
    rb"(?P<q1>['\"])descr(?P=q1) : (?P<q2>['\"])(?P<descr>[^'\"\\]*)(?P=q2)",
    rb"(?P<q3>['\"])fortran_order(?P=q3) : (?P<fortran>True|False)",
    rb"(?P<q4>['\"])shape(?P=q4) : \((?P<shape> (?:SIDE (?:, SIDE )*(?:, )?)?)\)",
)
_HEADERS = tuple(
    re.compile(
        (rb" \{ " + b" , ".join(items) + rb" (?:, )?\} ")
        .replace(b" ", rb"[ \t\n]*")
        .replace(b"SIDE", rb"(?:0|[1-9][0-9]*)")
    )
    for items in permutations(_ITEMS)
)


class PatchError(ValueError):
    """A file that is not a usable patch or mask; the message is one sentence for its user."""


class AllNullError(PatchError):
    """A sound file that holds no measurement at all."""


def read_patch(source: Source) -> NDArray[np.float32]:
    """Read one patch, or one whole log, of wall thickness.

    Args:
        source: Path of a `.npy` file, or its bytes. Integers and floats of any size and byte
            order, C or Fortran order, shape (Z, A), (1, Z, A) or (Z, A, 1); of two candidate axes
            the leading one is dropped, so (1, Z, 1) gives (Z, 1).

    Returns:
        Native, C-contiguous, writable float32 (Z depth, A azimuth) in the unit of the file, with
        NaN at every null: NaN, infinities, and values beyond +-900 (-999.25, -999.0, -9999).

    Raises:
        PatchError: The file is missing, damaged, of another kind, or holds nulls only.

    >>> file = io.BytesIO()
    >>> np.save(file, np.array([[0.01, -999.25]]))
    >>> read_patch(file.getvalue())
    array([[0.01,  nan]], dtype=float32)
    """
    subject, array = _read(source, kinds="iuf")
    with np.errstate(all="ignore"):  # a float64 beyond float32's range becomes infinite: a null
        patch = array.astype(np.float32, order="C")
    null = ~(np.abs(patch) <= NULL_BEYOND)  # NaN compares false
    patch[null] = np.nan
    if null.all():
        raise AllNullError(f"{subject} holds no measurement, only nulls; choose another patch.")
    return patch


def read_mask(source: Source, *, unknown: bool = False) -> NDArray[np.uint8]:
    """Read one mask of grooves.

    Args:
        source: As for `read_patch`; booleans are accepted too, and so is the array "mask" of an
            `.npz` archive. Every value must be 0 or 1.
        unknown: Accept 255 as well, for "nobody knows".

    Returns:
        Native, C-contiguous, writable uint8 (Z depth, A azimuth): 1 in a groove, 0 elsewhere, 255
        where it is unknown.

    Raises:
        PatchError: The file is missing, damaged, of another kind, or holds another value.
    """
    subject, array = _read(source, kinds="biuf", member="mask.npy")
    allowed = (0, 1, UNKNOWN_LABEL) if unknown else (0, 1)
    wrong = ~np.isin(array, allowed)
    if wrong.any():
        value = array[wrong][0]
        also = f", and {UNKNOWN_LABEL} where it is unknown" if unknown else ""
        raise PatchError(
            f"{subject} holds the value {value:g}, but a mask holds only 0 (background) and 1 "
            f"(groove){also}; convert it first."
        )
    return array.astype(np.uint8, order="C")


def printable_name(name: str) -> str:
    """A file's name as any terminal or page can show it, with "?" for what has no glyph."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _read(source: Source, kinds: str, member: str | None = None) -> tuple[str, NDArray[np.generic]]:
    """Return how to name the source in an error, and its (Z, A) array as stored.

    `member` is the file to take of an archive; without it an archive is refused.
    """
    if isinstance(source, bytes):
        file = io.BytesIO(source)
        return "The file", _parse_any(file, len(source), "The file", kinds, member)
    path = os.fspath(source)
    name = (
        printable_name(os.path.basename(path)) or "The path"
    )  # whose folders, is nobody's business
    try:
        with open(path, "rb", opener=_open_at_once) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PatchError(f"{name} is not a regular file; choose a .npy file.")
            return name, _parse_any(opened, status.st_size, name, kinds, member)
    except PatchError:
        raise
    except FileNotFoundError:
        raise PatchError(f"{name} does not exist; check its name and folder.") from None
    except IsADirectoryError:
        raise PatchError(f"{name} is a folder; choose a .npy file inside it.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise PatchError(f"{name} cannot be read ({reason}); check the file.") from None


def _open_at_once(path: str, flags: int) -> int:
    # A named pipe would otherwise wait for a writer; Windows has neither pipes here nor the flag.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _parse_any(
    file: BinaryIO, size: int, subject: str, kinds: str, member: str | None
) -> NDArray[np.generic]:
    lead = file.read(2)
    file.seek(0)
    if member and lead == b"PK":
        return _parse_member(file, member, subject, kinds)
    return _parse(file, size, subject, kinds)


def _parse_member(file: BinaryIO, member: str, subject: str, kinds: str) -> NDArray[np.generic]:
    """Read one `.npy` file of an open archive; what it expands to is limited as any array is."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as part:
            size = archive.getinfo(member).file_size
            return _parse(cast(BinaryIO, part), size, f"{member} in {subject}", kinds)
    except KeyError:
        raise PatchError(f"{subject} has no array {member[:-4]!r}; save one in it.") from None
    except PatchError:
        raise
    except Exception:  # zipfile and its decompressors know a dozen ways to fail
        raise PatchError(f"{subject} is damaged or encrypted; save it again.") from None


def _parse(file: BinaryIO, size: int, subject: str, kinds: str) -> NDArray[np.generic]:
    """Read the (Z, A) array of an open file of `size` bytes."""
    header = _read_header(file, subject)
    descr, fortran, shape = _match_header(header) or _refuse_header(header, subject)
    dtype = _dtype(descr, subject, kinds)
    plane = _plane(shape, subject)
    expected = math.prod(shape) * dtype.itemsize
    left = size - file.tell()
    if left != expected:
        fault = "is truncated" if left < expected else "has extra bytes at its end"
        raise PatchError(
            f"{subject} {fault} ({left:,} bytes of data where its header declares {expected:,}); "
            "export it again."
        )
    data = file.read(expected)
    if len(data) != expected:
        raise PatchError(f"{subject} changed while it was read; try again.")
    return np.frombuffer(data, dtype).reshape(plane, order="F" if fortran else "C")


def _read_header(file: BinaryIO, subject: str) -> bytes:
    """Check what stands before the header, then return the header."""
    lead = file.read(8)
    if lead[:6] != _MAGIC or len(lead) < 8:
        raise PatchError(f"{subject} {_other_kind(lead)}")
    major, minor = lead[6:]
    if (major, minor) not in {(1, 0), (2, 0), (3, 0)}:
        raise PatchError(
            f"{subject} has the unknown .npy version {major}.{minor}; save it again with NumPy."
        )
    width = 2 if major == 1 else 4
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


def _other_kind(lead: bytes) -> str:
    """Say what a file that is not `.npy` is, from its first bytes."""
    if not lead:
        return "is empty; export it again."
    if _MAGIC.startswith(lead[:6]):
        return "is truncated inside its header; export it again."
    if lead.startswith(b"PK"):
        return "is an .npz or zip archive; save each array to its own .npy file with numpy.save."
    if lead[:1] == b"\x80" and lead[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a pickle, which may run code when opened; save the array with numpy.save."
    return "is not a .npy file; save the array with numpy.save."


@lru_cache(maxsize=16)  # the files of a data set share one header
def _match_header(header: bytes) -> tuple[str, bool, tuple[int, ...]] | None:
    """Return the dtype's description, the order and the shape, or None outside the grammar."""
    for pattern in _HEADERS:
        if match := pattern.fullmatch(header):
            shape = tuple(int(side) for side in re.findall(rb"\d+", match["shape"]))
            return match["descr"].decode("latin-1"), match["fortran"] == b"True", shape
    return None


def _refuse_header(header: bytes, subject: str) -> tuple[str, bool, tuple[int, ...]]:
    if re.search(rb"descr['\"]\s*:\s*[\[(]", header):
        raise PatchError(f"{subject} holds records (a structured type); save one plain array.")
    raise PatchError(f"{subject} has a damaged header; save the array again with numpy.save.")


def _dtype(descr: str, subject: str, kinds: str) -> np.dtype[np.generic]:
    kind = descr.lstrip("<>=|")[:1]
    if kind == "O":
        raise PatchError(f"{subject} holds Python objects, which are never loaded; save numbers.")
    if re.fullmatch(rf"[<>=|]?[{kinds}][1-9][0-9]?", descr):
        try:
            return np.dtype(descr)
        except TypeError:  # a size that this machine has no type for
            pass
    what = {"c": "complex numbers", "b": "true/false values", "U": "text", "S": "text"}.get(kind)
    raise PatchError(
        f"{subject} holds {what or 'values of an unknown type'} ({descr[:20]!a}); "
        "save it as real numbers, for example float32."
    )


def _plane(shape: tuple[int, ...], subject: str) -> tuple[int, int]:
    """Return (Z, A) for a shape as stored."""
    plane = shape
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        plane = shape[1:] if shape[0] == 1 else shape[:2]
    shown = str(shape) if len(str(shape)) < 60 else f"of {len(shape)} axes"
    if len(plane) != 2:
        raise PatchError(f"{subject} has the shape {shown}; save one patch (depth, azimuth).")
    if 0 in plane:
        raise PatchError(f"{subject} has the shape {shown}, with an empty side; export it again.")
    if math.prod(plane) > MAX_ELEMENTS:
        raise PatchError(
            f"{subject} has the shape {shown}, more than {MAX_ELEMENTS:,} pixels; cut it in pieces."
        )
    return plane[0], plane[1]

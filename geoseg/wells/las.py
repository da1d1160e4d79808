"""Read an azimuthal image of a LAS file, version 1.2, 2 or 3.

lasio reads the headers. The data are parsed here, because lasio 0.32 misreads comma-delimited
LAS 3: the number of values in each row is checked against the curves that the headers declare.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.patches import PatchError
from geoseg.wells.channels import (
    LEAST_COLUMNS,
    LOSSES,
    MAX_COLUMNS,
    ImageChannel,
    RawLog,
    choose_image,
    parse_length_unit,
    scale_depth,
)

_DELIMITERS = {"COMMA": ",", "TAB": "\t"}


def read_las(content: bytes, subject: str, channel: str | None) -> RawLog:
    """Read one image: curves of one stem with consecutive numbers, such as IMG1 to IMG72.

    Raise PatchError if lasio is not installed, the file is damaged, or there is no such image.
    """
    text = content.decode("utf-8", errors="replace").lstrip("\ufeff")
    start = re.search(r"^~(?:A|ASCII|Log_Data)[^\n]*\n", text, re.MULTILINE | re.IGNORECASE)
    if not start:
        raise PatchError(f"{subject} has no data section ~A; export it again.")
    header = _read_header(text[: start.start()], subject)
    curves = [str(curve.original_mnemonic) for curve in header.curves]
    found = _find_images(header, curves)
    image, note = choose_image(list(found), curves, subject, channel, None)
    data = _read_rows(text[start.end() :], header, len(curves), [0, *found[image]], subject)
    stored = np.ascontiguousarray(data[:, 0])
    depth, unit = scale_depth(stored, str(header.curves[0].unit))
    length = parse_length_unit(image.unit)
    null = header.well["NULL"].value if "NULL" in header.well else None
    return RawLog(
        data[:, 1:],
        depth,
        unit,
        image.name,
        length and length[0],
        LOSSES.get(image.name),
        nulls=(float(null),) if isinstance(null, int | float) else (),
        assumptions={"channel": note, **_check_end(header, stored)},
    )


def _check_end(header: Any, depth: NDArray[np.float64]) -> dict[str, str]:
    """Return a sentence if the last depth is not the one that the header declares."""
    stop = header.well["STOP"].value if "STOP" in header.well else None
    step = abs(depth[-1] - depth[-2]) if len(depth) > 1 else 0.0
    if not isinstance(stop, int | float) or abs(depth[-1] - stop) <= step / 2:
        return {}
    sentence = (
        f"The last row has the depth {depth[-1]:g}, but the header declares STOP {stop:g}: the "
        "file may be truncated."
    )
    return {"depth": sentence}


def _read_header(text: str, subject: str) -> Any:
    try:
        import lasio
    except ImportError:
        raise PatchError(
            f"{subject} is a LAS file; install what reads it: pip install 'geoseg[wells]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that do not matter here
            header = lasio.read(io.StringIO(text), ignore_data=True, mnemonic_case="preserve")
    except Exception as error:  # lasio raises many types of error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise PatchError(
            f"{subject} has a damaged header ({reason[0]}); export it again."
        ) from None
    if not header.curves:
        raise PatchError(f"{subject} declares no curves; export it again.")
    return header


def _find_images(header: Any, curves: Sequence[str]) -> dict[ImageChannel, list[int]]:
    """Return the positions of the curves of every image."""
    stems: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for position, name in enumerate(curves):
        # The number is the last one of the name; LAS 3 writes it in brackets.
        if match := re.fullmatch(r"(.*?)\[?(\d+)\]?(\D*)", name):
            stems[match[1], match[3]].setdefault(int(match[2]), position)
    images = {}
    for (before, after), numbered in stems.items():
        first = min(numbered)
        positions = [numbered[n] for n in range(first, first + len(numbered)) if n in numbered]
        whole = first in (0, 1) and len(positions) == len(numbered)
        if whole and LEAST_COLUMNS <= len(positions) <= MAX_COLUMNS:
            unit = str(header.curves[positions[0]].unit)
            images[ImageChannel(before + after, "", len(positions), unit)] = positions
    return images


def _read_rows(
    text: str, header: Any, curves: int, wanted: list[int], subject: str
) -> NDArray[np.float64]:
    """Return the wanted columns of the data section (Z, ...); check every row's length."""
    version = header.version
    delimiter = _DELIMITERS.get(str(version["DLM"].value).upper()) if "DLM" in version else None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "~"))]
    if not lines:
        raise PatchError(f"{subject} has no rows of data; export it again.")
    if "WRAP" in version and str(version["WRAP"].value).upper().startswith("Y"):
        cells = " ".join(lines).split()
        if len(cells) % curves:
            raise PatchError(
                f"{subject} is truncated: its {len(cells):,} values are no whole number of rows "
                f"of {curves} curves; export it again."
            )
        rows = np.array(cells).reshape(-1, curves)[:, wanted]
        return _to_numbers(rows, subject)
    for number, line in enumerate(lines, 1):
        count = len(line.split(delimiter))
        if count != curves:
            raise PatchError(
                f"{subject} has {count} values in data row {number:,} where its header declares "
                f"{curves} curves; export it again."
            )
    try:
        return np.loadtxt(lines, delimiter=delimiter, usecols=wanted, ndmin=2, comments=None)
    except ValueError as error:
        raise PatchError(f"{subject} holds a value that is no number ({error}).") from None


def _to_numbers(cells: NDArray[np.str_], subject: str) -> NDArray[np.float64]:
    try:
        return cells.astype(np.float64)
    except ValueError as error:
        raise PatchError(f"{subject} holds a value that is no number ({error}).") from None

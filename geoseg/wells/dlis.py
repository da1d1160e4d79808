"""Read an azimuthal image of a DLIS file (RP 66 version 1) with dlisio."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    keep_credible,
    parse_length_unit,
    scale_depth,
)

_DEPTHS = ("TDEP", "DEPT", "DEPTH", "MD")
_ROWS = 2**14  # read at a time: a frame may also hold waveforms, a hundred times the image


def read_dlis(path: Path, subject: str, channel: str | None, frame: str | None) -> RawLog:
    """Read one image of a DLIS file; `channel` and `frame` choose where there are several.

    Raise PatchError if dlisio is not installed, the file is damaged, or there is no such image.
    """
    with _open(path, subject) as files:
        found = {_describe(c, f): (c, f, file) for c, f, file in _find_images(files)}
        names = [c.name for file in files for f in file.frames for c in f.channels]
        image, note = choose_image(list(found), names, subject, channel, frame)
        source, framed, file = found[image]
        values = _read_channel(source, framed, file)
        if not len(values):
            raise PatchError(f"{subject} has no rows in its frame {image.frame}; export it again.")
        index, depth_note = _find_depth(framed)
        depth, unit = None, ""
        if index is not None:
            stored = _read_channel(index, framed, file).astype(np.float64).reshape(-1)
            depth, unit = scale_depth(stored, _get_depth_unit(index, framed))
        parameters = _read_parameters(file)
        length = parse_length_unit(image.unit)
        return RawLog(
            values.reshape(len(values), -1),
            depth,
            unit,
            image.name,
            length and length[0],
            LOSSES.get(image.name),
            keep_credible(parameters.get("THNO"), 0.05, 3),
            keep_credible(parameters.get("CSIZ"), 2, 60),
            assumptions={"channel": note} | ({"depth": depth_note} if depth_note else {}),
        )


@contextmanager
def _open(path: Path, subject: str) -> Iterator[Any]:
    """Open the logical files of a physical file; every error of dlisio becomes a sentence."""
    try:
        from dlisio import dlis
        from dlisio.common import set_encodings
    except ImportError:
        raise PatchError(
            f"{subject} is a DLIS file; install what reads it: pip install 'geoseg[wells]'"
        ) from None
    set_encodings(["latin1"])
    try:
        with dlis.load(str(path)) as files:
            yield files
    except PatchError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        reason = str(error).strip().splitlines()
        raise PatchError(
            f"{subject} is truncated or damaged ({reason[0] if reason else type(error).__name__}); "
            "export it again."
        ) from None


def _find_images(files: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each channel that may be an azimuthal image, its frame and its logical file."""
    for file in files:
        for frame in file.frames:
            for channel in frame.channels:
                sides = [side for side in channel.dimension or [] if side != 1]
                if len(sides) == 1 and LEAST_COLUMNS <= sides[0] <= MAX_COLUMNS:
                    yield channel, frame, file


def _describe(channel: Any, frame: Any) -> ImageChannel:
    columns = math.prod(channel.dimension)
    return ImageChannel(channel.name, frame.name, columns, channel.units or "")


def _read_channel(channel: Any, frame: Any, file: Any) -> NDArray[np.generic]:
    """Read one channel (Z, ...) of a frame, without keeping the rest of the frame."""
    from dlisio import core

    before, wanted, after = frame.fmtstrchannel(channel)
    dtype = channel.dtype
    rows = file.fdata_index.get(frame.fingerprint, [])
    parts = [np.empty(0, dtype)]
    for start in range(0, len(rows), _ROWS):
        parts.append(
            core.read_fdata(
                "i" + before,  # every row begins with its number
                wanted,
                after,
                file.file,
                rows[start : start + _ROWS],
                dtype.itemsize,
                lambda size: np.empty(size, dtype),
                file.error_handler,
            )
        )
    return np.concatenate(parts)


def _find_depth(frame: Any) -> tuple[Any, str]:
    """Return the channel of depths, or None, and what is assumed of it."""
    channels = {channel.name: channel for channel in frame.channels}
    if frame.index_type in ("BOREHOLE-DEPTH", "VERTICAL-DEPTH") and frame.index in channels:
        return channels[frame.index], ""
    for name in _DEPTHS:
        if name in channels:
            return channels[name], f"The depths are those of the channel {name}."
    return None, "The frame has no channel of depths; rows have numbers only."


def _get_depth_unit(index: Any, frame: Any) -> str:
    """Return the unit of the depths: that of the channel, else that of the frame's spacing."""
    try:
        return str(index.units or frame.attic["SPACING"].units or "")
    except KeyError:
        return ""


def _read_parameters(file: Any) -> dict[str, float]:
    """Return lengths among the parameters of the tool, in inches."""
    lengths = {}
    for parameter in file.parameters:
        if parameter.name in ("THNO", "CSIZ") and len(parameter.values) == 1:
            unit = parse_length_unit(str(parameter.attic["VALUES"].units or "in"))
            if unit:
                lengths[parameter.name] = float(parameter.values[0]) * unit[0]
    return lengths

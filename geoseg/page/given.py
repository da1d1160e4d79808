"""Read the files of a program's call, within the limits of one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.page.browse import check_size
from geoseg.page.uploads import file_name, uploaded_bytes
from geoseg.patches import PatchError, read_mask, read_patch

MAX_CALL_FILES = 512
MAX_CALL_WORK = 2**19  # pixels times models of one call: 404 patches of 36x36 by one model

T = TypeVar("T")


def read_patches(files: Any, models: int) -> list[tuple[str, NDArray[np.float32]]]:
    """Return the name and the array of each file, within the limits for so many models."""
    read = []
    work = 0
    for name, content in _contents(files):
        array = check_size(_parse(read_patch, name, content))
        work += array.size * models
        if work > MAX_CALL_WORK:
            raise PatchError(
                f"The patches' pixels times {models} models are beyond the {MAX_CALL_WORK:,} of "
                "one call; send fewer patches, or name fewer models."
            )
        read.append((name, array))
    return read


def check_pairs(patches: Any, labels: Any) -> None:
    """Raise PatchError for labels of another number or order, before any file is read."""
    theirs, names = _file_names(labels), _file_names(patches)
    if len(theirs) != len(names):
        raise PatchError(f"There are {len(names)} patches and {len(theirs)} labels; pair them.")
    if names != theirs and sorted(names) == sorted(theirs):
        raise PatchError("The labels are in another order than the patches; pair them.")


def read_labels(
    files: Any, patches: Sequence[tuple[str, NDArray[np.float32]]]
) -> list[NDArray[np.uint8]]:
    """Read the label of each patch and check its shape."""
    truths = []
    for (name, content), (patch_name, patch) in zip(_contents(files), patches, strict=True):
        truth = _parse(read_mask, name, content)
        if truth.shape != patch.shape:
            raise PatchError(
                f"{name} has the shape {truth.shape}, its patch {patch_name} {patch.shape}; "
                "pair them."
            )
        truths.append(truth)
    return truths


def _several(files: Any) -> list[Any]:
    """Return the files of a call as a list; PatchError for none or too many."""
    several = files if isinstance(files, list) else [files]
    if not several:
        raise PatchError("No file was given; upload a .npy file first.")
    if len(several) > MAX_CALL_FILES:
        raise PatchError(
            f"{len(several):,} files are beyond the {MAX_CALL_FILES} of one call; send fewer."
        )
    return several


def _file_names(files: Any) -> list[str]:
    return [file_name(file) for file in _several(files)]


def _contents(files: Any) -> Iterator[tuple[str, bytes]]:
    return ((file_name(file), uploaded_bytes(file)) for file in _several(files))


def _parse(read: Callable[[bytes], T], name: str, content: bytes) -> T:
    try:
        return read(content)
    except PatchError as error:
        raise PatchError(str(error).replace("The file", name, 1)) from None

"""Read the files of a program's call, within the limits of one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from geoseg.masks import Mask, explain_misfit, interpret_mask
from geoseg.measurements import MeasurementOptions
from geoseg.page.browse import Entry, read_entries
from geoseg.page.uploads import file_name, uploaded_bytes
from geoseg.patches import PatchError, read_arrays

MAX_CALL_FILES = 512
MAX_CALL_WORK = 2**19  # pixels times models of one call: 404 patches of 36x36 by one model

T = TypeVar("T")


def read_patches(files: Any, models: int, options: MeasurementOptions) -> list[Entry]:
    """Return the patches of each file, within the limits for so many models."""
    read: list[Entry] = []
    for name, content in _contents(files):
        read += _parse(partial(read_entries, name, options=options), name, content)
        if len(read) > MAX_CALL_FILES:
            raise PatchError(
                f"{len(read):,} patches are beyond the {MAX_CALL_FILES} of one call; send fewer."
            )
        if sum(entry.patch.size for entry in read) * models > MAX_CALL_WORK:
            raise PatchError(
                f"The patches' pixels times {models} models are beyond the {MAX_CALL_WORK:,} of "
                "one call; send fewer patches, or name fewer models."
            )
    return read


def check_pairs(patches: Any, labels: Any) -> None:
    """Raise PatchError for labels of another number or order, before any file is read."""
    theirs, names = _file_names(labels), _file_names(patches)
    if len(theirs) != len(names):
        raise PatchError(f"There are {len(names)} patches and {len(theirs)} labels; pair them.")
    if names != theirs and sorted(names) == sorted(theirs):
        raise PatchError("The labels are in another order than the patches; pair them.")


def read_labels(files: Any, patches: Sequence[Entry]) -> list[Entry]:
    """Return the patches with their labels, whose number and shapes are checked."""
    masks = [mask for name, content in _contents(files) for mask in _parse(_masks, name, content)]
    if len(masks) != len(patches):
        raise PatchError(f"There are {len(patches)} patches and {len(masks)} labels; pair them.")
    for mask, entry in zip(masks, patches, strict=True):
        if misfit := explain_misfit(mask.pixels.shape, entry.patch.shape):
            raise PatchError(f"The label of {entry.name} {misfit}; pair them.")
    return [
        replace(entry, truth=mask.pixels, notes=entry.notes + mask.notes)
        for mask, entry in zip(masks, patches, strict=True)
    ]


def _masks(content: bytes) -> list[Mask]:
    name, arrays = read_arrays(content, kinds="biuf", member="mask.npy")
    if len(arrays) > MAX_CALL_FILES:
        raise PatchError(f"{name} is a stack of {len(arrays):,} masks; send fewer.")
    return [interpret_mask(array, name) for array in arrays]


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

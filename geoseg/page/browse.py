"""Sets of patches to browse: from files, folders and globs, each with its truth where one exists.

Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.input_files import NoPatchesError, find_files, find_label
from geoseg.masks import Mask, explain_misfit, read_noted_mask
from geoseg.measurements import DEFAULT, MeasurementOptions, read_logs
from geoseg.patches import PatchError, Source, printable_name, read_arrays

# A patch on the page is segmented while a slider moves: 65,536 pixels, or 1,820 rows of 36
# columns, are what a small machine still does in well under a second. Logs belong in slices.
MAX_PIXELS = 2**16
MAX_STACK = 2**12  # patches of one file: each has a name and a place of its own


class Rejected(NamedTuple):
    """A file left out, by its base name, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Entry:
    """One patch of a set: float32 (Z, A), NaN at nulls; its truth is uint8 (Z, A) or None.

    `notes` are the sentences of what was assumed of patch and truth; `facts` is what else the page
    should know, such as a `note` to the user.
    """

    name: str
    patch: NDArray[np.float32]
    truth: NDArray[np.uint8] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Patches(Protocol):
    """What can be browsed: in memory, or made when it is asked for."""

    @property
    def label(self) -> str:
        """Return the name of the set, or an empty string."""

    @property
    def names(self) -> list[str]:
        """The name of every patch; empty where there are too many to list."""

    @property
    def notes(self) -> list[str]:
        """What was assumed of each patch in `names`; an empty string where nothing was."""

    @property
    def labelled(self) -> int:
        """How many patches have a truth."""

    def __len__(self) -> int:
        """How many patches there are, at least 1."""

    def entry(self, index: int) -> Entry:
        """Return the patch at `index`, from 0."""

    def find(self, name: str, index: int) -> int:
        """Return the index of the patch `name`, or else `index` modulo the number of patches."""


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches in the order in which they are browsed.

    `made` has other sets that were made of this one, such as with letters on it.
    """

    label: str
    entries: tuple[Entry, ...]
    rejected: tuple[Rejected, ...] = ()
    made: dict[str, Patches] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """The name of every patch."""
        return [entry.name for entry in self.entries]

    @property
    def notes(self) -> list[str]:
        """What was assumed of each patch; an empty string where nothing was."""
        return [" ".join(entry.notes) for entry in self.entries]

    @property
    def labelled(self) -> int:
        """How many patches have a truth."""
        return sum(entry.truth is not None for entry in self.entries)

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.entries)

    def entry(self, index: int) -> Entry:
        """Return the patch at `index`, from 0."""
        return self.entries[index]

    def find(self, name: str, index: int) -> int:
        """Return the index of the patch `name`, or else `index` modulo the number of patches."""
        return self._places.get(name, index % len(self.entries))

    @cached_property
    def _places(self) -> dict[str, int]:
        """Return the first index of each name."""
        return {name: i for i, name in reversed([*enumerate(self.names)]) if name}


def load_set(sources: Sequence[str], label: str, options: MeasurementOptions = DEFAULT) -> PatchSet:
    """Read every patch that `sources` name: files, folders, or globs in which `**` works.

    A folder stands for its `.npy` files, or for those in its `images/`. A file in a folder
    `images/` has its truth in the sibling `labels/`, under the same name. What cannot be read is
    listed in `rejected`. `options` say what the files measure. NoPatchesError where nothing can be
    read.
    """
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    for path in _unique(file for source in sources for file in find_files(source)):
        try:
            found = read_entries(printable_name(path.name), path, options)
        except PatchError as error:
            rejected.append(Rejected(printable_name(path.name), str(error)))
            continue
        truth, reason = _read_truth(path, found)
        if reason:
            rejected.append(Rejected(found[0].name, f"shown without its labels: {reason}"))
        if truth:
            found = [replace(found[0], truth=truth.pixels, notes=found[0].notes + truth.notes)]
        entries += found
    if not entries:
        raise NoPatchesError(
            f"none of the {len(rejected):,} files can be shown; the first: {rejected[0].reason}"
        )
    return PatchSet(label, tuple(entries), tuple(rejected))


def read_entries(name: str, source: Source, options: MeasurementOptions = DEFAULT) -> list[Entry]:
    """Read the patches of one file: one called `name`, or those of a stack, "NAME [0]" onwards.

    Raise PatchError if the file is unusable, or too large to be segmented live.
    """
    _, stack = read_arrays(source)
    count, rows, columns = stack.shape
    if count > MAX_STACK:  # before any is interpreted, which takes time
        raise PatchError(
            f"The stack of {count:,} patches is beyond the {MAX_STACK:,} of one file; cut it in "
            "parts."
        )
    if rows * columns > MAX_PIXELS:
        raise PatchError(
            f"The patch of {rows:,} by {columns:,} pixels is beyond the {MAX_PIXELS:,} that the "
            "page segments live; cut it into slices."
        )
    logs = read_logs(source, options)
    names = [name] if count == 1 else [f"{name} [{i}]" for i in range(count)]
    return [Entry(one, log.image, notes=log.notes) for one, log in zip(names, logs, strict=True)]


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))


def _read_truth(path: Path, entries: Sequence[Entry]) -> tuple[Mask | None, str]:
    """Read the label of a patch; return the reason if its file cannot be used."""
    label = find_label(path)
    if not label:
        return None, ""
    try:
        if len(entries) > 1:
            raise PatchError("The labels of a stack are not read; save each patch to its own file.")
        truth = read_noted_mask(label)
    except PatchError as error:
        return None, str(error)
    misfit = explain_misfit(truth.pixels.shape, entries[0].patch.shape)
    return (None, f"{truth.name} {misfit}") if misfit else (truth, "")

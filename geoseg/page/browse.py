"""Sets of patches to browse: from files, folders and globs, each with its truth where one exists.

Z depth, A azimuth.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.natural_sort import natural_key
from geoseg.patches import PatchError, printable_name, read_mask, read_patch

# A patch on the page is segmented while a slider moves: 65,536 pixels, or 1,820 rows of 36
# columns, are what a small machine still does in well under a second. Logs belong in slices.
MAX_PIXELS = 2**16


class NoPatchesError(ValueError):
    """No patches to browse; the message is one sentence for the user."""


class Rejected(NamedTuple):
    """A file left out, by its base name, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Entry:
    """One patch of a set: float32 (Z, A) with NaN at nulls; its truth is uint8 (Z, A) or None.

    `facts` is what else the page should know, such as a `note` to the user.
    """

    name: str
    patch: NDArray[np.float32]
    truth: NDArray[np.uint8] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Patches(Protocol):
    """What can be browsed: in memory, or made when it is asked for."""

    @property
    def label(self) -> str:
        """Return the name of the set, or an empty string."""

    @property
    def names(self) -> list[str]:
        """The name of every patch; empty where there are too many to list."""

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


def load_set(sources: Sequence[str], label: str) -> PatchSet:
    """Read every patch that `sources` name: files, folders, or globs in which `**` works.

    A folder stands for its `.npy` files, or for those in its `images/`. A file in a folder
    `images/` has its truth in the sibling `labels/`, under the same name. What cannot be read is
    listed in `rejected`. NoPatchesError where nothing can be.
    """
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    for path in _unique(file for source in sources for file in find_files(source)):
        try:
            patch = check_size(read_patch(path))
        except PatchError as error:
            rejected.append(Rejected(printable_name(path.name), str(error)))
            continue
        truth, reason = _read_truth(path, patch.shape)
        if reason:
            rejected.append(Rejected(path.name, f"shown without its labels: {reason}"))
        entries.append(Entry(path.name, patch, truth))
    if not entries:
        raise NoPatchesError(
            f"none of the {len(rejected):,} files can be shown; the first: {rejected[0].reason}"
        )
    return PatchSet(label, tuple(entries), tuple(rejected))


def find_files(source: str) -> list[Path]:
    """List the patch files of a file, folder or glob in natural order; NoPatchesError for none."""
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = _arrays(path) or _arrays(path / "images")
        if not files:
            raise NoPatchesError(f"folder {source!r} holds no .npy file, nor does its images/")
        return files
    if not glob.has_magic(str(path)):
        raise NoPatchesError(f"{source!r} does not exist; give a .npy file, a folder or a glob")
    files = [Path(p) for p in glob.glob(str(path), recursive=True)]
    files = [f for f in files if f.is_file() and not _is_label(f)]
    if not files:
        raise NoPatchesError(f"{source!r} matches no file; quote the glob and check its folder")
    return sorted(files, key=lambda f: natural_key(str(f)))


def check_size(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the patch; raise PatchError if it is too large to be segmented live."""
    if patch.size > MAX_PIXELS:
        rows, columns = patch.shape
        raise PatchError(
            f"The patch of {rows:,} by {columns:,} pixels is beyond the {MAX_PIXELS:,} that the "
            "page segments live; cut it into slices."
        )
    return patch


def _arrays(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"), key=lambda f: natural_key(f.name))


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))


def _is_label(path: Path) -> bool:
    """Whether a file is the label of another; `data/**/*.npy` matches both."""
    return path.parent.name == "labels" and (path.parent.parent / "images" / path.name).is_file()


def _read_truth(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8] | None, str | None]:
    """Read the label of a patch; return the reason if its file cannot be used."""
    label = path.parent.parent / "labels" / path.name
    if path.parent.name != "images" or not label.is_file():
        return None, None
    try:
        truth = read_mask(label)
    except PatchError as error:
        return None, str(error)
    if truth.shape != shape:
        return None, f"they have the shape {truth.shape}, the patch {shape}"
    return truth, None

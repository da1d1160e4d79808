"""Read the folders of a data set: pair images with labels, and reject unusable files.

    <root>/{train,validation,test}/images/well_K_patch_I.npy
    <root>/{train,validation,test}/labels/well_K_patch_I.npy    (absent if a split is unlabelled)

Dimensions: Z depth, A azimuth.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from geoseg.patches import AllNullError, PatchError, printable_name, read_mask, read_patch

SPLITS = ("train", "validation", "test")

# Most of a patch must be valid. The real patches with a few nulls or some lost rows (below 30%) are
# useful, since nulls count in no loss and no metric. With more than half null (well_15_patch_202:
# 53%) a patch shows mostly the edges of a hole.
MAX_NULL_FRACTION = 0.5

_RULES_VERSION = 1  # raise it with any change of what is rejected: it invalidates older caches
_PROGRESS_FILES = 1000  # reading fewer files takes less time than a progress bar is useful for

# Numbers without leading zeros, so that two files are never the same patch.
_NAME = re.compile(r"well_(0|[1-9][0-9]{0,8})_patch_(0|[1-9][0-9]{0,8})\.npy")


def format_count(number: int, noun: str) -> str:
    """Format a count in words: "1 file", "2,000 files", "3 patches"."""
    ending = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending * (number != 1)}"


class DatasetError(ValueError):
    """A folder or a split is unusable; the message says why and what to do."""


@dataclass(frozen=True)
class Rejection:
    """One rejected file.

    Attributes:
        name: path relative to the root, such as "train/images/well_1_patch_3.npy".
        reason: what is wrong with the file, for the user.
        kind: the broken rule, in a few words that are the same for all such files.
    """

    name: str
    reason: str
    kind: str


@dataclass(frozen=True, eq=False)
class Patch:
    """One patch: image float32 (Z, A), NaN at nulls; mask uint8 (Z, A) or None."""

    split: str
    well: int
    index: int
    image: NDArray[np.float32]
    mask: NDArray[np.uint8] | None

    @property
    def name(self) -> str:
        """Return the image's path relative to the root."""
        return f"{self.split}/images/well_{self.well}_patch_{self.index}.npy"


FileStates = dict[str, tuple[int, int, int]]


class SplitFiles(NamedTuple):
    """The files of one split: name -> (bytes, mtime and ctime in ns)."""

    images: FileStates
    labels: FileStates | None


@dataclass(frozen=True, order=True)
class _PatchFile:
    split: str
    well: int
    index: int
    name: str
    labelled: bool


def scan_folder(root: Path) -> dict[str, SplitFiles]:
    """List the files of the existing splits; raise DatasetError if there is no image."""
    listing = {}
    for split in SPLITS:
        images = _list_files(root / split / "images")
        labels = _list_files(root / split / "labels")
        if images is not None or labels is not None:
            listing[split] = SplitFiles(images or {}, labels)
    if not any(files.images for files in listing.values()):
        fault = "holds no patches" if root.is_dir() else "is not a folder"
        raise DatasetError(
            f"{printable_name(str(root))} {fault}; expected "
            "<root>/{train,validation,test}/images/well_K_patch_I.npy, and labels with the same "
            "names in labels/ beside images/"
        )
    return listing


def compute_fingerprint(listing: dict[str, SplitFiles]) -> str:
    """Return a digest of all files' names, sizes and times, and of the rules of rejection."""
    text = json.dumps([_RULES_VERSION, MAX_NULL_FRACTION, listing])
    return hashlib.sha256(text.encode()).hexdigest()


def read_patches(
    root: Path, listing: dict[str, SplitFiles], progress: bool, keep_faulty: bool = False
) -> tuple[list[Patch], list[Rejection]]:
    """Read every patch of the listing, ordered by split, well and depth.

    Reject a patch with a null fraction above MAX_NULL_FRACTION, or with a missing or unusable
    label. `keep_faulty` keeps both, the latter without a mask, but never a patch that is null
    everywhere.
    """
    rejections: list[Rejection] = []
    files = [
        file
        for split, names in listing.items()
        for file in _pair_files(split, names, rejections, keep_faulty)
    ]
    patches = []
    for file in _track_progress(files, progress):
        patch, rejection = _read_patch(root, file, keep_faulty)
        if rejection:
            rejections.append(rejection)
        if patch:
            patches.append(patch)
    kept = list(_select_most_common_size(patches, rejections))
    return kept, sorted(rejections, key=lambda rejection: rejection.name)


def _list_files(folder: Path) -> FileStates | None:
    try:
        with os.scandir(folder) as entries:
            return dict(sorted((entry.name, _get_state(entry)) for entry in entries))
    except FileNotFoundError:
        return None
    except OSError as error:
        advice = "it must be a folder"
        if isinstance(error, PermissionError):
            advice = "ask its owner for permission to read it and the folders above it"
        raise DatasetError(
            f"{printable_name(str(folder))} cannot be listed ({error.strerror}); {advice}"
        ) from error


def _get_state(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        status = entry.stat()
    except OSError:  # a broken link, which is rejected when it is read
        return (-1, -1, -1)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _pair_files(
    split: str, files: SplitFiles, rejections: list[Rejection], keep_faulty: bool
) -> list[_PatchFile]:
    """Pair the images of a split with their labels by name."""

    def reject(kind: str, name: str, reason: str, folder: str = "images") -> None:
        rejections.append(Rejection(f"{split}/{folder}/{printable_name(name)}", reason, kind))

    misnamed = ("misnamed", "is not named well_K_patch_I.npy; rename or remove it")
    pairs = []
    for name in files.images:
        match = _NAME.fullmatch(name)
        if match is None:
            reject(misnamed[0], name, misnamed[1])
            continue
        lacks_label = files.labels is not None and name not in files.labels
        if lacks_label:
            reject("without a label", name, f"has no label; add {split}/labels/{name}")
        if keep_faulty or not lacks_label:
            labelled = files.labels is not None and not lacks_label
            pairs.append(_PatchFile(split, int(match[1]), int(match[2]), name, labelled))
    for name in files.labels or ():
        if _NAME.fullmatch(name) is None:
            reject(misnamed[0], name, misnamed[1], "labels")
        elif name not in files.images:
            reason = f"has no image; add {split}/images/{name}"
            reject("label without an image", name, reason, "labels")
    return sorted(pairs)


def _track_progress(files: list[_PatchFile], progress: bool) -> Iterable[_PatchFile]:
    """Yield the files, with a progress bar on a terminal and one line elsewhere."""
    if not progress or len(files) < _PROGRESS_FILES:
        return files
    console = Console(stderr=True)
    if console.is_terminal:
        return track(files, "Reading patches", console=console)
    console.print(f"Reading {len(files):,} patches")
    return files


def _read_patch(
    root: Path, file: _PatchFile, keep_faulty: bool
) -> tuple[Patch | None, Rejection | None]:
    """Return the patch unless it is rejected, and what is wrong with it or its label."""
    name = f"{file.split}/images/{file.name}"
    try:
        image = read_patch(root / name)
    except AllNullError:
        return None, Rejection(name, "every pixel is null", "null everywhere")
    except PatchError as error:
        return None, Rejection(name, _get_reason(error, file.name), "unreadable image")
    nulls = float(np.isnan(image).mean())
    if nulls > MAX_NULL_FRACTION and not keep_faulty:
        reason = f"{nulls:.1%} of its pixels are null, more than {MAX_NULL_FRACTION:.0%}"
        return None, Rejection(name, reason, "mostly null")
    mask, rejection = _read_label(root, file, image.shape) if file.labelled else (None, None)
    if rejection and not keep_faulty:
        return None, rejection
    return Patch(file.split, file.well, file.index, image, mask), rejection


def _read_label(
    root: Path, file: _PatchFile, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8] | None, Rejection | None]:
    """Return the label, or what is wrong with it."""
    name = f"{file.split}/labels/{file.name}"
    try:
        mask = read_mask(root / name)
    except PatchError as error:
        return None, Rejection(name, _get_reason(error, file.name), "unusable label")
    if mask.shape != shape:
        reason = f"has the size {_format_size(mask.shape)}, its image {_format_size(shape)}"
        return None, Rejection(name, reason, "label of another size")
    return mask, None


def _get_reason(error: PatchError, name: str) -> str:
    return str(error).removeprefix(f"{name} ").removesuffix(".")


def _format_size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _select_most_common_size(patches: list[Patch], rejections: list[Rejection]) -> Iterator[Patch]:
    """Yield the patches of the most common size (the first one read, if several are)."""
    sizes = Counter(_format_size(patch.image.shape) for patch in patches)
    common = max(sizes, key=lambda size: sizes[size], default="")
    for patch in patches:
        size = _format_size(patch.image.shape)
        if size == common:
            yield patch
        else:
            reason = f"has the size {size}, most patches here {common}"
            rejections.append(Rejection(patch.name, reason, "of another size"))

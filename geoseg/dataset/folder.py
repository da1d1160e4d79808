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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.natural_sort import natural_key
from geoseg.patches import AllNullError, PatchError, printable_name, read_mask, read_patch
from geoseg.progress import track_progress

SPLITS = ("train", "validation", "test")

# Most of a patch must be valid. The real patches with a few nulls or some lost rows (below 30%) are
# useful, since nulls count in no loss and no metric. With more than half null (well_15_patch_202:
# 53%) a patch shows mostly the edges of a hole.
MAX_NULL_FRACTION = 0.5

_RULES_VERSION = 1  # raise it with any change of what is rejected: it invalidates older caches

# Numbers without leading zeros, so that two files are never the same patch.
_NAME = re.compile(r"well_(0|[1-9][0-9]{0,8})_patch_(0|[1-9][0-9]{0,8})\.npy")


def format_count(number: int, noun: str) -> str:
    """Format a count in words: "1 file", "2,000 files", "3 patches"."""
    ending = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending * (number != 1)}"


class DatasetError(ValueError):
    """A folder or a split is unusable; the message says why and what to do."""


class Rejection(NamedTuple):
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


class _PatchFile(NamedTuple):
    split: str
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
    for file in track_progress(files, "Reading patches") if progress else files:
        if patch := _read_patch(root, file, keep_faulty, rejections):
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
        raise DatasetError(
            f"{printable_name(str(folder))} cannot be listed ({error.strerror}); it must be a "
            "folder that you may read"
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
    """Pair the images of a split with their labels by name; return them by well and depth."""
    images, labels = files.images.keys(), (files.labels or {}).keys()
    misnamed = {name for name in images | labels if not _NAME.fullmatch(name)}
    unlabelled = set() if files.labels is None else images - labels - misnamed
    rename = "is not named well_K_patch_I.npy; rename or remove it"
    for kind, reason, folder, names in (
        ("misnamed", rename, "images", images & misnamed),
        ("misnamed", rename, "labels", labels & misnamed),
        ("without a label", f"has no label; add it to {split}/labels", "images", unlabelled),
        (
            "label without an image",
            f"has no image; add it to {split}/images",
            "labels",
            labels - images - misnamed,
        ),
    ):
        paths = (f"{split}/{folder}/{printable_name(name)}" for name in names)
        rejections += [Rejection(path, reason, kind) for path in paths]
    usable = images - misnamed - (set() if keep_faulty else unlabelled)
    return [_PatchFile(split, name, name in labels) for name in sorted(usable, key=natural_key)]


def _read_patch(
    root: Path, file: _PatchFile, keep_faulty: bool, rejections: list[Rejection]
) -> Patch | None:
    """Return the patch unless it is rejected; add what is wrong with it or its label."""
    name = f"{file.split}/images/{file.name}"
    try:
        image = read_patch(root / name)
    except PatchError as error:
        kind = "null everywhere" if isinstance(error, AllNullError) else "unreadable image"
        rejections.append(Rejection(name, _get_reason(error, file.name), kind))
        return None
    nulls = float(np.isnan(image).mean())
    if nulls > MAX_NULL_FRACTION and not keep_faulty:
        reason = f"{nulls:.1%} of its pixels are null, more than {MAX_NULL_FRACTION:.0%}"
        rejections.append(Rejection(name, reason, "mostly null"))
        return None
    mask = None
    if file.labelled:
        mask, fault = _read_label(root, file, image.shape)
        if fault:
            rejections.append(fault)
            if not keep_faulty:
                return None
    well, index = map(int, re.findall(r"\d+", file.name))
    return Patch(file.split, well, index, image, mask)


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

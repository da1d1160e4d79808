"""Read the folders of a data set: pair images with labels, and reject unusable files.

    <root>/{train,validation,test}/images/well_K_patch_I.npy
    <root>/{train,validation,test}/labels/well_K_patch_I.npy    (absent if a split is unlabelled)

Upper case does not matter, hidden files are ignored, and <root> may be the only folder in the one
that is given.
Dimensions: Z depth, A azimuth.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geoseg.input_files import find_child, find_only_folder, is_hidden
from geoseg.masks import Mask, explain_misfit, format_size, read_noted_mask
from geoseg.measurements import Log, MeasurementOptions, interpret
from geoseg.natural_sort import natural_key
from geoseg.patches import AllNullError, PatchError, printable_name, read_arrays
from geoseg.progress import track_progress

SPLITS = ("train", "validation", "test")

# Most of a patch must be valid. The real patches with a few nulls or some lost rows (below 30%) are
# useful, since nulls count in no loss and no metric. With more than half null (well_15_patch_202:
# 53%) a patch shows mostly the edges of a hole.
MAX_NULL_FRACTION = 0.5

_RULES_VERSION = 2  # raise it with any change of what is rejected: it invalidates older caches

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
    """One patch: its log, and its mask or None."""

    split: str
    well: int
    index: int
    log: Log
    mask: Mask | None

    @property
    def name(self) -> str:
        """Return the image's path relative to the root, in lower case."""
        return f"{self.split}/images/well_{self.well}_patch_{self.index}.npy"


class Files(NamedTuple):
    """The files of a folder.

    Attributes:
        path: of the folder, relative to the root.
        states: bytes, mtime and ctime in ns of each file, by its name.
    """

    path: str
    states: dict[str, tuple[int, int, int]]


class SplitFiles(NamedTuple):
    """The files of one split; `labels` is None without such a folder."""

    images: Files
    labels: Files | None


class _PatchFile(NamedTuple):
    split: str
    name: str
    image: str
    label: str | None


def find_root(folder: Path) -> Path:
    """Return the folder that holds the splits: `folder`, or the only folder in it, if any is."""
    root: Path | None = folder
    while root and root.is_dir():
        if any(find_child(root, split) for split in SPLITS):
            return root
        root = find_only_folder(root)
    return folder


def find_split(folder: Path, split: str) -> Path:
    """Return the folder of a split, whether it exists or not."""
    root = find_root(folder)
    return find_child(root, split) or root / split


def scan_folder(root: Path) -> dict[str, SplitFiles]:
    """List the files of the existing splits; raise DatasetError if there is no image.

    Raise NoPatchesError if two folders differ in case alone.
    """
    listing = {}
    for split in SPLITS:
        folder = find_child(root, split)
        images, labels = (folder and find_child(folder, kind) for kind in ("images", "labels"))
        if images or labels:
            found = _list_files(root, images) if images else Files(f"{split}/images", {})
            listing[split] = SplitFiles(found, _list_files(root, labels) if labels else None)
    if not any(files.images.states for files in listing.values()):
        fault = "holds no patches" if root.is_dir() else "is not a folder"
        raise DatasetError(
            f"{printable_name(str(root))} {fault}; expected "
            "<root>/{train,validation,test}/images/well_K_patch_I.npy, and labels with the same "
            "names in labels/ beside images/; python -m geoseg.dataset import lays out other files"
        )
    return listing


def compute_fingerprint(listing: dict[str, SplitFiles], options: MeasurementOptions) -> str:
    """Return a digest of all files' names, sizes and times, of the options and of the rules."""
    text = json.dumps(
        [_RULES_VERSION, MAX_NULL_FRACTION, listing, astuple(options)], default=sorted
    )
    return hashlib.sha256(text.encode()).hexdigest()


def read_patches(
    root: Path,
    listing: dict[str, SplitFiles],
    options: MeasurementOptions,
    progress: bool,
    keep_faulty: bool = False,
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
        if patch := _read_patch(root, file, options, keep_faulty, rejections):
            patches.append(patch)
    kept = list(_select_most_common_size(patches, rejections))
    return kept, sorted(rejections, key=lambda rejection: rejection.name)


def _list_files(root: Path, folder: Path) -> Files:
    try:
        with os.scandir(folder) as entries:
            states = sorted((e.name, _get_state(e)) for e in entries if not is_hidden(e.name))
    except OSError as error:
        raise DatasetError(
            f"{printable_name(str(folder))} cannot be listed ({error.strerror}); it must be a "
            "folder that you may read"
        ) from error
    return Files(folder.relative_to(root).as_posix(), dict(states))


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
    images = _name_patches(files.images, rejections)
    labels = _name_patches(files.labels, rejections) if files.labels else {}
    unlabelled = images.keys() - labels.keys() if files.labels else set()
    reason = f"has no label; add it to {split}/labels"
    rejections += [Rejection(images[name], reason, "without a label") for name in unlabelled]
    reason, kind = f"has no image; add it to {split}/images", "label without an image"
    rejections += [Rejection(labels[n], reason, kind) for n in labels.keys() - images.keys()]
    usable = sorted(images.keys() - (set() if keep_faulty else unlabelled), key=natural_key)
    return [_PatchFile(split, name, images[name], labels.get(name)) for name in usable]


def _name_patches(files: Files, rejections: list[Rejection]) -> dict[str, str]:
    """Return the path of each well-named file, relative to the root, by its name in lower case."""
    paths: dict[str, list[str]] = {}
    for file in files.states:
        path = f"{files.path}/{file}"
        if _NAME.fullmatch(file.lower()):
            paths.setdefault(file.lower(), []).append(path)
        else:
            reason = "is not named well_K_patch_I.npy; rename or remove it"
            rejections.append(Rejection(printable_name(path), reason, "misnamed"))
    reason = "has the name of another file but for upper case; keep the right one only"
    for same in paths.values():
        if len(same) > 1:
            rejections += [Rejection(path, reason, "name more than once") for path in same]
    return {name: same[0] for name, same in paths.items() if len(same) == 1}


def _read_patch(
    root: Path,
    file: _PatchFile,
    options: MeasurementOptions,
    keep_faulty: bool,
    rejections: list[Rejection],
) -> Patch | None:
    """Return the patch unless it is rejected; add what is wrong with it or its label."""
    try:
        name, arrays = read_arrays(root / file.image)
        if len(arrays) > 1:
            raise PatchError(
                f"{name} is a stack of {len(arrays):,} patches; lay it out with python -m "
                "geoseg.dataset import"
            )
        log = interpret(arrays[0], options, name)
    except PatchError as error:
        kind = "null everywhere" if isinstance(error, AllNullError) else "unreadable image"
        rejections.append(Rejection(file.image, _get_reason(error, file.image), kind))
        return None
    nulls = float(np.isnan(log.image).mean())
    if nulls > MAX_NULL_FRACTION and not keep_faulty:
        reason = f"{nulls:.1%} of its pixels are null, more than {MAX_NULL_FRACTION:.0%}"
        rejections.append(Rejection(file.image, reason, "mostly null"))
        return None
    mask = None
    if file.label:
        mask, fault = _read_label(root, file.label, log.image.shape)
        if fault:
            rejections.append(fault)
            if not keep_faulty:
                return None
    well, index = map(int, re.findall(r"\d+", file.name))
    return Patch(file.split, well, index, log, mask)


def _read_label(
    root: Path, path: str, shape: tuple[int, ...]
) -> tuple[Mask | None, Rejection | None]:
    """Return the label, or what is wrong with it."""
    try:
        mask = read_noted_mask(root / path)
    except PatchError as error:
        return None, Rejection(path, _get_reason(error, path), "unusable label")
    if fault := explain_misfit(mask.pixels.shape, shape):
        return None, Rejection(path, fault, "label of another size")
    return mask, None


def _get_reason(error: PatchError, path: str) -> str:
    return str(error).removeprefix(f"{Path(path).name} ").removesuffix(".")


def _select_most_common_size(patches: list[Patch], rejections: list[Rejection]) -> Iterator[Patch]:
    """Yield the patches of the most common size (the first one read, if several are)."""
    sizes = Counter(format_size(patch.log.image.shape) for patch in patches)
    common = max(sizes, key=lambda size: sizes[size], default="")
    for patch in patches:
        size = format_size(patch.log.image.shape)
        if size == common:
            yield patch
        else:
            reason = f"has the size {size}, most patches here {common}"
            rejections.append(Rejection(patch.name, reason, "of another size"))

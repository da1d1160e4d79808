"""The data set's folders: which files belong together, and which are left out and why.

    <root>/{train,validation,test}/images/well_K_patch_I.npy
    <root>/{train,validation,test}/labels/well_K_patch_I.npy    (none where a split is unlabelled)

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

# A patch must be measured for the most part. Of the real data's damaged patches, those with stray
# nulls or some lost rows (below 30%) stay useful, since nulls count in no loss and no score; where
# more than half is gone (well_15_patch_202: 53%) the patch is mostly edges of a hole.
MAX_NULL_FRACTION = 0.5

_RULES = 1  # raise it with any change to what is rejected, so that no older cache is believed
_SMALL = 1000  # fewer files than this are read before anyone could see a progress bar

# One spelling a number, so that two files can never be the same patch.
_NAME = re.compile(r"well_(0|[1-9][0-9]{0,8})_patch_(0|[1-9][0-9]{0,8})\.npy")


def format_count(number: int, noun: str) -> str:
    """A number of things in words: "1 file", "2,000 files", "3 patches"."""
    ending = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending * (number != 1)}"


class DatasetError(ValueError):
    """A folder or a split that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Rejection:
    """One file that was left out.

    Attributes:
        name: relative to the root, such as "train/images/well_1_patch_3.npy".
        reason: what is wrong with it, for the user.
        kind: the rule that it broke, in a few words that are the same for all such files.
    """

    name: str
    reason: str
    kind: str


@dataclass(frozen=True, eq=False)
class Patch:
    """One patch as read: image float32 (Z, A), NaN at nulls; mask uint8 (Z, A) or None."""

    split: str
    well: int
    index: int
    image: NDArray[np.float32]
    mask: NDArray[np.uint8] | None

    @property
    def name(self) -> str:
        """The image's path relative to the root."""
        return f"{self.split}/images/well_{self.well}_patch_{self.index}.npy"


Stamps = dict[str, tuple[int, int, int]]


class Files(NamedTuple):
    """The files of one split: name -> (bytes, when its content and when its rights changed)."""

    images: Stamps
    labels: Stamps | None


@dataclass(frozen=True, order=True)
class _Job:
    split: str
    well: int
    index: int
    name: str
    labelled: bool


def scan(root: Path) -> dict[str, Files]:
    """List the splits that are there; DatasetError where no split holds any file."""
    listing = {}
    for split in SPLITS:
        images = _entries(root / split / "images")
        labels = _entries(root / split / "labels")
        if images is not None or labels is not None:
            listing[split] = Files(images or {}, labels)
    if not any(files.images for files in listing.values()):
        fault = "holds no patches" if root.is_dir() else "is not a folder"
        raise DatasetError(
            f"{printable_name(str(root))} {fault}; expected "
            "<root>/{train,validation,test}/images/well_K_patch_I.npy, and the masks under the "
            "same names in labels/ beside images/"
        )
    return listing


def fingerprint(listing: dict[str, Files]) -> str:
    """A digest that changes with any file's name, size or time, and with the rules of reading."""
    text = json.dumps([_RULES, MAX_NULL_FRACTION, listing])
    return hashlib.sha256(text.encode()).hexdigest()


def read(
    root: Path,
    listing: dict[str, Files],
    progress: bool,
    everything: bool = False,
) -> tuple[list[Patch], list[Rejection]]:
    """Read every patch of the listing, by split, then by well from top to bottom.

    A patch with a larger share of nulls than MAX_NULL_FRACTION is rejected, and so is one whose
    label is missing or unusable; with `everything` they stay, the latter without a mask. A patch of
    nulls only never does.
    """
    rejections: list[Rejection] = []
    jobs = [
        job
        for split, files in listing.items()
        for job in _match(split, files, rejections, everything)
    ]
    patches = []
    for job in _shown(jobs, progress):
        patch, fault = _read_patch(root, job, everything)
        if fault:
            rejections.append(fault)
        if patch:
            patches.append(patch)
    kept = list(_of_one_size(patches, rejections))
    return kept, sorted(rejections, key=lambda rejection: rejection.name)


def _entries(folder: Path) -> Stamps | None:
    try:
        with os.scandir(folder) as found:
            return dict(sorted((entry.name, _stamp(entry)) for entry in found))
    except FileNotFoundError:
        return None
    except OSError as error:
        advice = "it must be a folder"
        if isinstance(error, PermissionError):
            advice = "ask its owner for the right to read it and the folders above it"
        raise DatasetError(
            f"{printable_name(str(folder))} cannot be listed ({error.strerror}); {advice}"
        ) from error


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        status = entry.stat()
    except OSError:  # a link to nowhere; reading it says so
        return (-1, -1, -1)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _match(split: str, files: Files, rejections: list[Rejection], everything: bool) -> list[_Job]:
    """Pair the images of a split with their labels by name."""

    def reject(kind: str, name: str, reason: str, folder: str = "images") -> None:
        rejections.append(Rejection(f"{split}/{folder}/{printable_name(name)}", reason, kind))

    jobs = []
    for name in files.images:
        match = _NAME.fullmatch(name)
        if match is None:
            reject("misnamed", name, "is not named well_K_patch_I.npy; rename or remove it")
            continue
        lacking = files.labels is not None and name not in files.labels
        if lacking:
            reject("without a label", name, f"has no label; add {split}/labels/{name}")
        if everything or not lacking:
            labelled = files.labels is not None and not lacking
            jobs.append(_Job(split, int(match[1]), int(match[2]), name, labelled))
    for name in files.labels or ():
        if _NAME.fullmatch(name) is None:
            fault = "is not named well_K_patch_I.npy; rename or remove it"
            reject("misnamed", name, fault, "labels")
        elif name not in files.images:
            fault = f"has no image; add {split}/images/{name}"
            reject("label without an image", name, fault, "labels")
    return sorted(jobs)


def _shown(jobs: list[_Job], progress: bool) -> Iterable[_Job]:
    """The jobs, with a bar on a terminal and one line elsewhere."""
    if not progress or len(jobs) < _SMALL:
        return jobs
    console = Console(stderr=True)
    if console.is_terminal:
        return track(jobs, "Reading patches", console=console)
    console.print(f"Reading {len(jobs):,} patches")
    return jobs


def _read_patch(root: Path, job: _Job, everything: bool) -> tuple[Patch | None, Rejection | None]:
    """The patch, unless it is left out, and what is wrong with it or its label, if anything."""
    name = f"{job.split}/images/{job.name}"
    try:
        image = read_patch(root / name)
    except AllNullError:
        return None, Rejection(name, "every pixel is null", "null everywhere")
    except PatchError as error:
        return None, Rejection(name, _fault(error, job.name), "unreadable image")
    nulls = float(np.isnan(image).mean())
    if nulls > MAX_NULL_FRACTION and not everything:
        limit = f"{nulls:.1%} of its pixels are null, more than {MAX_NULL_FRACTION:.0%}"
        return None, Rejection(name, limit, "mostly null")
    mask, fault = _read_label(root, job, image.shape) if job.labelled else (None, None)
    if fault and not everything:
        return None, fault
    return Patch(job.split, job.well, job.index, image, mask), fault


def _read_label(
    root: Path, job: _Job, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8] | None, Rejection | None]:
    """The mask, or what is wrong with it."""
    name = f"{job.split}/labels/{job.name}"
    try:
        mask = read_mask(root / name)
    except PatchError as error:
        return None, Rejection(name, _fault(error, job.name), "unusable label")
    if mask.shape != shape:
        fault = f"has the size {_size(mask.shape)}, its image {_size(shape)}"
        return None, Rejection(name, fault, "label of another size")
    return mask, None


def _fault(error: PatchError, name: str) -> str:
    return str(error).removeprefix(f"{name} ").removesuffix(".")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _of_one_size(patches: list[Patch], rejections: list[Rejection]) -> Iterator[Patch]:
    """The patches of the commonest size (the first one read, where two are as common)."""
    sizes = Counter(_size(patch.image.shape) for patch in patches)
    usual = max(sizes, key=lambda size: sizes[size], default="")
    for patch in patches:
        size = _size(patch.image.shape)
        if size == usual:
            yield patch
        else:
            fault = f"has the size {size}, most patches here {usual}"
            rejections.append(Rejection(patch.name, fault, "of another size"))

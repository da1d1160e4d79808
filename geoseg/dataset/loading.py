"""Load a folder of patches into memory, and cache it in one file.

Dimensions: N patches, Z depth, A azimuth.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg.atomic_files import atomic_write
from geoseg.dataset.folder import (
    SPLITS,
    DatasetError,
    Patch,
    Rejection,
    compute_fingerprint,
    find_root,
    format_count,
    read_patches,
    scan_folder,
)
from geoseg.dataset.notes import describe_patches
from geoseg.input_files import NoPatchesError
from geoseg.measurements import DEFAULT, MeasurementOptions

CACHE_NAME = ".geoseg-cache.safetensors"
_COLUMNS = {
    "images": torch.float32,
    "masks": torch.uint8,
    "labelled": torch.bool,
    "wells": torch.int64,
    "indices": torch.int64,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PatchDataset:
    """Patches of one size, ordered by split, well and depth.

    `train` and `validation` share the numbers of wells; `test` has other wells, which the challenge
    numbers from 1 again.

    Attributes:
        images: float32 (N, Z, A), in inches, NaN at nulls.
        masks: uint8 (N, Z, A), 1 in a groove; all 0 where `labelled` is False.
        labelled: bool (N,), False for the patches of a split without labels.
        wells: int64 (N,), K of well_K_patch_I.
        indices: int64 (N,), I of well_K_patch_I: number of the patch from the top of the log.
        splits: N names of folders, such as "train".
        rejections: the files that `load` rejected, sorted by name.
        notes: what `load` assumed, in sentences that begin with a split's name.

    Raises:
        ValueError: a shape or dtype is not as described.
    """

    images: Tensor
    masks: Tensor
    labelled: Tensor
    wells: Tensor
    indices: Tensor
    splits: tuple[str, ...]
    rejections: tuple[Rejection, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if len(shape) != 3 or shape[0] != len(self):
            raise ValueError(f"images are {shape}; expected (N, Z, A) with N = {len(self)} splits")
        for name, dtype in _COLUMNS.items():
            column: Tensor = getattr(self, name)
            found = (column.dtype, tuple(column.shape))
            expected = (dtype, shape if name in ("images", "masks") else shape[:1])
            if found != expected:
                raise ValueError(f"{name} are {found}; expected {expected}")

    def __len__(self) -> int:
        return len(self.splits)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.images.shape[1:]))
        splits = ", ".join(f"{count:,} {name}" for name, count in Counter(self.splits).items())
        return f"PatchDataset({len(self):,} patches of {shape}: {splits or 'none'})"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the images' paths relative to the root."""
        rows = zip(self.splits, self.wells.tolist(), self.indices.tolist(), strict=True)
        return tuple(f"{split}/images/well_{k}_patch_{i}.npy" for split, k, i in rows)

    def in_splits(self, *names: str) -> Tensor:
        """Return which patches belong to these splits, bool (N,)."""
        return torch.tensor([split in names for split in self.splits], dtype=torch.bool)

    def select(self, which: Tensor) -> PatchDataset:
        """Copy the patches at a bool mask (N,) or at positions, without rejections and notes."""
        positions = which.nonzero()[:, 0] if which.dtype == torch.bool else which
        columns = {name: getattr(self, name)[positions] for name in _COLUMNS}
        return PatchDataset(**columns, splits=tuple(self.splits[i] for i in positions.tolist()))

    def rejection_summary(self, verdict: str = "rejected") -> str:
        """Format how many files broke which rule, with three examples of each."""
        kept = format_count(len(self), "patch")
        lines = [f"{kept} kept, {format_count(len(self.rejections), 'file')} {verdict}"]
        for kind, count in Counter(r.kind for r in self.rejections).most_common():
            lines.append(f"  {count:,} {kind}")
            examples = [r for r in self.rejections if r.kind == kind][:3]
            lines += [f"    {r.name}: {r.reason}" for r in examples]
        return "\n".join(lines)

    @classmethod
    def load(
        cls,
        root: str | os.PathLike[str],
        splits: Iterable[str] | None = None,
        *,
        options: MeasurementOptions = DEFAULT,
        labels: bool = True,
        keep_faulty: bool = False,
        cache: bool = True,
        progress: bool = True,
    ) -> PatchDataset:
        """Read `<root>/{train,validation,test}/images/well_K_patch_I.npy` and their labels.

        Upper case does not matter, and the given folder may hold the root as its only folder. A
        split without a folder `labels` is unlabelled. Rejected, with a reason in `rejections`,
        are: a misnamed file; an unreadable image; an image that is null in more than half of its
        pixels, or of another size than most; an image without a label, if its split has a folder
        `labels`; a label without an image; and an image whose label is unreadable, of another size,
        or has other values than 0 and 1.

        Args:
            root: the folder of the splits.
            splits: which splits to return, None for all; all are read and cached.
            options: what the user says of the measurements.
            labels: read the labels; without them every split is unlabelled.
            keep_faulty: keep patches that are mostly null, and, as unlabelled, those whose label is
                missing or unusable; not for training, and not cached.
            cache: cache the data set in `<root>/.geoseg-cache.safetensors`, if that is writable,
                until a file's name, size or time changes.
            progress: show the progress of reading the files, if standard error is a terminal.

        Raises:
            DatasetError: the folder does not have this layout, a split does not exist, or no patch
                is usable.
        """
        try:
            root = find_root(Path(root))
            listing = scan_folder(root)
        except NoPatchesError as error:  # two folders of one name
            raise DatasetError(str(error)) from error
        if not labels:
            listing = {split: files._replace(labels=None) for split, files in listing.items()}
        wanted = tuple(listing) if splits is None else tuple(splits)
        for split in wanted:
            if split not in listing:
                raise DatasetError(f"no split {split!r} in {root}; it has {', '.join(listing)}")
        cache = cache and not keep_faulty
        fingerprint = compute_fingerprint(listing, options)
        dataset = _load_cache(root, fingerprint) if cache else None
        if dataset is None:
            dataset = _assemble(root, *read_patches(root, listing, options, progress, keep_faulty))
            if cache:
                _save_cache(root, fingerprint, dataset)
        if set(wanted) == set(listing):
            return dataset
        rejections = tuple(r for r in dataset.rejections if _get_split(r.name) in wanted)
        notes = tuple(note for note in dataset.notes if _get_split(note) in wanted)
        chosen = dataset.select(dataset.in_splits(*wanted))
        return replace(chosen, rejections=rejections, notes=notes)


def _get_split(path: str) -> str:
    return path.split("/")[0].lower()


def _assemble(root: Path, patches: list[Patch], rejections: list[Rejection]) -> PatchDataset:
    if not patches:
        first = rejections[0]
        raise DatasetError(
            f"no usable patch in {root}: {format_count(len(rejections), 'file')} rejected, the "
            f"first {first.name} ({first.reason})"
        )
    empty = np.zeros(patches[0].log.image.shape, np.uint8)
    masks = [empty if patch.mask is None else patch.mask.pixels for patch in patches]
    return PatchDataset(
        torch.from_numpy(np.stack([patch.log.image for patch in patches])),
        torch.from_numpy(np.stack(masks)),
        torch.tensor([patch.mask is not None for patch in patches]),
        torch.tensor([patch.well for patch in patches]),
        torch.tensor([patch.index for patch in patches]),
        tuple(patch.split for patch in patches),
        tuple(rejections),
        tuple(describe_patches(patches)),
    )


def _load_cache(root: Path, fingerprint: str) -> PatchDataset | None:
    """Return the cached data set, or None if there is none or it is outdated or damaged."""
    try:
        with safe_open(root / CACHE_NAME, "pt") as file:
            metadata = file.metadata()
            if metadata["fingerprint"] != fingerprint:
                return None
            columns = {name: file.get_tensor(name) for name in _COLUMNS}
            splits = tuple(SPLITS[code] for code in file.get_tensor("splits").tolist())
        rejections = tuple(Rejection(**row) for row in json.loads(metadata["rejections"]))
        notes = tuple(json.loads(metadata["notes"]))
        return PatchDataset(**columns, splits=splits, rejections=rejections, notes=notes)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError):
        return None


def _save_cache(root: Path, fingerprint: str, dataset: PatchDataset) -> None:
    codes = [SPLITS.index(split) for split in dataset.splits]
    tensors = {name: getattr(dataset, name) for name in _COLUMNS}
    tensors["splits"] = torch.tensor(codes, dtype=torch.uint8)
    rejections = json.dumps([rejection._asdict() for rejection in dataset.rejections])
    notes = json.dumps(dataset.notes)
    metadata = {"fingerprint": fingerprint, "rejections": rejections, "notes": notes}
    try:
        with atomic_write(root / CACHE_NAME) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        _log.warning("no cache of %s, so the next start reads it again: %s", root, error)

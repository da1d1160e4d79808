"""A folder of patches as one set in memory, read once and cached.

Dimensions: N patches, Z depth, A azimuth.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
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
    fingerprint,
    format_count,
    read,
    scan,
)

CACHE_NAME = ".geoseg-cache.safetensors"
_COLUMNS = ("images", "masks", "labelled", "wells", "indices")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PatchDataset:
    """Patches of one size, by split, then by well, then from top to bottom.

    A number names one well across `train` and `validation`, but another one in `test`, which the
    challenge numbers from 1 again.

    Attributes:
        images: float32 (N, Z, A), raw values in the files' unit, NaN at nulls.
        masks: uint8 (N, Z, A), 1 in a groove; all 0 where `labelled` is False.
        labelled: bool (N,), False for the patches of a split without labels.
        wells: int64 (N,), K of well_K_patch_I.
        indices: int64 (N,), I of well_K_patch_I: which slice of the log, from the top.
        splits: N names of folders, such as "train".
        rejections: the files that `load` left out, sorted by name.

    Raises:
        ValueError: the shapes or dtypes are not these.
    """

    images: Tensor
    masks: Tensor
    labelled: Tensor
    wells: Tensor
    indices: Tensor
    splits: tuple[str, ...]
    rejections: tuple[Rejection, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        plane, count = tuple(self.images.shape), len(self.splits)
        dtypes = (torch.float32, torch.uint8, torch.bool, torch.int64, torch.int64)
        shapes = (plane, plane, (count,), (count,), (count,))
        if len(plane) != 3 or plane[0] != count:
            raise ValueError(f"images are {plane}; expected (N, Z, A) with N = {count} splits")
        for name, dtype, shape in zip(_COLUMNS, dtypes, shapes, strict=True):
            column: Tensor = getattr(self, name)
            if column.dtype != dtype or tuple(column.shape) != shape:
                found = f"{column.dtype} {tuple(column.shape)}"
                raise ValueError(f"{name} are {found}; expected {dtype} {shape}")

    def __len__(self) -> int:
        return len(self.splits)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.images.shape[1:]))
        splits = ", ".join(f"{count:,} {name}" for name, count in Counter(self.splits).items())
        return f"PatchDataset({len(self):,} patches of {shape}: {splits or 'none'})"

    @property
    def names(self) -> tuple[str, ...]:
        """The images' file names relative to the root."""
        rows = zip(self.splits, self.wells.tolist(), self.indices.tolist(), strict=True)
        return tuple(f"{split}/images/well_{k}_patch_{i}.npy" for split, k, i in rows)

    def in_splits(self, *names: str) -> Tensor:
        """Which patches are of these splits, bool (N,)."""
        return torch.tensor([split in names for split in self.splits], dtype=torch.bool)

    def select(self, which: Tensor) -> PatchDataset:
        """Copy the patches at a bool mask (N,) or at integer positions; no rejections."""
        positions = which.nonzero()[:, 0] if which.dtype == torch.bool else which
        columns = {name: getattr(self, name)[positions] for name in _COLUMNS}
        return PatchDataset(**columns, splits=tuple(self.splits[i] for i in positions.tolist()))

    def rejection_summary(self, examples: int = 3, verdict: str = "rejected") -> str:
        """Lines for the user: how many files broke which rule, with the first few of each."""
        kept = format_count(len(self), "patch")
        lines = [f"{kept} kept, {format_count(len(self.rejections), 'file')} {verdict}"]
        for kind, count in Counter(r.kind for r in self.rejections).most_common():
            lines.append(f"  {count:,} {kind}")
            first = [r for r in self.rejections if r.kind == kind][:examples]
            lines += [f"    {r.name}: {r.reason}" for r in first]
            if count > examples:
                lines.append(f"    and {count - examples:,} more")
        return "\n".join(lines)

    @classmethod
    def load(
        cls,
        root: str | os.PathLike[str],
        splits: Iterable[str] | None = None,
        *,
        labels: bool = True,
        everything: bool = False,
        cache: bool = True,
        progress: bool = True,
    ) -> PatchDataset:
        """Read `<root>/{train,validation,test}/images/well_K_patch_I.npy` and their labels.

        Left out, with a name and a reason in `rejections`: a misnamed entry; an unreadable image;
        one that is null everywhere, or in more than half of its pixels (up to that it is kept, NaN
        at its nulls); one of another size than most in the folder; one without a label,
        where its split has a folder `labels`; a label without an image. A label that is unreadable,
        of another size than its image, or holds other values than 0 and 1 takes its image along. A
        split without a folder `labels` is unlabelled.

        Args:
            root: the folder of the splits.
            splits: which to return, None for all; the others are read and cached all the same.
            labels: read the labels; without them every split is unlabelled.
            everything: for looking at, not for training: patches that are mostly null stay, and so
                do those whose label is missing or unusable, as unlabelled ones; not cached.
            cache: keep what was read in `<root>/.geoseg-cache.safetensors` (or, where it cannot be
                written, in the user's cache folder) until a file's name, size or time changes.
            progress: show on standard error how far reading many files has come.

        Raises:
            DatasetError: no folder of this layout, none of a split's name, or no usable patch.
        """
        root = Path(root)
        listing = scan(root)
        if not labels:
            listing = {split: files._replace(labels=None) for split, files in listing.items()}
        wanted = tuple(listing) if splits is None else tuple(splits)
        for split in wanted:
            if split not in listing:
                raise DatasetError(f"no split {split!r} in {root}; it has {', '.join(listing)}")
        cache = cache and not everything
        stamp = fingerprint(listing)
        dataset = _load_cache(root, stamp) if cache else None
        if dataset is None:
            dataset = _assemble(root, *read(root, listing, progress, everything))
            if cache:
                _save_cache(root, stamp, dataset)
        return dataset if set(wanted) == set(listing) else _only(dataset, wanted)


def _only(dataset: PatchDataset, splits: tuple[str, ...]) -> PatchDataset:
    chosen = dataset.select(dataset.in_splits(*splits))
    kept = tuple(r for r in dataset.rejections if r.name.split("/")[0] in splits)
    return replace(chosen, rejections=kept)


def _assemble(root: Path, patches: list[Patch], rejections: list[Rejection]) -> PatchDataset:
    if not patches:
        first = rejections[0]
        raise DatasetError(
            f"no usable patch in {root}: {format_count(len(rejections), 'file')} rejected, the "
            f"first {first.name} ({first.reason})"
        )
    images = np.stack([patch.image for patch in patches])
    masks = np.zeros(images.shape, np.uint8)
    for mask, patch in zip(masks, patches, strict=True):
        if patch.mask is not None:
            mask[:] = patch.mask
    return PatchDataset(
        torch.from_numpy(images),
        torch.from_numpy(masks),
        torch.tensor([patch.mask is not None for patch in patches]),
        torch.tensor([patch.well for patch in patches]),
        torch.tensor([patch.index for patch in patches]),
        tuple(patch.split for patch in patches),
        tuple(rejections),
    )


def _cache_paths(root: Path) -> tuple[Path, Path]:
    """Beside the data, and in the user's own cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    key = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return root / CACHE_NAME, Path(home) / "geoseg" / f"{key}.safetensors"


def _load_cache(root: Path, stamp: str) -> PatchDataset | None:
    """What was read before, or None where it is missing, stale or damaged."""
    for path in _cache_paths(root):
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("fingerprint") != stamp:
                    continue
                columns = {name: file.get_tensor(name) for name in _COLUMNS}
                splits = tuple(SPLITS[code] for code in file.get_tensor("splits").tolist())
            rejections = tuple(Rejection(**row) for row in json.loads(metadata["rejections"]))
            return PatchDataset(**columns, splits=splits, rejections=rejections)
        except (OSError, SafetensorError, LookupError, ValueError, TypeError):
            continue
    return None


def _save_cache(root: Path, stamp: str, dataset: PatchDataset) -> None:
    tensors: dict[str, Tensor] = {name: getattr(dataset, name) for name in _COLUMNS}
    codes = [SPLITS.index(split) for split in dataset.splits]
    tensors["splits"] = torch.tensor(codes, dtype=torch.uint8)
    rejections = json.dumps([asdict(rejection) for rejection in dataset.rejections])
    beside, own = _cache_paths(root)
    for path in (beside, own):
        try:
            with atomic_write(path) as temporary:
                save_file(tensors, temporary, {"fingerprint": stamp, "rejections": rejections})
        except (OSError, SafetensorError):
            continue
        if path == own:
            _log.warning("%s cannot be written; its cache is %s", root, own)
        return
    _log.warning("no cache of %s: neither it nor %s can be written", root, own.parent)

"""Whole logs from the patches that they were cut into.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.dataset.loading import PatchDataset
from geoseg.folder import SPLITS, DatasetError
from geoseg.patches import MAX_ELEMENTS, UNKNOWN
from geoseg.twins import TWIN_LIKENESS, twin_likeness

NOWHERE, BOTH = -1, len(SPLITS)  # what `Log.origin` holds beside the places of a split in SPLITS


@dataclass(frozen=True, eq=False)
class Log:
    """One well, put together.

    Attributes:
        name: such as "well_2", or "test/well_2" for a well of `test`, which has its own numbers.
        image: float32 (Z, A), NaN at nulls and where no patch is; A is twice a patch's for twins.
        mask: uint8 (Z, A), 1 in a groove, 255 where no labelled patch is; None without labels.
        origin: int8 (Z,), the split that each row comes from: its place in SPLITS, NOWHERE, BOTH.
        patches: how many there were.
        twins: whether even and odd patches were interleaved.
        likeness: `twin_likeness` of its supposed twins, NaN where there is none to ask.
        pairs: how many of these there are.
        overlap: rows that a patch shares with the next one below.
        disputed: pixels for which two patches have different values.
    """

    name: str
    image: NDArray[np.float32]
    mask: NDArray[np.uint8] | None
    origin: NDArray[np.int8]
    patches: int
    twins: bool
    likeness: float
    pairs: int
    overlap: int
    disputed: int

    @property
    def missing(self) -> int:
        """Rows where no patch is."""
        return int((self.origin == NOWHERE).sum())


def stitch(
    dataset: PatchDataset, twins: Collection[str] | None = None, overlap: int | None = None
) -> list[Log]:
    """Put every well together, from row 0 of patch 0, by name, those of `test` last.

    Where patches overlap, or one is there twice, the image is the mean of what was measured, and a
    groove is a groove for either.

    Args:
        dataset: patches of any splits; the wells of `train` and `validation` are the same ones.
        twins: names of the wells whose patches 2k and 2k + 1 are the even and odd columns of one
            depth; None looks at the patches.
        overlap: rows that a patch shares with the next one; None looks for rows that are equal.

    Raises:
        DatasetError: no such well, no such overlap, or a log too large for `read_patch`.
    """
    wells = _wells(dataset)
    if unknown := sorted(set(twins or ()) - wells.keys()):
        raise DatasetError(f"there is no well {unknown[0]!r}; the wells are {', '.join(wells)}")
    height = dataset.images.shape[1]
    if overlap is not None and not 0 <= overlap < height:
        raise DatasetError(
            f"an overlap of {overlap} rows; patches of {height} rows can share 0 to {height - 1}"
        )
    return [_stitch(name, dataset.select(chosen), twins, overlap) for name, chosen in wells.items()]


def _wells(dataset: PatchDataset) -> dict[str, torch.Tensor]:
    """The positions of each well's patches, by the well's name, from the top."""
    found: dict[tuple[bool, int], list[int]] = {}
    for i, (split, well) in enumerate(zip(dataset.splits, dataset.wells.tolist(), strict=True)):
        found.setdefault((split == "test", well), []).append(i)
    return {
        f"{'test/' * test}well_{well}": torch.tensor(
            sorted(found[test, well], key=lambda i: int(dataset.indices[i]))
        )
        for test, well in sorted(found)
    }


def _stitch(
    name: str, patches: PatchDataset, twins: Collection[str] | None, overlap: int | None
) -> Log:
    images, indices = patches.images.numpy(), patches.indices.numpy()
    likeness, pairs = _likeness(images, indices)
    is_twins = likeness >= TWIN_LIKENESS if twins is None else name in twins
    sides = 2 if is_twins else 1
    if overlap is None:
        overlap = _overlap(images, indices, sides)
    height, width = images.shape[1:]
    tops = indices // sides * (height - overlap)
    shape = (int(tops.max()) + height, sides * width)
    if shape[0] * shape[1] > MAX_ELEMENTS:
        raise DatasetError(
            f"{name} would be {shape[0]:,} x {shape[1]}, more than {MAX_ELEMENTS:,} pixels: its "
            f"last patch is number {indices.max():,}; rename or remove it"
        )
    image, mask, disputed = _lay(patches, tops, indices % sides, shape)
    return Log(
        *(name, image, mask, _origin(patches, tops, shape[0])),
        patches=len(patches),
        twins=bool(is_twins),
        likeness=likeness,
        pairs=pairs,
        overlap=overlap,
        disputed=disputed,
    )


def _lay(
    patches: PatchDataset, tops: NDArray[np.int64], sides: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None, int]:
    """Image and mask (Z, A) of patches laid at rows `tops` and columns `sides`, and disputes."""
    height, width = patches.images.shape[1:]
    step = shape[1] // width
    total, count = np.zeros(shape), np.zeros(shape, np.uint16)
    mask = np.full(shape, UNKNOWN, np.uint8)
    disputed = 0
    rows = zip(
        *(patches.images.numpy(), patches.masks.numpy(), patches.labelled.tolist(), tops, sides),
        strict=True,
    )
    for patch, label, labelled, top, side in rows:
        place = (slice(top, top + height), slice(side, None, step))
        measured, before = ~np.isnan(patch), count[place] > 0
        both = measured & before
        disputed += int(
            (total[place][both] != patch[both].astype(float) * count[place][both]).sum()
        )
        total[place] += np.where(measured, patch, 0)
        count[place] += measured
        if labelled:
            known = mask[place] != UNKNOWN
            disputed += int((mask[place] != label)[known].sum())
            mask[place] = np.where(known, mask[place] | label, label)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        image = (total / count).astype(np.float32)
    return image, mask if patches.labelled.any() else None, disputed


def _likeness(images: NDArray[np.float32], indices: NDArray[np.int64]) -> tuple[float, int]:
    """`twin_likeness` of the patches 2k and 2k + 1, and how many such pairs there are."""
    place = {index: i for i, index in enumerate(indices.tolist())}
    pairs = [(i, place[k + 1]) for k, i in place.items() if k % 2 == 0 and k + 1 in place]
    if not pairs:
        return float("nan"), 0
    even, odd = np.array(pairs).T
    return twin_likeness(images[even], images[odd]), len(pairs)


def _overlap(images: NDArray[np.float32], indices: NDArray[np.int64], sides: int) -> int:
    """The most rows that every patch has in common with the next one on its side; mostly 0."""
    place = {index: i for i, index in enumerate(indices.tolist())}
    below = [(i, place[k + sides]) for k, i in place.items() if k + sides in place]
    if not below:
        return 0
    upper, lower = (images[list(part)] for part in zip(*below, strict=True))
    height = images.shape[1]
    if not (np.nan_to_num(np.diff(upper, axis=1)) != 0).any():
        return 0  # rows that are all alike are equal without being the same ones
    for rows in range(height - 1, 0, -1):
        a, b = upper[:, height - rows :], lower[:, :rows]
        known = ~np.isnan(a + b)
        if np.array_equal(a[known], b[known]) and known.any() and np.ptp(a[known]) > 0:
            return rows
    return 0


def _origin(patches: PatchDataset, tops: NDArray[np.int64], rows: int) -> NDArray[np.int8]:
    origin = np.full(rows, NOWHERE, np.int8)
    height = patches.images.shape[1]
    for split, top in zip(patches.splits, tops, strict=True):
        here = origin[top : top + height]
        code = SPLITS.index(split)
        here[(here != NOWHERE) & (here != code)] = BOTH
        here[here == NOWHERE] = code
    return origin

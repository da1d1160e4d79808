"""Whole logs from the patches that they were cut into.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.dataset.folder import SPLITS, DatasetError
from geoseg.dataset.loading import PatchDataset
from geoseg.patches import MAX_ELEMENTS, UNKNOWN_LABEL
from geoseg.twins import TWIN_CORRELATION, twin_correlation

NOWHERE, BOTH = -1, len(SPLITS)  # what `Log.origin` holds beside the places of a split in SPLITS


@dataclass(frozen=True, eq=False)
class Well:
    """The patches of one well, and how they lie.

    Attributes:
        name: such as "well_2", or "test/well_2" for a well of `test`, which has its own numbers.
        patches: from the top.
        twins: whether even and odd patches are the columns of one log, interleaved.
        likeness: `twin_correlation` of its supposed twins, NaN where there is nothing to tell by.
        pairs: how many of these there are.
        overlap: rows that a patch shares with the next one below.
    """

    name: str
    patches: PatchDataset
    twins: bool
    likeness: float
    pairs: int
    overlap: int

    @property
    def number(self) -> str:
        """Such as "2"."""
        return self.name.rpartition("_")[2]

    @property
    def sides(self) -> int:
        """How many patches lie side by side at one depth."""
        return 2 if self.twins else 1

    @property
    def tops(self) -> NDArray[np.int64]:
        """The first row of each patch, int64 (N,)."""
        height = self.patches.images.shape[1]
        return self.patches.indices.numpy() // self.sides * (height - self.overlap)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the log: Z, A; A is twice a patch's for twins."""
        height, width = self.patches.images.shape[1:]
        return int(self.tops.max()) + height, self.sides * width

    def check_size(self) -> None:
        """DatasetError where the log would be too large for `read_patch`."""
        rows, columns = self.shape
        if rows * columns > MAX_ELEMENTS:
            raise DatasetError(
                f"{self.name} would be {rows:,} x {columns}, more than {MAX_ELEMENTS:,} pixels: "
                f"its last patch is number {self.patches.indices.max():,}; rename or remove it"
            )


@dataclass(frozen=True, eq=False)
class Log:
    """One well, put together.

    Attributes:
        image: float32 (Z, A), NaN at nulls and where no patch is.
        mask: uint8 (Z, A), 1 in a groove, 255 where no labelled patch is; None without labels.
        origin: int8 (Z,), the split that each row comes from: its place in SPLITS, NOWHERE, BOTH.
        disputed: pixels for which two patches have different values.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8] | None
    origin: NDArray[np.int8]
    disputed: int

    @property
    def missing(self) -> int:
        """Rows where no patch is."""
        return int((self.origin == NOWHERE).sum())


def well_names(dataset: PatchDataset) -> list[str]:
    """For each patch the name of its well; those of `test` are others, whatever their number."""
    rows = zip(dataset.splits, dataset.wells.tolist(), strict=True)
    return [f"{'test/' * (split == 'test')}well_{well}" for split, well in rows]


def find_wells(
    dataset: PatchDataset, twins: Collection[str] | None = None, overlap: int | None = None
) -> list[Well]:
    """How the patches of each well lie, by number, the wells of `test` last.

    Args:
        dataset: patches of any splits; the wells of `train` and `validation` are the same ones.
        twins: names of the wells whose patches 2k and 2k + 1 are the even and odd columns of one
            depth; None looks at the patches.
        overlap: rows that a patch shares with the next one; None looks for rows that are equal.

    Raises:
        DatasetError: no such well, or no such overlap.
    """
    found: dict[tuple[bool, int, str], list[int]] = {}
    for i, name in enumerate(well_names(dataset)):
        key = (dataset.splits[i] == "test", int(dataset.wells[i]), name)
        found.setdefault(key, []).append(i)
    wells = {name: found[test, well, name] for test, well, name in sorted(found)}
    if unknown := sorted(set(twins or ()) - wells.keys()):
        raise DatasetError(f"there is no well {unknown[0]!r}; the wells are {', '.join(wells)}")
    height = dataset.images.shape[1]
    if overlap is not None and not 0 <= overlap < height:
        raise DatasetError(
            f"an overlap of {overlap} rows; patches of {height} rows can share 0 to {height - 1}"
        )
    return [
        _find_well(name, _from_the_top(dataset, rows), twins, overlap)
        for name, rows in wells.items()
    ]


def _from_the_top(dataset: PatchDataset, rows: list[int]) -> PatchDataset:
    chosen = torch.tensor(rows)
    return dataset.select(chosen[dataset.indices[chosen].argsort(stable=True)])


def _find_well(
    name: str, patches: PatchDataset, twins: Collection[str] | None, overlap: int | None
) -> Well:
    images, indices = patches.images.numpy(), patches.indices.numpy()
    likeness, pairs = _likeness(images, indices)
    is_twins = bool(likeness >= TWIN_CORRELATION) if twins is None else name in twins
    if overlap is None:
        overlap = _overlap(images, indices, 2 if is_twins else 1)
    return Well(name, patches, is_twins, likeness, pairs, overlap)


def stitch(well: Well) -> Log:
    """Put one well together, from row 0 of patch 0.

    Where patches overlap, or one is there twice, the image is the mean of what was measured, and a
    groove is a groove for either. DatasetError where the log would be too large for `read_patch`.
    """
    well.check_size()
    sides = well.patches.indices.numpy() % well.sides
    image, mask, disputed = _lay(well.patches, well.tops, sides, well.shape)
    return Log(image, mask, _origin(well.patches, well.tops, well.shape[0]), disputed)


def _lay(
    patches: PatchDataset, tops: NDArray[np.int64], sides: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None, int]:
    """Image and mask (Z, A) of patches laid at rows `tops` and columns `sides`, and disputes."""
    height, width = patches.images.shape[1:]
    step = shape[1] // width
    total, count = np.zeros(shape), np.zeros(shape, np.uint16)
    mask = np.full(shape, UNKNOWN_LABEL, np.uint8)
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
            known = mask[place] != UNKNOWN_LABEL
            disputed += int((mask[place] != label)[known].sum())
            mask[place] = np.where(known, mask[place] | label, label)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        image = (total / count).astype(np.float32)
    return image, mask if patches.labelled.any() else None, disputed


def _likeness(images: NDArray[np.float32], indices: NDArray[np.int64]) -> tuple[float, int]:
    """`twin_correlation` of the patches 2k and 2k + 1, and how many such pairs there are."""
    place = {index: i for i, index in enumerate(indices.tolist())}
    pairs = [(i, place[k + 1]) for k, i in place.items() if k % 2 == 0 and k + 1 in place]
    if not pairs:
        return float("nan"), 0
    even, odd = np.array(pairs).T
    return twin_correlation(images[even], images[odd]), len(pairs)


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

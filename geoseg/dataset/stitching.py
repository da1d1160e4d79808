"""Stitch the patches of a well into the log that they were cut from.

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
from geoseg.masks import UNKNOWN_LABEL
from geoseg.patches import MAX_ELEMENTS
from geoseg.twins import TWIN_CORRELATION, twin_correlation


@dataclass(frozen=True, eq=False)
class Well:
    """The patches of one well, and how they are arranged.

    Attributes:
        name: such as "well_2", or "test/well_2" for a well of `test`, which has its own numbers.
        patches: ordered by depth.
        has_twins: whether patches 2k and 2k + 1 are the even and odd columns of one log.
        correlation: `twin_correlation` of the patches 2k and 2k + 1, NaN if it is undefined.
        pairs: number of pairs of patches 2k and 2k + 1.
        overlap: rows that a patch shares with the next one below.
    """

    name: str
    patches: PatchDataset
    has_twins: bool
    correlation: float
    pairs: int
    overlap: int

    @property
    def twin_count(self) -> int:
        """Return how many patches lie at one depth, 1 or 2."""
        return 2 if self.has_twins else 1

    @property
    def first_rows(self) -> NDArray[np.int64]:
        """Return the first row of each patch, int64 (N,)."""
        height = self.patches.images.shape[1]
        return self.patches.indices.numpy() // self.twin_count * (height - self.overlap)

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns (Z, A) of the log; A is twice a patch's for twins."""
        height, width = self.patches.images.shape[1:]
        return int(self.first_rows.max()) + height, self.twin_count * width


@dataclass(frozen=True, eq=False)
class StitchedLog:
    """The log of one well.

    Attributes:
        image: float32 (Z, A), NaN at nulls and missing patches.
        mask: uint8 (Z, A), 1 in a groove, 255 without a labelled patch; None without labels.
        row_splits: bool (S, Z), whether each of SPLITS has a patch at each row.
        conflicts: number of pixels for which two patches have different values.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8] | None
    row_splits: NDArray[np.bool_]
    conflicts: int


def get_well_names(dataset: PatchDataset) -> list[str]:
    """Return the name of each patch's well; wells of `test` are other ones than of `train`."""
    rows = zip(dataset.splits, dataset.wells.tolist(), strict=True)
    return [f"{'test/' * (split == 'test')}well_{well}" for split, well in rows]


def find_wells(
    dataset: PatchDataset, twins: Collection[str] | None = None, overlap: int | None = None
) -> list[Well]:
    """Find how the patches of each well are arranged; wells by number, those of `test` last.

    Args:
        dataset: patches of any splits; `train` and `validation` share the numbers of wells.
        twins: names of the wells with twins; None detects them by their correlation.
        overlap: rows that a patch shares with the next one; None detects rows that are equal.

    Raises:
        DatasetError: a well does not exist, or the overlap is impossible.
    """
    in_test = [split == "test" for split in dataset.splits]
    keys = list(zip(in_test, dataset.wells.tolist(), dataset.indices.tolist(), strict=True))
    names = get_well_names(dataset)
    wells: dict[str, list[int]] = {}
    for i in sorted(range(len(keys)), key=keys.__getitem__):
        wells.setdefault(names[i], []).append(i)
    if unknown := sorted(set(twins or ()) - wells.keys()):
        raise DatasetError(f"there is no well {unknown[0]!r}; the wells are {', '.join(wells)}")
    height = dataset.images.shape[1]
    if overlap is not None and not 0 <= overlap < height:
        raise DatasetError(
            f"an overlap of {overlap} rows is impossible; patches of {height} rows can share 0 to "
            f"{height - 1}"
        )
    return [
        _find_well(name, dataset.select(torch.tensor(chosen)), twins, overlap)
        for name, chosen in wells.items()
    ]


def _find_well(
    name: str, patches: PatchDataset, twins: Collection[str] | None, overlap: int | None
) -> Well:
    images, indices = patches.images.numpy(), patches.indices.numpy()
    pairs = [pair for pair in _pair_indices(indices, 1) if indices[pair[0]] % 2 == 0]
    even, odd = ([pair[side] for pair in pairs] for side in (0, 1))
    correlation = twin_correlation(images[even], images[odd])  # NaN without a pair
    has_twins = bool(correlation >= TWIN_CORRELATION) if twins is None else name in twins
    if overlap is None:
        overlap = _find_overlap(images, indices, 2 if has_twins else 1)
    return Well(name, patches, has_twins, correlation, len(pairs), overlap)


def stitch(well: Well) -> StitchedLog:
    """Stitch the patches of one well, from row 0 of patch 0.

    Where patches overlap, or one exists twice, the image is the mean of the valid values, and a
    pixel is a groove if either label says so. Raise DatasetError if the log is too large for
    `read_patch`.
    """
    patches, height = well.patches, well.patches.images.shape[1]
    if well.shape[0] * well.shape[1] > MAX_ELEMENTS:
        raise DatasetError(
            f"{well.name} has {well.shape[0]:,} x {well.shape[1]} pixels, more than "
            f"{MAX_ELEMENTS:,}: its last patch has the number {patches.indices.max():,}; rename or "
            "remove it"
        )
    total, count = np.zeros(well.shape), np.zeros(well.shape, np.uint16)
    mask = np.full(well.shape, UNKNOWN_LABEL, np.uint8)
    row_splits = np.zeros((len(SPLITS), well.shape[0]), bool)
    conflicts = 0
    columns = zip(
        *(patches.images.numpy(), patches.masks.numpy(), patches.labelled.tolist()),
        *(patches.splits, well.first_rows, patches.indices.numpy() % well.twin_count),
        strict=True,
    )
    for patch, label, labelled, split, first_row, first_column in columns:
        rows = slice(first_row, first_row + height)
        row_splits[SPLITS.index(split), rows] = True
        place = (rows, slice(first_column, None, well.twin_count))
        valid = ~np.isnan(patch)
        both = valid & (count[place] > 0)
        expected = patch[both].astype(float) * count[place][both]
        conflicts += int((total[place][both] != expected).sum())
        total[place] += np.where(valid, patch, 0)
        count[place] += valid
        if labelled:
            known = mask[place] != UNKNOWN_LABEL
            conflicts += int((mask[place] != label)[known].sum())
            mask[place] = np.where(known, mask[place] | label, label)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, a null
        image = (total / count).astype(np.float32)
    return StitchedLog(image, mask if patches.labelled.any() else None, row_splits, conflicts)


def _pair_indices(indices: NDArray[np.int64], step: int) -> list[tuple[int, int]]:
    """Return the positions of each patch and of the one whose index is `step` higher."""
    position = {index: i for i, index in enumerate(indices.tolist())}
    return [(i, position[k + step]) for k, i in position.items() if k + step in position]


def _find_overlap(images: NDArray[np.float32], indices: NDArray[np.int64], twin_count: int) -> int:
    """Return the largest number of rows that every patch shares with the next one below."""
    pairs = _pair_indices(indices, twin_count)
    if not pairs:
        return 0
    upper, lower = (images[list(part)] for part in zip(*pairs, strict=True))
    height = images.shape[1]
    if not (np.nan_to_num(np.diff(upper, axis=1)) != 0).any():
        return 0  # all rows are equal, so that equal rows do not show an overlap
    for rows in range(height - 1, 0, -1):
        a, b = upper[:, height - rows :], lower[:, :rows]
        valid = ~np.isnan(a + b)
        if np.array_equal(a[valid], b[valid]) and valid.any() and np.ptp(a[valid]) > 0:
            return rows
    return 0

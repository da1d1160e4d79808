"""Find duplicate wells: one pipe under two names, detected by its pixels.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import get_well_names
from geoseg.progress import track_progress
from geoseg.twins import TWIN_CORRELATION

# Patches with a correlation of POSSIBLE may be copies or twins, with CERTAIN they are.
# Real twins reach 0.6 in 64 and 243 of the 223 and 308 pairs of two wells; the lattices of two
# synthetic wells reach 0.70 in a hundred million pairs, but not at a constant offset in depth.
POSSIBLE, CERTAIN = 0.6, 0.8
_BLOCK = 512  # patches compared at a time
_SPIKE_LIMIT = 4  # medians
_MIN_VALID = 150  # differences: with fewer, patches of different synthetic wells reached 0.74


class DuplicateWells(NamedTuple):
    """Two wells, by the names of their logs, with patches that are copies or twins.

    Attributes:
        well: the later one in the data set, of `validation` rather than of `train`.
        other: the earlier one.
        patches: positions of the patches of `well` that are a copy or twin of one of `other`.
        other_patches: positions of those of `other`.
        correlation: the highest, 1 for copies.
        example: positions of a patch of `well` and one of `other` with the highest correlation.
    """

    well: str
    other: str
    patches: set[int]
    other_patches: set[int]
    correlation: float
    example: tuple[int, int]


def find_duplicate_wells(dataset: PatchDataset) -> list[DuplicateWells]:
    """Find all pairs of wells with copies or twins of each other's patches, most patches first.

    Not found are twins with much noise or almost only nulls, copies that are constant, or were
    shifted, flipped or cut at other rows, and neighbours in depth, which share no pixels. The time
    grows with the square of the number of patches (`benchmarks/dataset.json`).
    """
    names = list(dict.fromkeys(get_well_names(dataset)))
    wells = torch.tensor([names.index(name) for name in get_well_names(dataset)])
    first, second, correlation = _find_matches(dataset.images, wells)
    swapped = wells[first] > wells[second]
    later, earlier = torch.where(swapped, first, second), torch.where(swapped, second, first)
    codes = wells[later] * len(names) + wells[earlier]
    found = []
    for code in codes.unique().tolist():
        matches = (codes == code).nonzero()[:, 0]
        best = matches[correlation[matches].argmax()]
        pair = DuplicateWells(
            well=names[code // len(names)],
            other=names[code % len(names)],
            patches=set(later[matches].tolist()),
            other_patches=set(earlier[matches].tolist()),
            correlation=float(correlation[best]),
            example=(int(later[best]), int(earlier[best])),
        )
        if pair.correlation >= CERTAIN or _match_at_all_depths(dataset, pair):
            found.append(pair)
    return sorted(found, key=lambda pair: -len(pair.patches))


def _match_at_all_depths(dataset: PatchDataset, pair: DuplicateWells) -> bool:
    """Return whether two wells, aligned by their best match, correlate at all depths."""
    indices = dataset.indices.tolist()
    well, other = (
        {indices[i]: i for i, name in enumerate(get_well_names(dataset)) if name == wanted}
        for wanted in (pair.well, pair.other)
    )
    offset = indices[pair.example[1]] - indices[pair.example[0]]
    depths = [depth for depth in well if depth + offset in other]
    first = dataset.images[[well[depth] for depth in depths]]
    second = dataset.images[[other[depth + offset] for depth in depths]]
    candidates = ((first, second), (_interpolate(first), second), (first, _interpolate(second)))
    mean = max(
        float((_compute_descriptors(a) * _compute_descriptors(b)).sum(1).mean())
        for a, b in candidates
    )
    return mean >= TWIN_CORRELATION


def _find_matches(images: Tensor, wells: Tensor) -> tuple[Tensor, ...]:
    """Return the positions (M,) of matching patches of different wells, and their correlation.

    Some pairs are found in both orders.
    """
    plain, midway = _compute_descriptors(images), _compute_descriptors(_interpolate(images))
    blocks = []
    for start in track_progress(range(0, len(images), _BLOCK), "Comparing patches"):
        block, rest = slice(start, start + _BLOCK), slice(start, None)
        correlation = plain[block] @ plain[rest].T
        for a, b in ((plain, midway), (midway, plain)):
            torch.maximum(correlation, a[block] @ b[rest].T, out=correlation)
        correlation[wells[block, None] == wells[rest]] = 0
        first, second = (correlation >= POSSIBLE).nonzero(as_tuple=True)
        blocks.append((first + start, second + start, correlation[first, second]))
    return tuple(torch.cat(part) for part in zip(*blocks, strict=True))


def _interpolate(images: Tensor) -> Tensor:
    """Return the mean of each column and the next, where a twin has its columns; (N, Z, A)."""
    return (images + images.roll(-1, 2)) / 2


def _compute_descriptors(images: Tensor) -> Tensor:
    """Return differences from row to row, clipped and of norm 1 (N, (Z - 1) A), unique per depth.

    They are 0 if there are too few valid differences or no variation.
    """
    steps = images.diff(dim=1).flatten(1)
    if not steps.shape[1]:  # a single row
        return steps
    steps[steps.isfinite().sum(1) < _MIN_VALID] = torch.nan
    limit = steps.abs().nanmedian(1, keepdim=True).values * _SPIKE_LIMIT
    steps = torch.minimum(torch.maximum(steps, -limit), limit)
    steps = (steps - steps.nanmean(1, keepdim=True)).nan_to_num()
    return steps / steps.norm(dim=1, keepdim=True).clamp(min=1e-12)

"""Find duplicate wells: one pipe under two names, detected by its pixels.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import get_well_names
from geoseg.twins import TWIN_CORRELATION

# Patches with a correlation of POSSIBLE may be copies or twins, with CERTAIN they are.
# Real twins reach 0.6 in 64 and 243 of the 223 and 308 pairs of two wells; the lattices of two
# synthetic wells reach 0.70 in a hundred million pairs, but not at a constant offset in depth.
POSSIBLE, CERTAIN = 0.6, 0.8
_BLOCK = 512  # patches compared at a time
_SPIKE_LIMIT = 4  # medians
_MIN_VALID = 150  # differences: with fewer, patches of different synthetic wells reached 0.74

Matches = tuple[Tensor, Tensor, Tensor]  # positions of both patches, int64, and correlation


@dataclass
class DuplicateWells:
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
    patches: set[int] = field(default_factory=set)
    other_patches: set[int] = field(default_factory=set)
    correlation: float = 0.0
    example: tuple[int, int] = (0, 0)


def find_duplicate_wells(
    dataset: PatchDataset, console: Console | None = None
) -> list[DuplicateWells]:
    """Find all pairs of wells with copies or twins of each other's patches, most patches first.

    Not found are twins with much noise or almost only nulls, copies that were shifted, flipped or
    cut at other rows, and neighbours in depth, which share no pixels. The time grows with the
    square of the number of patches (`benchmarks/dataset.json`); `console` shows the progress.
    """
    names = list(dict.fromkeys(get_well_names(dataset)))
    number = {name: i for i, name in enumerate(names)}
    wells = torch.tensor([number[name] for name in get_well_names(dataset)])
    found: dict[int, DuplicateWells] = {}
    for first, second, correlation in _find_matches(dataset.images, wells, console):
        swapped = wells[first] > wells[second]
        later, earlier = torch.where(swapped, first, second), torch.where(swapped, second, first)
        pairs = wells[later] * len(names) + wells[earlier]
        for pair in pairs.unique().tolist():
            entry = found.setdefault(
                pair, DuplicateWells(names[pair // len(names)], names[pair % len(names)])
            )
            matches = (pairs == pair).nonzero()[:, 0]
            entry.patches.update(later[matches].tolist())
            entry.other_patches.update(earlier[matches].tolist())
            best = matches[correlation[matches].argmax()]
            if correlation[best] > entry.correlation:
                entry.correlation = float(correlation[best])
                entry.example = int(later[best]), int(earlier[best])
    kept = [
        pair
        for pair in found.values()
        if pair.correlation >= CERTAIN or _match_at_all_depths(dataset, pair)
    ]
    return sorted(kept, key=lambda pair: -len(pair.patches))


def _match_at_all_depths(dataset: PatchDataset, pair: DuplicateWells) -> bool:
    """Return whether two wells, aligned by their best match, correlate at all depths."""
    names, indices = get_well_names(dataset), dataset.indices.tolist()
    well, other = pair.example
    offset = indices[other] - indices[well]
    position = {indices[i]: i for i, name in enumerate(names) if name == pair.other}
    chosen = [
        i for i, name in enumerate(names) if name == pair.well and indices[i] + offset in position
    ]
    first = dataset.images[chosen]
    second = dataset.images[[position[indices[i] + offset] for i in chosen]]
    candidates = ((first, second), (_interpolate(first), second), (first, _interpolate(second)))
    mean = max(
        float((_compute_descriptors(a) * _compute_descriptors(b)).sum(1).mean())
        for a, b in candidates
    )
    return mean >= TWIN_CORRELATION


def _find_matches(images: Tensor, wells: Tensor, console: Console | None) -> Iterator[Matches]:
    """Yield matching patches (N, Z, A) of different `wells` (N,), some pairs in both orders."""
    plain, midway = _compute_descriptors(images), _compute_descriptors(_interpolate(images))
    yield from _find_smooth_copies(images, (plain == 0).all(1).nonzero()[:, 0].tolist(), wells)
    starts: Iterable[int] = range(0, len(images), _BLOCK)
    if console:
        starts = track(list(starts), "Comparing patches", console=console, transient=True)
    for start in starts:
        block, rest = slice(start, start + _BLOCK), slice(start, None)
        correlation = plain[block] @ plain[rest].T
        for a, b in ((plain, midway), (midway, plain)):
            torch.maximum(correlation, a[block] @ b[rest].T, out=correlation)
        correlation[wells[block, None] == wells[rest]] = 0
        first, second = (correlation >= POSSIBLE).nonzero(as_tuple=True)
        yield first + start, second + start, correlation[first, second]


def _find_smooth_copies(images: Tensor, smooth: list[int], wells: Tensor) -> Iterator[Matches]:
    """Yield exact copies among the patches without detail, at the positions `smooth`.

    Each is paired with one patch of each other well, which is enough to report it. Constant patches
    are ignored, since they may occur in any pipe.
    """
    groups: dict[bytes, list[int]] = {}
    for i in smooth:
        if len(images[i][~images[i].isnan()].unique()) > 1:
            groups.setdefault(images[i].numpy().tobytes(), []).append(i)
    for group in groups.values():
        members = torch.tensor(group)
        for one in {int(wells[i]): i for i in group}.values():
            others = members[wells[members] != wells[one]]
            yield others, torch.full_like(others, one), torch.ones(len(others))


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

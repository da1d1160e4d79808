"""Wells that are the same pipe under two names, told by their pixels.

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
from geoseg.dataset.stitching import well_names
from geoseg.twins import TWIN_CORRELATION

# From what on two patches may be copies or twins of each other, and from what on they surely are.
# Real twins reach 0.6 in 64 and 243 of the 223 and 308 pairs of two wells; the lattices of two
# synthetic wells in a hundred million pairs of patches 0.70, but at no steady distance in depth.
ALIKE, SURE = 0.6, 0.8
_BLOCK = 512  # patches compared at a time
_SPIKES = 4  # medians
_FEW = 150  # steps without nulls: in as few patches of different synthetic wells reached 0.74

Hits = tuple[Tensor, Tensor, Tensor]  # positions of two patches each, int64, and their likeness


@dataclass
class DuplicateWells:
    """Two wells, by the names of their logs, that hold patches which are alike.

    Attributes:
        well: the one that comes later in the set: it is of `validation` rather than of `train`.
        other: the earlier one.
        patches: the positions of those of `well` that are copies or twins of one of `other`.
        others: the positions of these.
        likeness: the highest, 1 for copies.
        example: the positions of a patch of `well` and one of `other` that are so alike.
    """

    well: str
    other: str
    patches: set[int] = field(default_factory=set)
    others: set[int] = field(default_factory=set)
    likeness: float = 0.0
    example: tuple[int, int] = (0, 0)


def find_duplicate_wells(
    dataset: PatchDataset, console: Console | None = None
) -> list[DuplicateWells]:
    """Every two wells that hold copies or twins of each other's patches, the most patches first.

    Not found are twins in much noise or with hardly anything but nulls, copies that were rolled,
    flipped or cut at other rows, and neighbours in depth, which share no pixels. It takes time by
    the square of the patches (`benchmarks/dataset.json`); `console` shows how far it has come.
    """
    names = list(dict.fromkeys(well_names(dataset)))
    number = {name: i for i, name in enumerate(names)}
    wells = torch.tensor([number[name] for name in well_names(dataset)])
    found: dict[int, DuplicateWells] = {}
    for first, second, likeness in _hits(dataset.images, wells, console):
        swapped = wells[first] > wells[second]
        later, earlier = torch.where(swapped, first, second), torch.where(swapped, second, first)
        pairs = wells[later] * len(names) + wells[earlier]
        for pair in pairs.unique().tolist():
            entry = found.setdefault(
                pair, DuplicateWells(names[pair // len(names)], names[pair % len(names)])
            )
            here = (pairs == pair).nonzero()[:, 0]
            entry.patches.update(later[here].tolist())
            entry.others.update(earlier[here].tolist())
            best = here[likeness[here].argmax()]
            if likeness[best] > entry.likeness:
                entry.likeness = float(likeness[best])
                entry.example = int(later[best]), int(earlier[best])
    kept = [e for e in found.values() if e.likeness >= SURE or _in_step(dataset, e)]
    return sorted(kept, key=lambda entry: -len(entry.patches))


def _in_step(dataset: PatchDataset, entry: DuplicateWells) -> bool:
    """Whether two wells are alike all along, as they are laid by the patches most alike."""
    names, indices = well_names(dataset), dataset.indices.tolist()
    well, other = entry.example
    shift = indices[other] - indices[well]
    place = {indices[i]: i for i, name in enumerate(names) if name == entry.other}
    mine = [i for i, name in enumerate(names) if name == entry.well and indices[i] + shift in place]
    theirs = [place[indices[i] + shift] for i in mine]
    first, second = dataset.images[mine], dataset.images[theirs]
    sides = ((first, second), (_midway(first), second), (first, _midway(second)))
    mean = max(float((_detail(a) * _detail(b)).sum(1).mean()) for a, b in sides)
    return mean >= TWIN_CORRELATION


def _hits(images: Tensor, wells: Tensor, console: Console | None) -> Iterator[Hits]:
    """Patches (N, Z, A) of different `wells` (N,) that are alike, some of them both ways round."""
    plain, midway = _detail(images), _detail(_midway(images))
    yield from _flat_copies(images, (plain == 0).all(1).nonzero()[:, 0].tolist(), wells)
    starts: Iterable[int] = range(0, len(images), _BLOCK)
    if console:
        starts = track(list(starts), "Comparing patches", console=console, transient=True)
    for start in starts:
        block, rest = slice(start, start + _BLOCK), slice(start, None)
        alike = plain[block] @ plain[rest].T
        for ours, theirs in ((plain, midway), (midway, plain)):
            torch.maximum(alike, ours[block] @ theirs[rest].T, out=alike)
        alike[wells[block, None] == wells[rest]] = 0
        first, second = (alike >= ALIKE).nonzero(as_tuple=True)
        yield first + start, second + start, alike[first, second]


def _flat_copies(images: Tensor, flat: list[int], wells: Tensor) -> Iterator[Hits]:
    """Patches without detail, at the positions `flat`, that are those of another well bit by bit.

    One of each other well is enough to tell that a patch is there too. A patch that is the same
    everywhere tells nothing of its pipe.
    """
    groups: dict[bytes, list[int]] = {}
    for i in flat:
        if len(images[i][~images[i].isnan()].unique()) > 1:
            groups.setdefault(images[i].numpy().tobytes(), []).append(i)
    for group in groups.values():
        members = torch.tensor(group)
        for one in {int(wells[i]): i for i in group}.values():
            others = members[wells[members] != wells[one]]
            yield others, torch.full_like(others, one), torch.ones(len(others))


def _midway(images: Tensor) -> Tensor:
    """Between each column and the next one, where a twin would have its own; (N, Z, A)."""
    return (images + images.roll(-1, 2)) / 2


def _detail(images: Tensor) -> Tensor:
    """Steps from row to row without spikes, (N, (Z - 1) A) of norm 1: what tells depths apart.

    0 where there is nothing to tell by.
    """
    steps = images.diff(dim=1).flatten(1)
    if not steps.shape[1]:  # a single row
        return steps
    steps[steps.isfinite().sum(1) < _FEW] = torch.nan
    most = steps.abs().nanmedian(1, keepdim=True).values * _SPIKES
    steps = torch.minimum(torch.maximum(steps, -most), most)
    steps = (steps - steps.nanmean(1, keepdim=True)).nan_to_num()
    return steps / steps.norm(dim=1, keepdim=True).clamp(min=1e-12)

"""What a folder of patches holds, and what a training on it should know.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitch import Log
from geoseg.folder import SPLITS

# Losing a patch to nulls is in the nature of the data; any other rejection is somebody's mistake.
NULL_KINDS = frozenset({"mostly null", "null everywhere"})

# From what on two patches are taken for copies or twins of each other, whatever their names say.
# Among 14 million pairs of patches of different synthetic wells the highest was 0.53.
ALIKE = 0.7
_BLOCK = 512  # patches compared at a time
_SPIKES = 4  # medians
_FEW = 150  # steps without nulls: in as few patches of different synthetic wells reached 0.74


class Lookalike(NamedTuple):
    """Two patches that show the same pipe, by name, and how alike they are (1 for copies)."""

    name: str
    other: str
    likeness: float


def find_problems(dataset: PatchDataset, logs: Sequence[Log]) -> list[str]:
    """Everything about the folder that a training should know of, a sentence each; none if sound.

    `logs` are its wells as `stitch` gives them.
    """
    return [
        *_rejected(dataset),
        *_unusable(dataset),
        *_straddling(dataset, logs),
        *_described(find_lookalikes(dataset, "validation", ("train",)), "validation", "train"),
        *_described(
            find_lookalikes(dataset, "test", ("train", "validation")), "test", "train, validation"
        ),
    ]


def _rejected(dataset: PatchDataset) -> list[str]:
    kinds = Counter(r.kind for r in dataset.rejections if r.kind not in NULL_KINDS)
    return [f"{count:,} files are left out: {kind}" for kind, count in kinds.most_common()]


def _unusable(dataset: PatchDataset) -> list[str]:
    problems = []
    for split in ("train", "validation"):
        labelled = dataset.labelled & dataset.in_splits(split)
        if not labelled.any():
            problems.append(
                f"{split}/ has no labelled patch: a training needs --leave-out, --fold or --folds"
            )
        elif not dataset.masks[labelled].any():
            problems.append(f"{split}/ has no groove in any label")
    return problems


def _straddling(dataset: PatchDataset, logs: Sequence[Log]) -> list[str]:
    """What of each well the names say that is on both sides of the folder's split."""
    twins = {log.name: log.twins for log in logs}
    sides = [
        {
            (well, index)
            for split, well, index in zip(
                dataset.splits, dataset.wells.tolist(), dataset.indices.tolist(), strict=True
            )
            if split == side
        }
        for side in ("train", "validation")
    ]
    train, validation = sides
    both = sorted({well for well, _ in train} & {well for well, _ in validation})
    if not both:
        return []
    inside = [(well, index) for well, index in validation if well in both]
    same = sum(patch in train for patch in inside)
    twin = sum(twins[f"well_{well}"] and (well, index ^ 1) in train for well, index in inside)
    near = sum(_has_neighbour(train, well, index, twins[f"well_{well}"]) for well, index in inside)
    return [
        f"train/ and validation/ both hold patches of {both}, so no score is honest: of "
        f"{len(validation):,} validation patches {same:,} are in train/ too, {twin:,} have their "
        f"twin there and {near:,} a neighbour in depth; leave whole wells out"
    ]


def _has_neighbour(train: set[tuple[int, int]], well: int, index: int, twins: bool) -> bool:
    if not twins:
        return (well, index - 1) in train or (well, index + 1) in train
    first = index - index % 2  # of the two patches at this depth
    return any((well, first + step) in train for step in (-2, -1, 2, 3))


def find_lookalikes(dataset: PatchDataset, split: str, among: Sequence[str]) -> list[Lookalike]:
    """Patches of a split that are copies or twins of one of the splits `among`, by their pixels.

    Each with the most alike. Only between wells that are others by their names: this finds what
    renaming hides. Twins in much noise or hardly anything but nulls are missed, and so are
    neighbours in depth, which share no pixels.
    """
    rows, others = (dataset.in_splits(*names).nonzero()[:, 0] for names in ((split,), among))
    if not len(rows) or not len(others):
        return []
    images, known = dataset.images[rows], dataset.images[others]
    partner = _copies(images, known)
    tests = split == "test"  # whose wells are others, whatever their number
    if not tests:
        partner[dataset.wells[rows] == dataset.wells[others[partner]]] = -1
    best = (partner >= 0).float()
    plain, midway = _detail(images), _detail(_midway(images))
    for ours, theirs in (
        (plain, known),
        (plain, _midway(known)),
        (midway, known),
    ):
        their_detail = _detail(theirs)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            alike = ours[block] @ their_detail.T
            if not tests:
                same = dataset.wells[rows[block], None] == dataset.wells[others]
                alike = alike.masked_fill(same, 0)
            likeness, which = alike.max(1)
            better = likeness > best[block]
            best[block][better] = likeness[better]
            partner[block][better] = which[better]
    names = dataset.names
    return [
        Lookalike(names[int(rows[i])], names[int(others[partner[i]])], float(best[i]))
        for i in (best >= ALIKE).nonzero()[:, 0].tolist()
    ]


def _copies(images: Tensor, known: Tensor) -> Tensor:
    """Where among the `known` (M, Z, A) each image (N, Z, A) is bit by bit, else -1; int64 (N,)."""
    places = {image.numpy().tobytes(): i for i, image in enumerate(known)}
    return torch.tensor([places.get(image.numpy().tobytes(), -1) for image in images])


def _midway(images: Tensor) -> Tensor:
    """Between each column and the next one, where a twin would have its own; (N, Z, A)."""
    return (images + images.roll(-1, 2)) / 2


def _detail(images: Tensor) -> Tensor:
    """Steps from row to row without spikes, (N, (Z - 1) A) of norm 1: what tells depths apart."""
    steps = images.diff(dim=1).flatten(1)
    steps[steps.isfinite().sum(1) < _FEW] = torch.nan
    most = steps.abs().nanmedian(1, keepdim=True).values * _SPIKES
    steps = torch.minimum(torch.maximum(steps, -most), most)
    steps = (steps - steps.nanmean(1, keepdim=True)).nan_to_num()
    return steps / steps.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _described(found: Sequence[Lookalike], split: str, others: str) -> list[str]:
    if not found:
        return []
    first = max(found, key=lambda pair: pair.likeness)
    return [
        f"{len(found):,} patches of {split}/ look like copies or twins of patches of {others}, "
        f"such as {first.name} of {first.other} (likeness {first.likeness:.2f})"
    ]


def summary(dataset: PatchDataset, logs: Sequence[Log]) -> Table:
    """A row for every well of every split, and one for the split."""
    table = Table(box=None)
    table.add_column("split")
    table.add_column("well", justify="right")
    for heading in ("patches", "missing", "columns", "null", "with groove", "groove"):
        table.add_column(heading, justify="right")
    by_name = {log.name: log for log in logs}
    for split in (name for name in SPLITS if name in dataset.splits):
        patches = dataset.select(dataset.in_splits(split))
        wells = sorted(set(patches.wells.tolist()))
        for well in wells:
            log = by_name[f"{'test/' * (split == 'test')}well_{well}"]
            mine = patches.select(patches.wells == well)
            table.add_row(split, str(well), *_cells(mine, _gaps(mine), _columns(log)))
        cells = _cells(patches, sum(_gaps(patches.select(patches.wells == w)) for w in wells), "")
        table.add_row(split, "all", *cells, style="bold", end_section=True)
    return table


def _cells(patches: PatchDataset, gaps: int, columns: str) -> list[str]:
    null = f"{patches.images.isnan().float().mean():.1%}"
    masks = patches.masks[patches.labelled]
    if not len(masks):
        return [f"{len(patches):,}", f"{gaps:,}", columns, null, "-", "-"]
    share = masks.flatten(1).any(1).float().mean()
    pixels = masks.float().mean()
    return [f"{len(patches):,}", f"{gaps:,}", columns, null, f"{share:.0%}", f"{pixels:.1%}"]


def _gaps(patches: PatchDataset) -> int:
    """Patches that are missing between the first and the last one."""
    indices = set(patches.indices.tolist())
    return max(indices) - min(indices) + 1 - len(indices)


def _columns(log: Log) -> str:
    return f"{log.image.shape[1]}{' in twins' * log.twins}"

"""Ways to split a set into training and validation; only whole wells give an honest score."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from geoseg.dataset.folder import DatasetError
from geoseg.dataset.loading import PatchDataset

Split = tuple[PatchDataset, PatchDataset]  # training, validation


def by_folder(dataset: PatchDataset, *, allow_leakage: bool = False) -> Split:
    """Split as the folders do: labelled patches of `train`, and those of `validation`.

    DatasetError where a side has none, or where a well is on both and leakage is not allowed.
    """
    sides = []
    for name in ("train", "validation"):
        chosen = dataset.labelled & dataset.in_splits(name)
        if not chosen.any():
            raise DatasetError(
                f"no labelled patch in {name}/; leave wells out instead: {_wells(dataset)}"
            )
        sides.append(dataset.select(chosen))
    both = set(sides[0].wells.tolist()) & set(sides[1].wells.tolist())
    if both and not allow_leakage:
        raise DatasetError(
            f"the folders leak: train/ and validation/ both hold patches of {sorted(both)}; leave "
            f"whole wells out instead, or allow the leakage; the wells are {_wells(dataset)}"
        )
    return sides[0], sides[1]


def leave_wells_out(dataset: PatchDataset, wells: Iterable[int]) -> Split:
    """Validate on the given wells and train on the others; labelled patches only, never `test`."""
    chosen = sorted(set(wells))
    known = _wells(dataset)
    if unknown := [well for well in chosen if well not in known]:
        raise DatasetError(f"no labelled patch of well {unknown[0]}; the wells are {known}")
    if not 0 < len(chosen) < len(known):
        raise DatasetError(f"leaving out {chosen} of the wells {known} leaves one side empty")
    usable = _usable(dataset)
    held_out = torch.isin(dataset.wells, torch.tensor(chosen))
    return dataset.select(usable & ~held_out), dataset.select(usable & held_out)


def well_folds(dataset: PatchDataset, k: int, seed: int = 0) -> list[Split]:
    """Cut the labelled wells into k folds of about as many patches; each is left out once.

    Every well goes, the largest first, to the fold with the fewest patches; the seed orders wells
    of the same size.
    """
    wells = _wells(dataset)
    if not 2 <= k <= len(wells):
        raise DatasetError(f"cannot cut the {len(wells)} wells {wells} into {k} folds of wells")
    counts = Counter(dataset.wells[_usable(dataset)].tolist())
    order = torch.randperm(len(wells), generator=torch.Generator().manual_seed(seed)).tolist()
    folds: list[list[int]] = [[] for _ in range(k)]
    for well in sorted((wells[i] for i in order), key=lambda well: -counts[well]):
        min(folds, key=lambda fold: sum(counts[w] for w in fold)).append(well)
    return [leave_wells_out(dataset, fold) for fold in folds]


def random_split(
    dataset: PatchDataset, fraction: float, seed: int = 0, *, allow_leakage: bool = False
) -> Split:
    """Validate on a random fraction of the labelled patches: a score to compare, not to believe.

    Raises:
        DatasetError: `allow_leakage` is False, or a side would be empty.
    """
    leak = (
        "a random split leaks: of its validation patches in the SLB data, 31% have their twin and "
        "96% a neighbour in depth in the training set"
    )
    if not allow_leakage:
        raise DatasetError(f"{leak}; leave whole wells out, or allow the leakage")
    positions = _usable(dataset).nonzero()[:, 0]
    count = round(len(positions) * fraction) if 0 < fraction < 1 else 0
    if not 0 < count < len(positions):
        raise DatasetError(f"{fraction} of {len(positions)} patches would be none or all of them")
    warnings.warn(f"{leak}; do not trust its score", UserWarning, stacklevel=2)
    generator = torch.Generator().manual_seed(seed)
    shuffled = positions[torch.randperm(len(positions), generator=generator)]
    validation, train = shuffled[:count].sort().values, shuffled[count:].sort().values
    return dataset.select(train), dataset.select(validation)


def _usable(dataset: PatchDataset) -> Tensor:
    """Which patches may enter a split by wells or by chance: `test` numbers other wells anew."""
    return dataset.labelled & dataset.in_splits("train", "validation")


def _wells(dataset: PatchDataset) -> list[int]:
    return sorted(set(dataset.wells[_usable(dataset)].tolist()))

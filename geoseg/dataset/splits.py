"""Split a data set into training and validation; use whole wells for an unbiased score."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from geoseg.dataset.folder import DatasetError
from geoseg.dataset.loading import PatchDataset

Split = tuple[PatchDataset, PatchDataset]  # training, validation


def split_by_folder(dataset: PatchDataset, *, allow_leakage: bool = False) -> Split:
    """Return the labelled patches of `train`, and those of `validation`.

    Raise DatasetError if one of them has none, or if both hold patches of one well and
    `allow_leakage` is False.
    """
    sides = []
    for name in ("train", "validation"):
        chosen = dataset.labelled & dataset.in_splits(name)
        if not chosen.any():
            raise DatasetError(
                f"no labelled patch in {name}/; leave wells out instead: {_list_wells(dataset)}"
            )
        sides.append(dataset.select(chosen))
    both = set(sides[0].wells.tolist()) & set(sides[1].wells.tolist())
    if both and not allow_leakage:
        raise DatasetError(
            f"the folders leak: train/ and validation/ both hold patches of {sorted(both)}; leave "
            f"whole wells out instead, or allow the leakage; the wells are {_list_wells(dataset)}"
        )
    return sides[0], sides[1]


def leave_wells_out(dataset: PatchDataset, wells: Iterable[int]) -> Split:
    """Validate on the given wells and train on the others; labelled patches without `test`."""
    chosen = sorted(set(wells))
    labelled = _list_wells(dataset)
    if unknown := [well for well in chosen if well not in labelled]:
        raise DatasetError(f"no labelled patch of well {unknown[0]}; the wells are {labelled}")
    if not 0 < len(chosen) < len(labelled):
        raise DatasetError(f"leaving out {chosen} of the wells {labelled} leaves one side empty")
    usable = _find_usable(dataset)
    held_out = torch.isin(dataset.wells, torch.tensor(chosen))
    return dataset.select(usable & ~held_out), dataset.select(usable & held_out)


def split_into_folds(dataset: PatchDataset, k: int, seed: int = 0) -> list[Split]:
    """Split the labelled wells into k folds of similar size, and leave each fold out once.

    Wells are assigned, the largest first, to the fold with the fewest patches; the seed orders
    wells of the same size.
    """
    wells = _list_wells(dataset)
    if not 2 <= k <= len(wells):
        raise DatasetError(f"cannot split the {len(wells)} wells {wells} into {k} folds of wells")
    counts = Counter(dataset.wells[_find_usable(dataset)].tolist())
    order = torch.randperm(len(wells), generator=torch.Generator().manual_seed(seed)).tolist()
    folds: list[list[int]] = [[] for _ in range(k)]
    for well in sorted((wells[i] for i in order), key=lambda well: -counts[well]):
        min(folds, key=lambda fold: sum(counts[w] for w in fold)).append(well)
    return [leave_wells_out(dataset, fold) for fold in folds]


def random_split(
    dataset: PatchDataset, fraction: float, seed: int = 0, *, allow_leakage: bool = False
) -> Split:
    """Validate on a random fraction of the labelled patches, which overestimates the score.

    Raises:
        DatasetError: `allow_leakage` is False, or a side would be empty.
    """
    leak = (
        "a random split leaks: of its validation patches in the SLB data, 31% have their twin and "
        "96% a neighbour in depth in the training set"
    )
    if not allow_leakage:
        raise DatasetError(f"{leak}; leave whole wells out, or allow the leakage")
    positions = _find_usable(dataset).nonzero()[:, 0]
    count = round(len(positions) * fraction) if 0 < fraction < 1 else 0
    if not 0 < count < len(positions):
        raise DatasetError(f"{fraction} of {len(positions)} patches is none or all of them")
    warnings.warn(f"{leak}; do not trust its score", UserWarning, stacklevel=2)
    generator = torch.Generator().manual_seed(seed)
    shuffled = positions[torch.randperm(len(positions), generator=generator)]
    validation, train = shuffled[:count].sort().values, shuffled[count:].sort().values
    return dataset.select(train), dataset.select(validation)


def _find_usable(dataset: PatchDataset) -> Tensor:
    """Return the labelled patches without `test`, whose numbers mean other wells, bool (N,)."""
    return dataset.labelled & dataset.in_splits("train", "validation")


def _list_wells(dataset: PatchDataset) -> list[int]:
    return sorted(set(dataset.wells[_find_usable(dataset)].tolist()))

"""The training and validation sets of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from geoseg.dataset import (
    PatchDataset,
    leave_wells_out,
    random_split,
    split_by_folder,
    split_into_folds,
)
from geoseg.synthetic import make_fresh_dataset, make_synthetic_dataset
from geoseg.synthetic.toy_labels import Mode, add_toy_labels

DEFAULT_FOLDER = Path("data")
FRESH_PATCHES = 8192
VALIDATION_PATCHES, VALIDATION_WELLS, VALIDATION_SEED = 2048, 32, 2_000_003


@dataclass(frozen=True)
class DataOptions:
    """Which data to train on and how to split it; at most one split is not None.

    Attributes:
        folder: a data set in the SLB layout; None takes data/, or synthetic pipes if it is missing.
        fresh: patches per epoch of fresh synthetic pipes; None trains on `folder`.
        label_faults: the share of the grooves' labels in fresh pipes to corrupt.
        seed: of the fresh pipes.
        leave_out: the validation wells.
        fold: index, from 1, and number of folds.
        folds: the number of folds of a cross-validation.
        random_split: the share of patches to validate on; it leaks between the sets.
        allow_leakage: accept a split with patches of one well on both sides.
    """

    folder: Path | None = None
    fresh: int | None = None
    label_faults: float = 0.0
    seed: int = 0
    leave_out: tuple[int, ...] | None = None
    fold: tuple[int, int] | None = None
    folds: int | None = None
    random_split: float | None = None
    allow_leakage: bool = False


class TrainingData(NamedTuple):
    """A training set, a validation set, and their description.

    `suffix` distinguishes the run folders of several folds; `make_train_set`, if any, returns the
    training set of an epoch, from 2 on.
    """

    train: PatchDataset
    validation: PatchDataset
    description: str
    suffix: str = ""
    make_train_set: Callable[[int], PatchDataset] | None = None


def with_toy_labels(data: TrainingData, mode: Mode) -> TrainingData:
    """Return the same patches with toy labels, which are the same in every run."""
    make_train_set = data.make_train_set
    return data._replace(
        train=add_toy_labels(data.train, mode, seed=0),
        validation=add_toy_labels(data.validation, mode, seed=1),
        description=f"{data.description}, with {mode} toys for labels",
        make_train_set=make_train_set
        and (lambda epoch: add_toy_labels(make_train_set(epoch), mode, seed=2 * epoch)),
    )


def load_data(
    options: DataOptions, console: Console, device: torch.device | str = "cpu"
) -> list[TrainingData]:
    """Load the data, one item for each fold; raise ValueError if `options` contradict each other.

    Fresh pipes are made on `device`. A GPU makes them faster than it trains on them, but different
    ones than a CPU, and their last bits can vary because its cumulative sums do.
    """
    if options.fresh is not None:
        return [_load_fresh_pipes(options, options.fresh, device)]
    if options.label_faults:
        raise ValueError("--label-faults corrupts the labels of --fresh pipes only; add --fresh")
    folder = options.folder or DEFAULT_FOLDER
    if options.folder is None and not folder.is_dir():
        console.print("No folder data/: training on synthetic pipes (python -m geoseg.synthetic).")
        dataset = make_synthetic_dataset()
        origin = "synthetic pipes, 15 wells, seed 0"
    else:
        dataset = PatchDataset.load(folder)
        origin = f"{len(dataset):,} patches of {folder.resolve().name}"
        if dataset.rejections:
            console.print(dataset.rejection_summary(), highlight=False)
    if options.folds is None:
        return [_make_data(*_split(dataset, options), origin)]
    count = options.folds
    return [
        _make_data(*sides, f"fold {i}/{count}", origin)._replace(suffix=f"-fold-{i}-of-{count}")
        for i, sides in enumerate(split_into_folds(dataset, count), 1)
    ]


def _load_fresh_pipes(
    options: DataOptions, patches: int, device: torch.device | str
) -> TrainingData:
    """Return new synthetic pipes for every epoch, validated on other synthetic wells."""
    splits = (options.leave_out, options.fold, options.folds, options.random_split)
    if any(option is not None for option in (options.folder, *splits)):
        raise ValueError("--fresh makes its own data: omit --data and the options that split it")
    if patches < 16:
        raise ValueError(f"--fresh is {patches}; give at least 16 patches per epoch")

    def make_train_set(epoch: int) -> PatchDataset:
        return make_fresh_dataset(
            patches,
            wells=patches // 16,
            seed=options.seed,
            generation=epoch,
            label_faults=options.label_faults,
            device=device,
        )

    # No epoch is number 0, and the evaluation set has another seed.
    validation = make_fresh_dataset(
        VALIDATION_PATCHES, wells=VALIDATION_WELLS, seed=VALIDATION_SEED
    )
    label_faults = options.label_faults
    spoilt = f" ({label_faults:.0%} of the grooves spoilt)" if label_faults else ""
    # Saved states hold this text: with other words they could not be resumed.
    description = (
        f"synthetic pipes, {patches:,} new patches every epoch{spoilt}; "
        f"{VALIDATION_PATCHES:,} to validate, of {VALIDATION_WELLS} other synthetic wells"
    )
    return TrainingData(make_train_set(1), validation, description, make_train_set=make_train_set)


def _make_data(
    train: PatchDataset, validation: PatchDataset, split: str, origin: str
) -> TrainingData:
    if not len(train) or not len(validation):
        raise ValueError(
            f"the split gives {len(train)} training and {len(validation)} validation patches; "
            "both sets need at least one"
        )
    wells = ", ".join(map(str, sorted(set(validation.wells.tolist()))))
    description = (
        f"{origin}; {len(train):,} to train, {len(validation):,} to validate ({split}, "
        f"validation wells {wells})"
    )
    return TrainingData(train, validation, description)


def _split(dataset: PatchDataset, options: DataOptions) -> tuple[PatchDataset, PatchDataset, str]:
    """Split into a training and a validation set; the third item describes the split."""
    if options.leave_out is not None:
        return *leave_wells_out(dataset, options.leave_out), "wells left out"
    if options.fold is not None:
        index, count = options.fold
        return *split_into_folds(dataset, count)[index - 1], f"fold {index}/{count}"
    leakage = {"allow_leakage": options.allow_leakage}
    if options.random_split is not None:
        sides = random_split(dataset, options.random_split, **leakage)
        return *sides, "RANDOM split, which leaks"
    return *split_by_folder(dataset, **leakage), "the folder's own split"

"""The training and validation sets of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from geoseg.dataset.challenge import replace_labels
from geoseg.synthetic import make_fresh_dataset, make_synthetic_dataset
from geoseg.synthetic.toy_labels import Mode, add_toy_labels
from train.options import TrainOptions

VALIDATION_PATCHES, VALIDATION_WELLS, VALIDATION_SEED = 2048, 32, 2_000_003


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
    options: TrainOptions, console: Console, device: torch.device | str = "cpu"
) -> list[TrainingData]:
    """Load the data, one item for each fold; raise ValueError if `options` contradict each other.

    Fresh pipes are made on `device`. A GPU makes them faster than it trains on them, but different
    ones than a CPU, and their last bits can vary because its cumulative sums do.
    """
    if options.fresh:
        return [_make_fresh_pipes(options, options.fresh, device)]
    if options.label_faults:
        raise ValueError("--label-faults corrupts the labels of --fresh pipes only; add --fresh")
    folder = options.data or Path("data")
    if options.data is None and not folder.is_dir():
        if options.labels:
            raise ValueError("--labels needs a folder of images; add --data")
        console.print("No folder data/: training on synthetic pipes (python -m geoseg.synthetic).")
        dataset = make_synthetic_dataset()
        origin = "synthetic pipes, 15 wells, seed 0"
    else:
        dataset = _load_folder(folder, options)
        origin = f"{len(dataset):,} patches of {folder.resolve().name}"
        if options.labels:
            origin += f", labels of {options.labels.name}"
        if dataset.rejections:
            console.print(dataset.rejection_summary(), highlight=False)
        for note in dataset.notes:
            console.print(note, highlight=False, markup=False)
    if options.folds is None:
        return [_describe_data(*_split(dataset, options), origin)]
    count = options.folds
    return [
        _describe_data(*sides, f"fold {i}/{count}", origin, f"-fold-{i}-of-{count}")
        for i, sides in enumerate(split_into_folds(dataset, count), 1)
    ]


def _load_folder(folder: Path, options: TrainOptions) -> PatchDataset:
    """Load a folder, with the labels of a csv if one is given; it has no rows for `test`."""
    dataset = PatchDataset.load(folder, options=options.measurements, labels=options.labels is None)
    if not options.labels:
        return dataset
    chosen = dataset.select(dataset.in_splits("train", "validation"))
    chosen = replace(chosen, rejections=dataset.rejections, notes=dataset.notes)
    return replace_labels(chosen, options.labels)


def _make_fresh_pipes(
    options: TrainOptions, patches: int, device: torch.device | str
) -> TrainingData:
    """Return new synthetic pipes for every epoch, validated on other synthetic wells."""
    if options.data or options.labels:
        raise ValueError("--fresh makes its own data: omit --data and --labels")
    faults = options.label_faults

    def make_train_set(epoch: int) -> PatchDataset:
        return make_fresh_dataset(
            patches,
            wells=patches // 16,
            seed=options.seed,
            generation=epoch,
            label_faults=faults,
            device=device,
        )

    # No epoch is number 0, and the evaluation set has another seed.
    validation = make_fresh_dataset(
        VALIDATION_PATCHES, wells=VALIDATION_WELLS, seed=VALIDATION_SEED
    )
    # Saved states hold this text: with other words they could not be resumed.
    description = (
        f"synthetic pipes, {patches:,} new patches every epoch"
        f"{f' ({faults:.0%} of the grooves spoilt)' if faults else ''}; "
        f"{VALIDATION_PATCHES:,} to validate, of {VALIDATION_WELLS} other synthetic wells"
    )
    return TrainingData(make_train_set(1), validation, description, make_train_set=make_train_set)


def _split(dataset: PatchDataset, options: TrainOptions) -> tuple[PatchDataset, PatchDataset, str]:
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


def _describe_data(
    train: PatchDataset, validation: PatchDataset, split: str, origin: str, suffix: str = ""
) -> TrainingData:
    if not len(train) or not len(validation):
        raise ValueError(
            f"the split gives {len(train)} training and {len(validation)} validation patches; "
            "both sets need at least one"
        )
    wells = ", ".join(map(str, validation.wells.unique().tolist()))
    description = (
        f"{origin}; {len(train):,} to train, {len(validation):,} to validate ({split}, "
        f"validation wells {wells})"
    )
    return TrainingData(train, validation, description, suffix)

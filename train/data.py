"""Which patches a run trains on, and which it is judged by."""

from __future__ import annotations

import argparse
from collections.abc import Callable
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


class Data(NamedTuple):
    """A training set, a validation set, and what they are in words.

    `suffix` tells the folders of runs on several folds apart; `renew`, if any, gives the training
    set of each epoch from 2 on.
    """

    train: PatchDataset
    validation: PatchDataset
    description: str
    suffix: str = ""
    renew: Callable[[int], PatchDataset] | None = None


def with_toy_labels(data: Data, mode: Mode) -> Data:
    """The same patches with toys for labels, the same ones for every run."""
    renew = data.renew
    return data._replace(
        train=add_toy_labels(data.train, mode, seed=0),
        validation=add_toy_labels(data.validation, mode, seed=1),
        description=f"{data.description}, with {mode} toys for labels",
        renew=renew and (lambda epoch: add_toy_labels(renew(epoch), mode, seed=2 * epoch)),
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data and the ways of splitting it."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set in the SLB layout (default: data/, or synthetic pipes where it is missing)",
    )
    parser.add_argument(
        "--fresh",
        type=int,
        nargs="?",
        const=FRESH_PATCHES,
        metavar="N",
        help=f"train on synthetic pipes, N new patches every epoch (default: {FRESH_PATCHES:,})",
    )
    parser.add_argument(
        "--label-faults",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="with --fresh: spoil this share of the training labels as annotators do",
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        "--leave-out",
        type=int,
        nargs="+",
        metavar="WELL",
        help="validate on these wells, train on the others (default: the folder's own split)",
    )
    split.add_argument(
        "--fold",
        metavar="I/K",
        help="validate on fold I (from 1) of K folds of whole wells, the same whatever the seed",
    )
    split.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: a run for each of K folds of whole wells, then mean and spread",
    )
    split.add_argument(
        "--random-split",
        type=float,
        metavar="SHARE",
        help="validate on a random share of the patches; needs --allow-leakage",
    )
    parser.add_argument(
        "--allow-leakage",
        action="store_true",
        help="accept a split that puts patches of one well on both sides",
    )


def load_data(
    arguments: argparse.Namespace, console: Console, device: torch.device | str = "cpu"
) -> list[Data]:
    """The sets that the command line asks for, one for each fold; ValueError where it cannot be.

    Fresh pipes are made on `device`. On a GPU that is at its speed, but they are others than a
    processor makes, and as its cumulative sums do, they differ in the last bits from time to time.
    """
    if arguments.fresh is not None:
        return [_load_fresh(arguments, device)]
    if arguments.label_faults:
        raise ValueError("--label-faults spoils the labels of --fresh pipes only; add --fresh")
    folder = arguments.data or DEFAULT_FOLDER
    if arguments.data is None and not folder.is_dir():
        console.print("No data/ here: training on synthetic pipes (python -m geoseg.synthetic).")
        dataset = make_synthetic_dataset()
        origin = "synthetic pipes, 15 wells, seed 0"
    else:
        dataset = PatchDataset.load(folder)
        origin = f"{len(dataset):,} patches of {folder.resolve().name}"
        if dataset.rejections:
            console.print(dataset.rejection_summary(), highlight=False)
    if arguments.folds is None:
        return [_describe(*_split(dataset, arguments), origin)]
    count = arguments.folds
    return [
        _describe(*sides, f"fold {i}/{count}", origin)._replace(suffix=f"-fold-{i}-of-{count}")
        for i, sides in enumerate(split_into_folds(dataset, count), 1)
    ]


def _load_fresh(arguments: argparse.Namespace, device: torch.device | str) -> Data:
    """Endless synthetic pipes, judged on wells of their own."""
    chosen = (arguments.data, arguments.leave_out, arguments.fold, arguments.folds)
    if any(choice is not None for choice in (*chosen, arguments.random_split)):
        raise ValueError("--fresh makes its own data: leave --data and the ways to split it away")
    if arguments.fresh < 16:
        raise ValueError(f"--fresh is {arguments.fresh}; give at least 16 patches an epoch")

    def draw(epoch: int) -> PatchDataset:
        return make_fresh_dataset(
            arguments.fresh,
            wells=arguments.fresh // 16,
            seed=arguments.seed,
            generation=epoch,
            label_faults=arguments.label_faults,
            device=device,
        )

    # Turn 0 is no epoch's, and the seed is another than that of the set that scores are made on.
    validation = make_fresh_dataset(
        VALIDATION_PATCHES, wells=VALIDATION_WELLS, seed=VALIDATION_SEED
    )
    label_faults = arguments.label_faults
    spoilt = f" ({label_faults:.0%} of the grooves spoilt)" if label_faults else ""
    description = (
        f"synthetic pipes, {arguments.fresh:,} new patches every epoch{spoilt}; "
        f"{VALIDATION_PATCHES:,} to validate, of {VALIDATION_WELLS} other synthetic wells"
    )
    return Data(draw(1), validation, description, renew=draw)


def _describe(train: PatchDataset, validation: PatchDataset, split: str, origin: str) -> Data:
    if not len(train) or not len(validation):
        raise ValueError(
            f"the split gives {len(train)} training and {len(validation)} validation patches; "
            "both need some"
        )
    wells = ", ".join(map(str, sorted(set(validation.wells.tolist()))))
    description = (
        f"{origin}; {len(train):,} to train, {len(validation):,} to validate ({split}, "
        f"validation wells {wells})"
    )
    return Data(train, validation, description)


def _split(
    dataset: PatchDataset, arguments: argparse.Namespace
) -> tuple[PatchDataset, PatchDataset, str]:
    if arguments.leave_out is not None:
        return *leave_wells_out(dataset, arguments.leave_out), "wells left out"
    if arguments.fold is not None:
        index, folds = _parse_fold(arguments.fold)
        return *split_into_folds(dataset, folds)[index - 1], f"fold {arguments.fold}"
    if arguments.random_split is not None:
        halves = random_split(
            dataset,
            arguments.random_split,
            allow_leakage=arguments.allow_leakage,
        )
        return *halves, "RANDOM split, which leaks"
    sides = split_by_folder(dataset, allow_leakage=arguments.allow_leakage)
    return *sides, "the folder's own split"


def _parse_fold(text: str) -> tuple[int, int]:
    index, slash, folds = text.partition("/")
    if not (
        text.isascii()
        and slash
        and index.isdigit()
        and folds.isdigit()
        and 1 <= int(index) <= int(folds)
    ):
        raise ValueError(f"fold {text!r} is not I/K with I from 1 to K, such as 1/5")
    return int(index), int(folds)

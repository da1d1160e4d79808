"""The patches or the log that an evaluation scores on."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from geoseg.dataset import PatchDataset
from geoseg.dataset.challenge import replace_labels
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.synthetic import make_synthetic_dataset

# Wells of another seed than the trainer's own set and than any that a user would choose by chance:
# no run has seen them, not even to choose an epoch.
FRESH_WELLS, FRESH_PATCHES, FRESH_SEED = 15, 2400, 1_000_003


def load_evaluation_set(arguments: argparse.Namespace, console: Console) -> EvaluationSet:
    """What the command line asks for; OSError or ValueError where it cannot be."""
    if arguments.log is not None:
        return EvaluationSet.of_log(
            arguments.log, arguments.log_truth, twins=not arguments.no_twins
        )
    return EvaluationSet.of_patches(
        *load_labelled_patches(arguments.data, arguments.split, console, labels=arguments.labels)
    )


def load_labelled_patches(
    folder: Path | None, split: str, console: Console, labels: Path | None = None
) -> tuple[PatchDataset, str]:
    """The labelled patches of a folder's split, or fresh synthetic wells, and what they are.

    `labels` is a file of labels instead of those beside the images. Says what was rejected; OSError
    or ValueError where nothing has a label.
    """
    if folder is None:
        dataset = make_synthetic_dataset(FRESH_WELLS, FRESH_PATCHES, FRESH_SEED)
        about = f"{len(dataset):,} synthetic patches, {FRESH_WELLS} wells, seed {FRESH_SEED}"
        return dataset, about
    whole = PatchDataset.load(folder, [split], labels=labels is None, cache=False)
    if labels is not None:
        whole = replace_labels(whole, labels)
    if whole.rejections:
        console.print(whole.rejection_summary(), markup=False)
    dataset = whole.select(whole.labelled)
    if not len(dataset):
        raise ValueError(f"{split} of {folder} has no labels to score against")
    rejected = f" ({len(whole.rejections):,} files rejected)" if whole.rejections else ""
    if labels is not None:
        rejected = f", labels of {labels.name}" + rejected.replace("files", "files and rows")
    return dataset, f"{len(dataset):,} patches of {folder.resolve().name}/{split}{rejected}"

"""Load the labelled patches to score on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from geoseg.dataset import PatchDataset
from geoseg.dataset.challenge import replace_labels
from geoseg.measurements import DEFAULT, MeasurementOptions
from geoseg.synthetic import make_synthetic_dataset

# New wells: the seed differs from the trainer's own set and from any that a user is likely to
# choose, so no run has seen them, not even to choose an epoch.
FRESH_WELLS, FRESH_PATCHES, FRESH_SEED = 15, 2400, 1_000_003


def load_labelled_patches(
    folder: Path | None,
    split: str,
    console: Console,
    labels: Path | None = None,
    options: MeasurementOptions = DEFAULT,
) -> tuple[PatchDataset, str]:
    """Return the labelled patches of a folder's split, or new synthetic wells, and a description.

    `labels` is a csv file in the challenge's form, used instead of the labels beside the images.
    Prints which files were rejected. Raises OSError or ValueError if nothing
    has a label.
    """
    if folder is None:
        dataset = make_synthetic_dataset(FRESH_WELLS, FRESH_PATCHES, FRESH_SEED)
        description = f"{len(dataset):,} synthetic patches, {FRESH_WELLS} wells, seed {FRESH_SEED}"
        return dataset, description
    whole = PatchDataset.load(folder, [split], options=options, labels=labels is None, cache=False)
    source = ""
    if labels is not None:
        whole = replace_labels(whole, labels)
        source = f", labels of {labels.name}"
    if whole.rejections:
        console.print(whole.rejection_summary(), markup=False)
        source += f" ({len(whole.rejections):,} files rejected)"
    dataset = replace(whole.select(whole.labelled), notes=whole.notes)
    if not len(dataset):
        raise ValueError(f"{split} of {folder} has no labels to score against")
    return dataset, f"{len(dataset):,} patches of {folder.resolve().name}/{split}{source}"

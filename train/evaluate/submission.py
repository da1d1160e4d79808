"""Masks of a folder's images in the challenge's csv form."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from geoseg.dataset.challenge import write_masks
from geoseg.input_files import find_files
from geoseg.measurements import (
    DEFAULT,
    Log,
    MeasurementOptions,
    read_npy_log,
    summarise_assumptions,
)
from geoseg.patches import AllNullError
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter

_NAME = re.compile(r"well_\d+_patch_\d+\.npy", re.IGNORECASE)
_BATCH = 256


def submission_paths(path: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Return each model's file: `path` for one model, else `path` with the model's name added."""
    if len(names) == 1:
        return {names[0]: path}
    return {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names}


def write_submission(
    segmenter: Segmenter, folder: Path, path: Path, options: MeasurementOptions = DEFAULT
) -> dict[Path, int]:
    """Write one row per image of `folder` for each model; return the files and their row counts.

    Print what was assumed of the images. The challenge requires a row for every image, so an image
    of nulls gets an empty mask. Raise ValueError if the folder has no image, an image cannot be
    read, or their sizes differ.
    """
    files = [file for file in find_files(folder) if _NAME.fullmatch(file.name)]
    if not files:
        raise ValueError(f"{folder} holds no .npy named well_K_patch_I")
    logs = [_read_log(file, options) for file in files]
    for note in summarise_assumptions(log for log in logs if log):
        print(f"{folder.name}: {note}")
    shape = next((log.image.shape for log in logs if log), (36, 36))
    nulls = np.full(shape, np.nan, np.float32)
    stacked = np.stack([log.image if log else nulls for log in logs])
    batches = [stacked[i : i + _BATCH] for i in range(0, len(stacked), _BATCH)]
    written = {}
    for name, target in submission_paths(path, segmenter.names).items():
        threshold = segmenter.cards[name].threshold
        tracked = track_progress(batches, f"{name}: submission")
        parts = [
            segmenter.probabilities(batch, [name], interpret=False)[name] > threshold
            for batch in tracked
        ]
        masks = np.concatenate(parts).astype(np.uint8)
        write_masks(
            target, {file.stem.lower(): mask for file, mask in zip(files, masks, strict=True)}
        )
        written[target] = len(masks)
    return written


def _read_log(file: Path, options: MeasurementOptions) -> Log | None:
    """Return a patch; None if it has no measurement."""
    try:
        return read_npy_log(file, options)
    except AllNullError:
        return None

"""Masks of a folder's images in the challenge's csv form."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.dataset.challenge import write_masks
from geoseg.natural_sort import natural_key
from geoseg.patches import AllNullError, read_patch
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter

_NAME = re.compile(r"well_\d+_patch_\d+\.npy")
_BATCH = 256


def submission_paths(path: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Return each model's file: `path` for one model, else `path` with the model's name added."""
    if len(names) == 1:
        return {names[0]: path}
    return {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names}


def write_submission(segmenter: Segmenter, folder: Path, path: Path) -> dict[Path, int]:
    """Write one row per image of `folder` for each model; return the files and their row counts.

    The challenge requires a row for every image, so an image of nulls gets an empty mask. Raises
    ValueError if the folder has no image, an image cannot be read, or their sizes differ.
    """
    files = [file for file in folder.glob("*.npy") if _NAME.fullmatch(file.name)]
    files.sort(key=lambda file: natural_key(file.name))
    if not files:
        raise ValueError(f"{folder} holds no .npy named well_K_patch_I")
    images = [_read_image(file) for file in files]
    shape = next((image.shape for image in images if image is not None), (36, 36))
    nulls = np.full(shape, np.nan, np.float32)
    stacked = np.stack([nulls if image is None else image for image in images])
    batches = [stacked[i : i + _BATCH] for i in range(0, len(stacked), _BATCH)]
    written = {}
    for name, target in submission_paths(path, segmenter.names).items():
        threshold = segmenter.cards[name].threshold
        tracked = track_progress(batches, f"{name}: submission")
        parts = [segmenter.probabilities(batch, [name])[name] > threshold for batch in tracked]
        masks = np.concatenate(parts).astype(np.uint8)
        write_masks(target, {file.stem: mask for file, mask in zip(files, masks, strict=True)})
        written[target] = len(masks)
    return written


def _read_image(file: Path) -> NDArray[np.float32] | None:
    """Return a patch; None if it has no measurement."""
    try:
        return read_patch(file)
    except AllNullError:
        return None

"""Masks of a folder's images in the challenge's csv form."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.dataset.challenge import write_masks
from geoseg.natural_sort import natural_key
from geoseg.patches import AllNullError, PatchError, read_patch
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
    names, images = _read_images(folder)
    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    written = {}
    for name, target in submission_paths(path, segmenter.names).items():
        threshold = segmenter.cards[name].threshold
        masks = np.concatenate(
            [
                segmenter.probabilities(batch, [name])[name] > threshold
                for batch in track_progress(batches, f"{name}: submission")
            ]
        )
        write_masks(target, dict(zip(names, masks.astype(np.uint8), strict=True)))
        written[target] = len(masks)
    return written


def _read_images(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names and images (N, Z, A), NaN for an image without a measurement."""
    files = [file for file in folder.glob("*.npy") if _NAME.fullmatch(file.name)]
    files.sort(key=lambda file: natural_key(file.name))
    if not files:
        raise ValueError(f"{folder} holds no .npy named well_K_patch_I")
    images: dict[str, NDArray[np.float32] | None] = {}
    for file in files:
        try:
            images[file.stem] = read_patch(file)
        except AllNullError:
            images[file.stem] = None
        except PatchError as error:
            raise ValueError(f"no submission: {error}") from error
    shapes = {image.shape for image in images.values() if image is not None} or {(36, 36)}
    if len(shapes) > 1:
        raise ValueError(f"no submission: the images of {folder} are of the sizes {shapes}")
    nulls = np.full(shapes.pop(), np.nan, np.float32)
    return list(images), np.stack([nulls if i is None else i for i in images.values()])

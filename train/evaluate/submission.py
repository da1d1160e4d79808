"""A model's masks of a folder in the challenge's csv."""

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
_AT_ONCE = 256


def submission_paths(path: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Where each model's masks go: `path`, or one beside it for each of several models."""
    if len(names) == 1:
        return {names[0]: path}
    return {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names}


def write_submission(segmenter: Segmenter, folder: Path, path: Path) -> dict[Path, int]:
    """Write the masks of every image in `folder`, a row each; gives the files and their rows.

    The challenge wants a row for every image, so none is left out: one that is null everywhere has
    an empty mask. ValueError for a folder without an image, an image that cannot be read, or one of
    another size.
    """
    labels, images = _read_images(folder)
    batches = [images[i : i + _AT_ONCE] for i in range(0, len(images), _AT_ONCE)]
    written = {}
    for name, target in submission_paths(path, segmenter.names).items():
        limit = segmenter.cards[name].threshold
        parts = track_progress(batches, f"{name}: submission")
        answers = [segmenter.probabilities(part, [name])[name] > limit for part in parts]
        masks = np.concatenate(answers).astype(np.uint8)
        write_masks(target, dict(zip(labels, masks, strict=True)))
        written[target] = len(masks)
    return written


def _read_images(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Names, and images (N, Z, A)."""
    files = [file for file in folder.glob("*.npy") if _NAME.fullmatch(file.name)]
    files.sort(key=lambda file: natural_key(file.name))
    if not files:
        raise ValueError(f"{folder} holds no .npy named well_K_patch_I to write masks of")
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
    nothing = np.full(shapes.pop(), np.nan, np.float32)
    filled = [nothing if image is None else image for image in images.values()]
    return list(images), np.stack(filled)

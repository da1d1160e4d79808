"""Segment files of patches and logs: what `python -m geoseg segment` does.

For every input `x.npy` a folder `x` is written: `mask.npy` uint8 (Z, A), `probability.npy` float32
(Z, A) with NaN at nulls, `summary.json`, and `picture.png` on request. Z depth, A azimuth.
"""

from __future__ import annotations

import glob
import io
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import geoseg
from geoseg.atomic_files import atomic_write, name_in_errors
from geoseg.natural_sort import natural_key
from geoseg.patches import printable_name, read_patch
from geoseg.pictures import grey, overlay, png, side_by_side
from geoseg.segmenter import Segmenter
from geoseg.twins import TWIN_COLUMNS, is_twin_log

DEFAULT_CHECKPOINT = (
    Path(__file__).resolve().parents[1] / "checkpoints" / "3000-ring-unet.safetensors"
)
_COLUMNS = TWIN_COLUMNS // 2  # of the patches that the models are trained on
_MAGNIFIED_ROWS = 128  # pictures of at most so many rows are magnified
_MAGNIFICATION = 6


@dataclass(frozen=True)
class SegmentOptions:
    """What to segment, with which checkpoints, and what to write where.

    Attributes:
        files: `.npy` files, folders of them, or glob patterns.
        output: the folder that receives a folder for every input.
        checkpoints: files or hf://user/repo addresses. With several, each has a folder in `output`.
        threshold: a probability above it is a groove; None takes the threshold of each checkpoint.
        split_twins: segment a log of 72 columns as two twins of 36.
        pictures: write `picture.png` too.
        overwrite: replace existing files.
        device: "auto", "cpu" or "cuda".
    """

    files: tuple[str, ...]
    output: Path
    checkpoints: tuple[str, ...] = ()
    threshold: float | None = None
    split_twins: bool = True
    pictures: bool = False
    overwrite: bool = False
    device: str = "auto"


class WriteError(OSError):
    """A result that cannot be written."""


def load_segmenter(options: SegmentOptions) -> Segmenter:
    """Load the checkpoints of `options`, or the shipped one; ValueError if one cannot be used."""
    if not options.checkpoints and not DEFAULT_CHECKPOINT.is_file():
        raise ValueError(
            f"the default checkpoint {DEFAULT_CHECKPOINT} does not exist; "
            "name one with --checkpoint"
        )
    segmenter = Segmenter(options.checkpoints or [DEFAULT_CHECKPOINT], options.device)
    for name in segmenter.names:
        segmenter.model(name)
    return segmenter


def find_images(names: Iterable[str]) -> list[Path]:
    """Return the `.npy` files of files, folders and patterns, each once, in the order given.

    Raise ValueError for a name without files, and for two files whose results would share a folder.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            files = [file for file in path.glob("*.npy") if not file.name.startswith(".")]
        else:
            files = [path] if path.exists() else list(map(Path, glob.glob(name)))
        if not files:
            fault = "holds no .npy file" if path.is_dir() else "does not exist and matches nothing"
            raise ValueError(f"{printable_name(name)} {fault}; check its name")
        found.update(dict.fromkeys(sorted(files, key=lambda file: natural_key(file.name))))
    first_of_stem: dict[str, Path] = {}
    for file in found:
        if not file.stem.strip("."):
            raise ValueError(f"{file} has no name before its extension; rename it")
        if (other := first_of_stem.setdefault(file.stem, file)) != file:
            raise ValueError(
                f"{other} and {file} have one name, and their results would share a folder; "
                "segment one at a time"
            )
    return list(found)


def check_targets(images: Sequence[Path], names: Sequence[str], options: SegmentOptions) -> None:
    """Raise ValueError if a result would replace an input, or another file without `overwrite`."""
    targets = [
        folder / file
        for image in images
        for folder in (_result_folder(image, name, names, options) for name in names)
        for file in ("mask.npy", "probability.npy", "summary.json", "picture.png")
        if file != "picture.png" or options.pictures
    ]
    inputs = {image.resolve() for image in images}
    if replaced := next((target for target in targets if target.resolve() in inputs), None):
        raise ValueError(f"{replaced} is an input, and would be replaced; choose another -o")
    existing = [target for target in targets if os.path.lexists(target)]
    if existing and not options.overwrite:
        more = f" and {len(existing) - 1:,} more" if len(existing) > 1 else ""
        raise ValueError(
            f"{existing[0]}{more} would be replaced; add --overwrite or choose another -o"
        )


def segment_file(path: Path, segmenter: Segmenter, options: SegmentOptions) -> None:
    """Segment one file with every model and write the results.

    Raise ValueError if the file cannot be used, WriteError if a result cannot be written.
    """
    image = read_patch(path)
    for name in segmenter.names:
        start = time.perf_counter()
        results = segmenter.log_probabilities(image, [name], split_twins=options.split_twins)
        seconds = time.perf_counter() - start
        probability, threshold = results[name], options.threshold
        if threshold is None:
            threshold = segmenter.cards[name].threshold
        mask = probability > threshold  # False at nulls, where the probability is NaN
        summary = {
            "file": path.name,
            "checkpoint": name,
            "threshold": threshold,
            "shape": image.shape,
            "coverage": float(mask.sum() / np.isfinite(image).sum()),
            "seconds": round(seconds, 4),
            "notes": describe_assumptions(image, split_twins=options.split_twins),
            "versions": {
                "geoseg": geoseg.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }
        folder = _result_folder(path, name, segmenter.names, options)
        _write(folder / "mask.npy", _encode_npy(mask.astype(np.uint8)))
        _write(folder / "probability.npy", _encode_npy(probability))
        if options.pictures:
            _write(folder / "picture.png", _draw(image, mask))
        _write(folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def describe_assumptions(image: NDArray[np.float32], *, split_twins: bool) -> list[str]:
    """Return what is assumed of an image (Z, A), in sentences."""
    notes = []
    nulls = int(np.isnan(image).sum())
    if nulls:
        notes.append(
            f"{nulls:,} of {image.size:,} pixels are nulls; their mask is 0 and their "
            "probability NaN."
        )
    columns = image.shape[1]
    if split_twins and is_twin_log(image):
        notes.append(
            f"The {columns} columns were split into two twins of {_COLUMNS}, the even and the odd "
            "columns."
        )
    elif columns != _COLUMNS:
        notes.append(
            f"All {columns} columns were segmented together; the models were trained on "
            f"{_COLUMNS} columns of 10 degrees."
        )
    return notes


def _result_folder(image: Path, name: str, names: Sequence[str], options: SegmentOptions) -> Path:
    """Return where the results of one model for one image go."""
    folder = options.output / name if len(names) > 1 else options.output
    return folder / image.stem


def _draw(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> bytes:
    """Draw the image, and beside it the image under its mask; patches are magnified."""
    scale = _MAGNIFICATION if len(image) <= _MAGNIFIED_ROWS else 1
    return png(side_by_side(grey(image), overlay(image, mask)), scale)


def _encode_npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _write(path: Path, content: bytes) -> None:
    try:
        with name_in_errors(path), atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise WriteError(error) from error

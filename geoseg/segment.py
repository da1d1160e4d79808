"""Segment files of patches and logs: what `python -m geoseg segment` does.

For every input `x.npy` a folder `x` is written: `mask.npy` uint8 (Z, A), `probability.npy` float32
(Z, A) with NaN at nulls, `summary.json`, and `picture.png` on request. Z depth, A azimuth.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import geoseg
from geoseg.atomic_files import atomic_write, atomic_write_text
from geoseg.natural_sort import natural_key
from geoseg.patches import PatchError, printable_name, read_patch
from geoseg.pictures import grey, overlay, png
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.twins import TWIN_COLUMNS, is_twin_log

_ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CHECKPOINT = _ROOT / "checkpoints" / "3000-ring-unet.safetensors"
_COLUMNS = TWIN_COLUMNS // 2  # of the patches that the models are trained on
_RESULTS = ("mask.npy", "probability.npy", "picture.png", "summary.json")


@dataclass(frozen=True)
class SegmentOptions:
    """The command line of `segment`; the help of each option says what it means."""

    files: Sequence[str]
    output: Path
    checkpoints: Sequence[str | Path]
    threshold: float | None
    split_twins: bool
    pictures: bool
    overwrite: bool
    device: str


def segment_files(options: SegmentOptions) -> int:
    """Segment every file with every checkpoint; return the exit code, 1 if a file was skipped.

    Raise ValueError, before anything is written, for options that cannot be used; OSError if a
    result cannot be written.
    """
    images = find_images(options.files)
    segmenter = Segmenter(options.checkpoints, options.device)
    several = len(segmenter.names) > 1
    folders = {name: options.output / (name if several else "") for name in segmenter.names}
    check_targets(images, folders.values(), options.overwrite)
    segmenter.preload()  # reports a damaged checkpoint before anything is written
    failed = 0
    for path in track_progress(images, "Segmenting"):
        try:
            for name, folder in folders.items():
                _segment_image(path, segmenter, name, folder / path.stem, options)
        except ValueError as error:
            failed += 1
            subject = "" if isinstance(error, PatchError) else f"{printable_name(path.name)}: "
            print(f"segment: {subject}{error}", file=sys.stderr)
    print(f"{options.output}: masks of {len(images) - failed:,} images, {failed:,} files skipped")
    return 1 if failed else 0


def find_images(names: Iterable[str]) -> list[Path]:
    """Return the files of files, folders and patterns, each once, in the order given.

    Raise ValueError for a name without files, and for two files whose results would share a folder.
    """
    found: dict[str, Path] = {}
    for name in names:
        pattern = os.path.join(glob.escape(name), "*.npy") if os.path.isdir(name) else name
        files = [name] if os.path.isfile(name) else glob.glob(pattern)
        if not files:
            raise ValueError(f"{printable_name(name)} holds or matches no .npy file")
        for file in map(Path, sorted(files, key=natural_key)):
            if not file.stem.strip("."):
                raise ValueError(f"{file} has no name before its extension; rename it")
            if found.setdefault(file.stem, file) != file:
                raise ValueError(
                    f"{found[file.stem]} and {file} have one name, and their results would share "
                    "a folder; segment one at a time"
                )
    return list(found.values())


def check_targets(images: Sequence[Path], folders: Iterable[Path], overwrite: bool) -> None:
    """Raise ValueError if a result would replace an input, or another file without `overwrite`."""
    inputs = {image.resolve() for image in images}
    for folder in folders:
        for target in (folder / image.stem / name for image in images for name in _RESULTS):
            if target.resolve() in inputs:
                raise ValueError(f"{target} is an input, and would be replaced; choose another -o")
            if os.path.lexists(target) and not overwrite:
                raise ValueError(f"{target} exists; add --overwrite or choose another -o")


def _segment_image(
    path: Path, segmenter: Segmenter, name: str, folder: Path, options: SegmentOptions
) -> None:
    """Segment the image of one file with one model, and write the results into `folder`."""
    image = read_patch(path)
    start = time.perf_counter()
    results = segmenter.log_probabilities(image, [name], split_twins=options.split_twins)
    seconds = time.perf_counter() - start
    probability, threshold = results[name], options.threshold
    if threshold is None:
        threshold = segmenter.cards[name].threshold
    mask = probability > threshold  # False at nulls, where the probability is NaN
    for file, array in (("mask.npy", mask.astype(np.uint8)), ("probability.npy", probability)):
        with atomic_write(folder / file) as temporary, temporary.open("wb") as opened:
            np.save(opened, array, allow_pickle=False)
    if options.pictures:
        line = np.full((len(image), 1, 3), 255, np.uint8)
        picture = np.hstack([grey(image), line, overlay(image, mask)])
        with atomic_write(folder / "picture.png") as temporary:
            temporary.write_bytes(png(picture, scale=6 if len(image) <= 128 else 1))
    else:
        (folder / "picture.png").unlink(missing_ok=True)  # of an earlier mask
    summary = {
        "file": path.name,
        "checkpoint": name,
        "threshold": threshold,
        "shape": image.shape,
        "coverage": float(mask.sum() / np.isfinite(image).sum()),
        "seconds": round(seconds, 4),
        "notes": _describe_assumptions(image, options.split_twins),
        "versions": {
            "geoseg": geoseg.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    atomic_write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


def _describe_assumptions(image: NDArray[np.float32], split_twins: bool) -> list[str]:
    """Return what is assumed of an image (Z, A), in sentences."""
    notes = []
    columns = image.shape[1]
    if nulls := int(np.isnan(image).sum()):
        notes.append(
            f"{nulls:,} of {image.size:,} pixels are nulls; their mask is 0 and their "
            "probability NaN."
        )
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

"""Segment files of patches and logs: what `python -m geoseg segment` does.

For every input `x.npy` a folder `x` is written: `mask.npy` uint8 and `probability.npy` float32 with
NaN at nulls, both (Z, A), or (N, Z, A) for a stack of N patches; `summary.json`, and `picture.png`
on request. Z depth, A azimuth.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import geoseg
from geoseg.atomic_files import atomic_write, atomic_write_text
from geoseg.input_files import find_images
from geoseg.measurements import Log, MeasurementOptions, read_logs, summarise_assumptions
from geoseg.patches import PatchError, printable_name
from geoseg.pictures import grey, overlay, png
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter

_ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CHECKPOINT = _ROOT / "checkpoints" / "3000-ring-unet.safetensors"
_RESULTS = ("mask.npy", "probability.npy", "picture.png", "summary.json")
_NOTED_FILES = 20  # at most so many files have lines of their own on the console


@dataclass(frozen=True)
class SegmentOptions:
    """The command line of `segment`; the help of each option says what it means."""

    files: Sequence[str]
    output: Path
    checkpoints: Sequence[str | Path]
    threshold: float | None
    pictures: bool
    overwrite: bool
    device: str
    measurements: MeasurementOptions


def segment_files(options: SegmentOptions) -> int:
    """Segment every file with every checkpoint; return the exit code, 1 if a file was skipped.

    Raise ValueError, before anything is written, for options that cannot be used; OSError if a
    result cannot be written.
    """
    files = find_images(options.files)
    segmenter = Segmenter(options.checkpoints, options.device)
    several = len(segmenter.names) > 1
    folders = {name: options.output / (name if several else "") for name in segmenter.names}
    check_targets(files, folders.values(), options.overwrite)
    segmenter.preload()  # reports a damaged checkpoint before anything is written
    read: dict[str, list[Log]] = {}
    for path in track_progress(files, "Segmenting"):
        try:
            logs = read_logs(path, options.measurements)
            for name, folder in folders.items():
                _segment_logs(path.name, logs, segmenter, name, folder / path.stem, options)
        except ValueError as error:
            subject = "" if isinstance(error, PatchError) else f"{printable_name(path.name)}: "
            print(f"segment: {subject}{error}", file=sys.stderr)
        else:
            nothing = np.empty((0, 0), np.float32)  # thousands of images would fill the memory
            read[printable_name(path.name)] = [replace(log, image=nothing) for log in logs]
    _print_notes(read)
    failed = len(files) - len(read)
    print(f"{options.output}: masks of {len(read):,} files, {failed:,} files skipped")
    return 1 if failed else 0


def check_targets(images: Sequence[Path], folders: Iterable[Path], overwrite: bool) -> None:
    """Raise ValueError if a result would replace an input, or another file without `overwrite`."""
    inputs = {image.resolve() for image in images}
    for folder in folders:
        for target in (folder / image.stem / name for image in images for name in _RESULTS):
            if target.resolve() in inputs:
                raise ValueError(f"{target} is an input, and would be replaced; choose another -o")
            if os.path.lexists(target) and not overwrite:
                raise ValueError(f"{target} exists; add --overwrite or choose another -o")


def _segment_logs(
    file: str,
    logs: Sequence[Log],
    segmenter: Segmenter,
    name: str,
    folder: Path,
    options: SegmentOptions,
) -> None:
    """Segment the logs of one file with one model, and write the results into `folder`."""
    images = np.stack([log.image for log in logs]) if len(logs) > 1 else logs[0].image
    start = time.perf_counter()
    probability = segmenter.probabilities(images, [name], interpret=False)[name]
    seconds = time.perf_counter() - start
    threshold = options.threshold
    if threshold is None:
        threshold = segmenter.cards[name].threshold
    mask = probability > threshold  # False at nulls, where the probability is NaN
    for result, array in (("mask.npy", mask.astype(np.uint8)), ("probability.npy", probability)):
        with atomic_write(folder / result) as temporary, temporary.open("wb") as opened:
            np.save(opened, array, allow_pickle=False)
    if options.pictures:
        image = images.reshape(-1, images.shape[-1])
        line = np.full((len(image), 1, 3), 255, np.uint8)
        picture = np.hstack([grey(image), line, overlay(image, mask.reshape(image.shape))])
        with atomic_write(folder / "picture.png") as temporary:
            temporary.write_bytes(png(picture, scale=6 if len(image) <= 128 else 1))
    else:
        (folder / "picture.png").unlink(missing_ok=True)  # of an earlier mask
    summary = {
        "file": file,
        "checkpoint": name,
        "threshold": threshold,
        "shape": images.shape,
        "coverage": float(mask.sum() / np.isfinite(images).sum()),
        "seconds": round(seconds, 4),
        "unit": ", ".join(dict.fromkeys(log.unit for log in logs)),
        "notes": _list_notes(logs),
        "versions": {
            "geoseg": geoseg.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    atomic_write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


def _list_notes(logs: Sequence[Log]) -> tuple[str, ...]:
    """Return the notes of the log of one file, or a summary of those of a stack."""
    return logs[0].notes if len(logs) == 1 else summarise_assumptions(logs)


def _print_notes(read: Mapping[str, Sequence[Log]]) -> None:
    """Print the notes of every file, or a summary if many files have some."""
    noted = {name: notes for name, logs in read.items() if (notes := _list_notes(logs))}
    if len(noted) <= _NOTED_FILES:
        for name, notes in noted.items():
            print(f"{name}: {' '.join(notes)}")
        return
    for sentence in summarise_assumptions(log for logs in read.values() for log in logs):
        print(sentence)
    print("The notes of each file are in its summary.json.")

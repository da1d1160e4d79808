"""Segment files of patches and logs: what `python -m geoseg segment` does.

For every input `x.npy` a folder `x` is written: `mask.npy` uint8 and `probability.npy` float32 with
NaN at nulls, both (Z, A), or (N, Z, A) for a stack of N patches; `grooves.csv` and `joints.csv`,
but for a stack; `summary.json`; and on request `picture.png`, and the results as a DLIS, LAS or csv
file. Z depth, A azimuth.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from geoseg.wells.reading import read_log
from geoseg.wells.results import write_tables
from geoseg.wells.units import WellGeometry
from geoseg.wells.writing import FORMATS, write_log

_ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CHECKPOINT = _ROOT / "checkpoints" / "3000-ring-unet.safetensors"
_RESULTS = (
    *("mask.npy", "probability.npy", "grooves.csv", "joints.csv", "picture.png", "summary.json"),
    *(f"result.{extension}" for extension in FORMATS),
)
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
    channel: str | None
    frame: str | None
    write: str | None
    measurements: MeasurementOptions
    geometry: WellGeometry


def segment_files(options: SegmentOptions) -> int:
    """Segment every file with every checkpoint; return the exit code, 1 if a file was skipped.

    Raise ValueError, before anything is written, for options that cannot be used; OSError if a
    result cannot be written.
    """
    files = find_images(options.files)
    segmenter = Segmenter(options.checkpoints, options.device)
    several = len(segmenter.names) > 1
    folders = {name: options.output / (name if several else "") for name in segmenter.names}
    settings = {name: _hash_settings(segmenter, name, options) for name in segmenter.names}
    done = {
        path: [n for n, f in folders.items() if _is_done(path, f / path.stem, settings[n], options)]
        for path in files
    }
    left = [path for path in files if len(done[path]) < len(folders)]
    check_targets(left, folders.values(), options.overwrite)
    segmenter.preload()  # reports a damaged checkpoint before anything is written
    read: dict[str, list[Log]] = {}
    for path in track_progress(left, "Segmenting"):
        try:
            logs = _read_logs(path, options)
            identity = _hash_file(path)
            for name, folder in folders.items():
                if name in done[path]:
                    continue
                key = f"{identity}-{settings[name]}"
                _segment_logs(path.name, logs, segmenter, name, folder / path.stem, options, key)
        except ValueError as error:
            subject = "" if isinstance(error, PatchError) else f"{printable_name(path.name)}: "
            print(f"segment: {subject}{error}", file=sys.stderr)
        else:
            nothing = np.empty((0, 0), np.float32)  # thousands of images would fill the memory
            read[printable_name(path.name)] = [replace(log, image=nothing) for log in logs]
    _print_notes(read)
    failed = len(left) - len(read)
    earlier = f", {len(files) - len(left):,} done before" if len(files) > len(left) else ""
    print(f"{options.output}: masks of {len(read):,} files, {failed:,} files skipped{earlier}")
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
    key: str,
) -> None:
    """Segment the logs of one file with one model, and write the results into `folder`.

    `key` identifies input, model and settings; it is in the summary, which is written last.
    """
    if folder.is_dir():
        (folder / "summary.json").unlink(missing_ok=True)
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
    tables = {}
    if len(logs) == 1:
        tables = write_tables(folder, logs[0], mask, probability, options.geometry)
        if options.write:
            target = folder / f"result.{options.write}"
            write_log(target, logs[0], mask.astype(np.uint8), probability)
    summary = {
        "file": file,
        "checkpoint": name,
        "threshold": threshold,
        "shape": images.shape,
        "coverage": float(mask.sum() / np.isfinite(images).sum()),
        "seconds": round(seconds, 4),
        "unit": ", ".join(dict.fromkeys(log.unit for log in logs)),
        "notes": _list_notes(logs),
        **tables,
        "key": key,
        "versions": {
            "geoseg": geoseg.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    atomic_write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


def _read_logs(path: Path, options: SegmentOptions) -> list[Log]:
    """Read the patches of a `.npy` file, or the log of another file."""
    with path.open("rb") as file:
        is_array = path.suffix.lower() == ".npy" or file.read(6) == b"\x93NUMPY"
    if is_array:
        return read_logs(path, options.measurements)
    return [read_log(path, options.measurements, channel=options.channel, frame=options.frame)]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()[:16]


def _hash_settings(segmenter: Segmenter, name: str, options: SegmentOptions) -> str:
    """Identify a model and what else decides its results."""
    chosen = {
        "geoseg": geoseg.__version__,
        "model": _hash_file(segmenter.paths[name]),
        "threshold": options.threshold,
        "write": options.write,
        "pictures": options.pictures,
        "channel": (options.channel, options.frame),
        "measurements": str(options.measurements),
        "geometry": asdict(options.geometry),
    }
    return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:16]


def _is_done(path: Path, folder: Path, settings: str, options: SegmentOptions) -> bool:
    """Return whether `folder` holds the results of the same input, model and settings."""
    if options.overwrite:
        return False
    try:
        summary = json.loads((folder / "summary.json").read_text())
        return bool(summary["key"] == f"{_hash_file(path)}-{settings}")
    except (OSError, ValueError, KeyError, TypeError):
        return False


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

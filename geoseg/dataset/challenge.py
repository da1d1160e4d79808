"""The challenge's csv: one row per patch, its name and its mask, flattened row by row.

The first line is a header, and names may end in `.npy`. Z depth, A azimuth.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.atomic_files import atomic_write, name_in_errors
from geoseg.dataset import PatchDataset
from geoseg.dataset.folder import DatasetError, Rejection
from geoseg.patches import printable_name

_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


def write_masks(path: str | os.PathLike[str], masks: dict[str, NDArray[np.uint8]]) -> None:
    """Write masks of one size (Z, A), values 0 and 1, by patch name, in the challenge's format."""
    with (
        name_in_errors(path),
        atomic_write(path) as temporary,
        temporary.open("w", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        pixels = max((mask.size for mask in masks.values()), default=0)
        rows.writerow(["", *range(pixels)])
        for name, mask in masks.items():
            rows.writerow([name.removesuffix(".npy"), *mask.ravel().tolist()])


def read_masks(
    path: str | os.PathLike[str], pixels: int = 36 * 36
) -> tuple[dict[str, NDArray[np.uint8]], list[Rejection]]:
    """Return flattened masks (pixels,) by patch name, without `.npy`, and the rejected rows.

    Rejected are rows with another length than the name and `pixels` values, with other values than
    0 and 1, or with a name that occurs more than once. Raise DatasetError if the file is unreadable
    or has few usable rows or none.
    """
    masks, rejections, _ = _read_rows(path, pixels)
    return masks, rejections


def _read_rows(
    path: str | os.PathLike[str], pixels: int
) -> tuple[dict[str, NDArray[np.uint8]], list[Rejection], set[str]]:
    """Return as `read_masks`, and every name that has a row, usable or not."""
    masks: dict[str, NDArray[np.uint8]] = {}
    rejections: list[Rejection] = []
    names: Counter[str] = Counter()
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for number, (label, *cells) in enumerate(filter(None, csv.reader(file)), 1):
                name = printable_name(label).removesuffix(".npy")
                if number == 1 and not name.startswith("well_"):
                    continue
                names[name] += 1
                fault = _find_fault(cells, pixels)
                if fault:
                    rejections.append(Rejection(f"row {number} ({name[:60]})", *fault))
                else:
                    masks[name] = np.array([_VALUES[cell] for cell in cells], np.uint8)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as csv ({error}); export it again") from error
    for name in [name for name, count in names.items() if count > 1]:
        reason = f"occurs {names[name]} times; keep the right row only"
        rejections.append(Rejection(name, reason, "name more than once"))
        masks.pop(name, None)
    if 3 * len(masks) < len(rejections) or not masks:
        first = f", the first {rejections[0].name}: {rejections[0].reason}" if rejections else ""
        raise DatasetError(
            f"{path} has {len(masks):,} usable rows{first}; expected a name such as "
            f"well_1_patch_0 and then {pixels:,} values of 0 and 1"
        )
    return masks, rejections, set(names)


def _find_fault(cells: list[str], pixels: int) -> tuple[str, str] | None:
    """Return what is wrong with a row and the rule that it breaks, or None."""
    if len(cells) != pixels:
        reason = f"has {len(cells):,} values after its name, but a patch has {pixels:,} pixels"
        return f"{reason}; export it again", "misaligned row"
    wrong = next((cell for cell in cells if cell not in _VALUES), None)
    if wrong is None:
        return None
    return f"holds {wrong[:20]!r}; only 0 and 1 are allowed", "other values than 0 and 1"


def replace_labels(dataset: PatchDataset, path: str | os.PathLike[str]) -> PatchDataset:
    """Replace the labels of a data set of one split with those of a csv.

    `rejections` gets unusable rows, rows without an image, and images without a row, which become
    unlabelled. Raise DatasetError if no row matches an image.
    """
    rows, columns = dataset.images.shape[1:]
    masks, rejections, row_names = _read_rows(path, rows * columns)
    names = [Path(name).stem for name in dataset.names]
    file = Path(path).name
    rejections += _reject(masks.keys() - set(names), "has no image", "row without an image")
    rejections += _reject(set(names) - row_names, f"has no row in {file}", "image without a row")
    labelled = torch.tensor([name in masks for name in names])
    if not labelled.any():
        raise DatasetError(
            f"no row of {file} has the name of one of these {len(names):,} patches; its first row "
            f"is {next(iter(masks))}, the first image {names[0]}"
        )
    labels = torch.zeros_like(dataset.masks)
    for i, name in enumerate(names):
        if name in masks:
            labels[i] = torch.from_numpy(masks[name].reshape(rows, columns))
    return replace(
        dataset, masks=labels, labelled=labelled, rejections=(*dataset.rejections, *rejections)
    )


def _reject(names: Iterable[str], reason: str, kind: str) -> list[Rejection]:
    return [Rejection(name, f"{reason}; check its name", kind) for name in sorted(names)]

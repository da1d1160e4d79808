"""The challenge's csv: one row per patch, its name and its mask, flattened row by row.

The first line is a header, and names may end in `.npy`. Z depth, A azimuth.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.atomic_files import atomic_write
from geoseg.dataset import PatchDataset
from geoseg.dataset.folder import DatasetError, Rejection
from geoseg.patches import printable_name

_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


def write_masks(path: str | os.PathLike[str], masks: dict[str, NDArray[np.uint8]]) -> None:
    """Write masks of one size (Z, A), values 0 and 1, by patch name, in the challenge's format."""
    with (
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
    or has no usable row.
    """
    masks: dict[str, NDArray[np.uint8]] = {}
    rejections: list[Rejection] = []
    names: set[str] = set()
    for number, name, cells in _read_rows(path):
        row = f"row {number} ({name[:60]})"
        wrong = [cell for cell in cells if cell not in _VALUES]
        if name in names:
            masks.pop(name, None)
            reason = "has the name of an earlier row; keep the right one only"
            rejections.append(Rejection(row, reason, "name more than once"))
        elif len(cells) != pixels:
            reason = f"has {len(cells):,} values after its name, not {pixels:,}; export it again"
            rejections.append(Rejection(row, reason, "misaligned row"))
        elif wrong:
            reason = f"holds {wrong[0][:20]!r}; only 0 and 1 are allowed"
            rejections.append(Rejection(row, reason, "other values than 0 and 1"))
        else:
            masks[name] = np.array([_VALUES[cell] for cell in cells], np.uint8)
        names.add(name)
    if not masks:
        first = f", the first {rejections[0].name}: {rejections[0].reason}" if rejections else ""
        raise DatasetError(
            f"{path} has no usable row{first}; expected a name such as well_1_patch_0 and then "
            f"{pixels:,} values of 0 and 1"
        )
    return masks, rejections


def _read_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number, the name and the values of each row."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for number, (label, *cells) in enumerate(filter(None, csv.reader(file)), 1):
                name = printable_name(label).removesuffix(".npy")
                if number > 1 or name.startswith("well_"):
                    yield number, name, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as csv ({error}); export it again") from error


def replace_labels(dataset: PatchDataset, path: str | os.PathLike[str]) -> PatchDataset:
    """Replace the labels of a data set of one split with those of a csv.

    `rejections` gets unusable rows, rows without an image, and images without a usable row, which
    become unlabelled. Raise DatasetError if no row matches an image.
    """
    rows, columns = dataset.images.shape[1:]
    masks, rejections = read_masks(path, rows * columns)
    names = [Path(name).stem for name in dataset.names]
    labelled = torch.tensor([name in masks for name in names])
    if not labelled.any():
        raise DatasetError(
            f"no row of {path} has the name of one of these {len(names):,} patches; its first row "
            f"is {next(iter(masks))}, the first image {names[0]}"
        )
    for missing, kind, others in (
        ("an image", "row without an image", masks.keys() - set(names)),
        (f"a usable row in {Path(path).name}", "image without a row", set(names) - masks.keys()),
    ):
        reason = f"lacks {missing}; check its name"
        rejections += [Rejection(name, reason, kind) for name in sorted(others)]
    labels = torch.zeros_like(dataset.masks)
    for label, name in zip(labels, names, strict=True):
        if name in masks:
            label.copy_(torch.from_numpy(masks[name].reshape(rows, columns)))
    return replace(
        dataset, masks=labels, labelled=labelled, rejections=(*dataset.rejections, *rejections)
    )

"""The challenge's csv: one row a patch, its name and then its mask, flattened row by row.

The first line is a heading, and names may end in `.npy`. Z depth, A azimuth.
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
    """Write masks of one size (Z, A), 0 and 1, by patch name, in the challenge's format."""
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
    """Read flattened masks (pixels,) by patch name, without `.npy`, and the rows left out.

    Left out: a row of another length than the name and `pixels` values, one that holds another
    value than 0 and 1, and every row whose name stands twice. DatasetError for a file that cannot
    be read or has few usable rows or none.
    """
    masks, rejections, _ = _read_rows(path, pixels)
    return masks, rejections


def _read_rows(
    path: str | os.PathLike[str], pixels: int
) -> tuple[dict[str, NDArray[np.uint8]], list[Rejection], set[str]]:
    """What `read_masks` gives, and every name that has a row, usable or not."""
    masks: dict[str, NDArray[np.uint8]] = {}
    rejections: list[Rejection] = []
    seen: Counter[str] = Counter()
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for number, (label, *cells) in enumerate(filter(None, csv.reader(file)), 1):
                name = printable_name(label).removesuffix(".npy")
                if number == 1 and not name.startswith("well_"):
                    continue
                seen[name] += 1
                fault = _fault(cells, pixels)
                if fault:
                    rejections.append(Rejection(f"row {number} ({name[:60]})", *fault))
                else:
                    masks[name] = np.array([_VALUES[cell] for cell in cells], np.uint8)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as csv ({error}); export it again") from error
    for name in [name for name, count in seen.items() if count > 1]:
        reason = f"stands {seen[name]} times, and no row of them is sure; keep the right one"
        rejections.append(Rejection(name, reason, "name more than once"))
        masks.pop(name, None)
    if 3 * len(masks) < len(rejections) or not masks:
        first = f", the first {rejections[0].name}: {rejections[0].reason}" if rejections else ""
        raise DatasetError(
            f"{path} has {len(masks):,} usable rows{first}; expected a name such as "
            f"well_1_patch_0 and then {pixels:,} values of 0 and 1"
        )
    return masks, rejections, set(seen)


def _fault(cells: list[str], pixels: int) -> tuple[str, str] | None:
    """What is wrong with a row, and the rule that it breaks."""
    if len(cells) != pixels:
        reason = f"has {len(cells):,} values after its name where a patch has {pixels:,} pixels"
        return f"{reason}; export it again", "misaligned row"
    odd = next((cell for cell in cells if cell not in _VALUES), None)
    if odd is None:
        return None
    return f"holds {odd[:20]!r} where only 0 and 1 may stand", "other values than 0 and 1"


def with_labels(dataset: PatchDataset, path: str | os.PathLike[str]) -> PatchDataset:
    """The patches of one split with the masks of a csv instead of theirs.

    What does not fit is named in `rejections`: unusable rows, rows without an image among the
    patches, and patches without a row, which stay and are unlabelled. DatasetError where no row
    fits.
    """
    rows, columns = dataset.images.shape[1:]
    masks, faults, named = _read_rows(path, rows * columns)
    names = [Path(name).stem for name in dataset.names]
    where = Path(path).name
    faults += _unmatched(masks.keys() - set(names), "has no image", "row without an image")
    faults += _unmatched(set(names) - named, f"has no row in {where}", "image without a row")
    labelled = torch.tensor([name in masks for name in names])
    if not labelled.any():
        raise DatasetError(
            f"no row of {where} names one of these {len(names):,} patches; its first row is "
            f"{next(iter(masks))}, the first image {names[0]}"
        )
    planes = torch.zeros_like(dataset.masks)
    for i, name in enumerate(names):
        if name in masks:
            planes[i] = torch.from_numpy(masks[name].reshape(rows, columns))
    return replace(
        dataset, masks=planes, labelled=labelled, rejections=(*dataset.rejections, *faults)
    )


def _unmatched(names: Iterable[str], reason: str, kind: str) -> list[Rejection]:
    return [Rejection(name, f"{reason}; check its name", kind) for name in sorted(names)]

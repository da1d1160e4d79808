"""The challenge's csv: one row per patch, its name and its mask, flattened row by row.

What spreadsheets and pandas make of such a file is read too. Z depth, A azimuth.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.atomic_files import atomic_write
from geoseg.dataset import PatchDataset
from geoseg.dataset.folder import DatasetError, Rejection
from geoseg.file_kinds import HEAD, describe_foreign_file
from geoseg.masks import are_transposed
from geoseg.patches import printable_name

_NAME = re.compile(r"well_\d+_(section_\d+_)?patch_\d+", re.IGNORECASE)
_SEPARATORS = "\t;|, "
_HEADERS = 3  # rows before the first one with a name, at most
_WORDS = {"false": "0", "true": "1"}


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
    """Return flattened masks (pixels,) by patch name, and the rejected rows.

    The separator is a tab, semicolon, bar, comma or space. The masks follow the name, or are the
    columns that a header numbers from 0; other columns, such as an index, are ignored. Names lose
    their folder, `.npy` and upper case. Values are 0 and 1 in any spelling, such as 1.0 or True.

    Rejected are rows with another number of values than `pixels`, with other values than 0 and 1,
    or with a name that occurs more than once. Raise DatasetError if the file is unreadable or has
    no usable row.
    """
    masks: dict[str, NDArray[np.uint8]] = {}
    rejections: list[Rejection] = []
    names: set[str] = set()
    spellings = _Values()
    for number, name, cells in _read_rows(path, pixels):
        row = f"row {number} ({name[:60]})"
        values = [spellings[cell] for cell in cells]
        if name in names:
            masks.pop(name, None)
            reason = "has the name of an earlier row; keep the right one only"
            rejections.append(Rejection(row, reason, "name more than once"))
        elif len(cells) != pixels:
            reason = f"has {len(cells):,} values after its name, not {pixels:,}; export it again"
            rejections.append(Rejection(row, reason, "misaligned row"))
        elif None in values:
            reason = f"holds {cells[values.index(None)][:20]!r}; only 0 and 1 are allowed"
            rejections.append(Rejection(row, reason, "other values than 0 and 1"))
        else:
            masks[name] = np.array(values, np.uint8)
        names.add(name)
    if not masks:
        first = f", the first {rejections[0].name}: {rejections[0].reason}" if rejections else ""
        raise DatasetError(
            f"{path} has no usable row{first}; expected a name such as well_1_patch_0 and then "
            f"{pixels:,} values of 0 and 1"
        )
    return masks, rejections


class _Values(dict[str, int | None]):
    """0 or 1 for each spelling of it; None for another value."""

    def __missing__(self, cell: str) -> int | None:
        text = cell.strip(" '").lower()
        try:
            number = float(_WORDS.get(text, text).replace(",", "."))
        except ValueError:
            return None  # not kept: a file may have millions of other values
        return self.setdefault(cell, int(number)) if number in (0, 1) else None


def _read_rows(path: str | os.PathLike[str], pixels: int) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number, the name and the values of each row, from the first one with a name."""
    try:
        with open(path, "rb") as binary:
            what = describe_foreign_file(binary.read(HEAD))
        if what:
            raise DatasetError(f"{path} {what}")
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = list(itertools.islice(file, _HEADERS))
            lines = itertools.chain(first, file)
            rows = csv.reader(lines, delimiter=_find_separator(first, pixels))
            column: int | None = None
            numbered: dict[int, list[int]] = {}
            for number, row in enumerate(filter(None, rows), 1):
                if column is None:
                    column = next((i for i, cell in enumerate(row[:9]) if _NAME.search(cell)), None)
                if column is None and number <= _HEADERS:
                    numbered |= _find_numbered(row, pixels)
                    continue
                place = min(column or 0, len(row) - 1)
                name = printable_name(re.split(r"[/\\]", row[place].strip())[-1]).lower()
                chosen = numbered.get(len(row), range(place + 1, len(row)))
                yield number, name.removesuffix(".npy"), [row[i] for i in chosen]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as csv ({error}); export it again") from error


def _find_separator(lines: list[str], pixels: int) -> str:
    """Return the separator of the first lines; a comma may be decimal, a space follow another."""
    counts = (max((line.count(s) for line in lines), default=0) for s in _SEPARATORS)
    return next((s for s, n in zip(_SEPARATORS, counts, strict=True) if 2 * n >= pixels), ",")


def _find_numbered(header: list[str], pixels: int) -> dict[int, list[int]]:
    """Return the columns numbered from 0 to `pixels` - 1, by the length of a row, if all are."""
    places = {cell.strip(): i for i, cell in enumerate(header)}
    columns = [places.get(str(pixel), -1) for pixel in range(pixels)]
    return {} if -1 in columns else {len(header): columns}


def replace_labels(dataset: PatchDataset, path: str | os.PathLike[str]) -> PatchDataset:
    """Replace the labels of a data set of one split with those of a csv.

    `rejections` gets unusable rows, rows without an image, and images without a usable row, which
    become unlabelled. Raise DatasetError if no row matches an image, or if the masks are
    transposed.
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
    check_orientation(labels.numpy(), path)
    return replace(
        dataset, masks=labels, labelled=labelled, rejections=(*dataset.rejections, *rejections)
    )


def check_orientation(masks: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Raise DatasetError if the masks (N, Z, A) of a file have grooves along azimuth."""
    if are_transposed(masks):
        raise DatasetError(
            f"the grooves of {path} lie across the pipe, so its masks are transposed; write each "
            "one row by row (depth, azimuth): mask.T instead of mask"
        )

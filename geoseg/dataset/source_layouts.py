"""Find the patches in the files that participants of the challenge have, whatever their layout.

    images_train/ or x_train/, with y_train.csv or y_train/; also images_test/ or x_test/
    X_train.npy, a stack (N, Z, A) or (N, Z, A, 1), with y_train.npy or y_train.csv
    X/well.npy, whole logs, with y/well.npy; what `python -m geoseg.dataset stitch` writes
    {train,validation,test}/images/, the layout of a data set

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.dataset.challenge import check_orientation, read_masks
from geoseg.dataset.folder import SPLITS, DatasetError
from geoseg.input_files import find_child, find_files, find_only_folder, is_hidden
from geoseg.masks import UNKNOWN_LABEL, explain_misfit, interpret_mask, read_noted_mask
from geoseg.patches import PatchError, printable_name, read_arrays
from geoseg.twins import TWIN_COLUMNS, Value, split_twins

Part = tuple[str, Path, Path | None]  # split, images, labels

PATCH_ROWS = 36
PATCH_NAME = re.compile(r"well_(\d{1,9})_(?:section_(\d{1,9})_)?patch_(\d{1,9})")
# What the files or folders of a split are called, without an extension, in lower case.
_IMAGES = {
    "train": ("images_train", "x_train", "x", "images"),
    "validation": ("images_validation", "x_validation", "images_val", "x_val"),
    "test": ("images_test", "x_test"),
}
_LABELS = {
    "train": ("y_train", "labels_train", "masks_train", "y", "labels", "masks"),
    "validation": ("y_validation", "labels_validation", "y_val", "labels_val"),
    "test": ("y_test", "labels_test"),
}


@dataclass(frozen=True, eq=False)
class Piece:
    """One patch of a source.

    Attributes:
        name: its name in the source, without extension; the log's name for a slice of a log.
        image: the file of the patch alone, or the array (Z, A) as stored.
        label: likewise, the mask uint8; None without a label.
        place: well and number of a patch that was cut from a log or a stack; None if `name` says.
    """

    split: str
    name: str
    image: Path | NDArray[np.generic]
    label: Path | NDArray[np.uint8] | None = None
    place: tuple[str, int] | None = None


@dataclass
class Source:
    """The patches of a source, and what was assumed of them, in sentences."""

    pieces: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_source(path: Path) -> Source:
    """Find and read the patches of a folder, or of one stack or log.

    Raise DatasetError if the layout is unknown or ambiguous, and says what was found; PatchError
    if a file that must be read is unusable.
    """
    source = Source()
    level, parts = _find_parts(path)
    for split, images, labels in parts:
        _read_part(source, split, images, labels)
    used = {path for _, *paths in parts for path in paths if path}
    used |= {parent for path in used for parent in path.parents}
    if level.is_dir() and all(images != level for _, images, _ in parts):
        unused = [c.name for c in level.iterdir() if c not in used and not is_hidden(c.name)]
        source.notes += [f"{printable_name(name)} is not used." for name in sorted(unused)]
    return source


def _find_parts(path: Path) -> tuple[Path, list[Part]]:
    """Return the folder of the parts of a source, and the parts."""
    if path.is_file():
        return path, [("train", path, None)]
    parts: list[Part] = []
    found: list[str] = []
    level: Path | None = path
    while level and level.is_dir():
        parts = [part for split in SPLITS if (part := _find_split(level, split))]
        has_files = any(images.is_file() for _, images, _ in parts)
        if not has_files and all(split != "train" for split, _, _ in parts) and _has_arrays(level):
            parts.append(("train", level, _find_role(level, _LABELS["train"])))
        found = sorted(c.name for c in level.iterdir() if not is_hidden(c.name))
        if parts:
            return level, parts
        level = find_only_folder(level)
    inside = f"holds {', '.join(found[:9])}" if path.is_dir() else "does not exist"
    raise DatasetError(
        f"{printable_name(f'{path} {inside}')}; expected images_train/ or x_train/ and "
        "y_train.csv, a stack X_train.npy and y_train.npy, or logs X/well.npy and y/well.npy"
    )


def _find_split(folder: Path, split: str) -> Part | None:
    """Return the part of a split: in a folder of its name, or in files named after it."""
    own = find_child(folder, split)
    if own and own.is_dir():
        images = find_child(own, "images") or (own if _has_arrays(own) else None)
        return (split, images, find_child(own, "labels")) if images else None
    images = _find_role(folder, _IMAGES[split])
    return (split, images, _find_role(folder, _LABELS[split])) if images else None


def _has_arrays(folder: Path) -> bool:
    return any(f.suffix.lower() == ".npy" and not is_hidden(f.name) for f in folder.iterdir())


def _find_role(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the only child of one of these names, a folder, `.npy` or `.csv`."""
    found = [
        child
        for child in folder.iterdir()
        if (child.name if child.is_dir() else child.stem).lower() in names
        and (child.is_dir() or child.suffix.lower() in (".npy", ".csv"))
    ]
    if len(found) > 1:
        listed = " and ".join(sorted(child.name for child in found))
        raise DatasetError(f"{printable_name(f'{folder} holds {listed}')}; keep one of them")
    return found[0] if found else None


def _read_part(source: Source, split: str, images: Path, labels: Path | None) -> None:
    files = [images] if images.is_file() else find_files(images)
    is_csv = labels is not None and labels.is_file() and labels.suffix.lower() == ".csv"
    masks: dict[str, NDArray[np.uint8]] | None = None
    for file in files:
        name, arrays = read_arrays(file)
        is_patch = len(arrays) == 1 and PATCH_NAME.fullmatch(file.stem.lower())
        if is_csv and masks is None and labels:
            masks = _read_csv(source, labels, arrays.shape[1:])
        if len(arrays) > 1:
            _add_stack(source, split, file, arrays, labels, masks)
        elif is_patch:
            known = masks or {}
            label = known.get(file.stem.lower()) if is_csv else _find_label(labels, file)
            source.pieces.append(Piece(split, file.stem.lower(), file, label))
        elif is_csv:
            raise DatasetError(
                f"{name} is no patch named well_K_patch_I, so no row of the csv is its label; "
                "rename it"
            )
        else:
            _add_log(source, split, file, arrays[0], _find_label(labels, file))


def _read_csv(source: Source, path: Path, shape: tuple[int, ...]) -> dict[str, NDArray[np.uint8]]:
    masks, rejections = read_masks(path, shape[0] * shape[1])
    source.notes += [f"{path.name}, {r.name}: {r.reason}." for r in rejections]
    shaped = {name: mask.reshape(shape) for name, mask in masks.items()}
    check_orientation(np.stack(list(shaped.values())), path)
    return shaped


def _find_label(labels: Path | None, image: Path) -> Path | None:
    """Return the label of an image: in a folder by its name, or a file for a single image."""
    if not labels or labels.is_file():
        return labels
    return find_child(labels, image.name)


def _add_stack(
    source: Source,
    split: str,
    file: Path,
    arrays: NDArray[np.generic],
    labels: Path | None,
    rows: Mapping[str, NDArray[np.uint8]] | None,
) -> None:
    """Add the patches of a stack (N, Z, A), with a stack of masks or the rows of a csv."""
    count, names = len(arrays), None
    masks: list[NDArray[np.uint8]] = []
    if rows is not None:
        names, masks = list(rows), list(rows.values())
    elif path := _find_label(labels, file):
        masks = _read_stack_of_masks(source, path)
    if masks and len(masks) != count:
        raise DatasetError(
            f"{file.name} has {count:,} patches but {len(masks):,} masks; give the masks of all"
        )
    if masks and (fault := explain_misfit(masks[0].shape, arrays.shape[1:])):
        raise DatasetError(f"each mask of {file.name} {fault}")
    said = "have the names of the csv's rows, in order" if names else "are taken for one well"
    source.notes.append(f"The {count:,} patches of the stack {file.name} {said}.")
    for i, array in enumerate(arrays):
        mask = masks[i] if masks else None
        place = None if names else (file.stem, i)
        name = names[i] if names else f"{file.stem}[{i}]"
        source.pieces.append(Piece(split, name, array, mask, place))


def _read_stack_of_masks(source: Source, path: Path) -> list[NDArray[np.uint8]]:
    name, arrays = read_arrays(path, kinds="biuf", member="mask.npy")
    mask = interpret_mask(arrays.reshape(-1, arrays.shape[2]), name)  # one meaning of 255 for all
    source.notes += [f"{name}: {note}" for note in mask.notes]
    masks = mask.pixels.reshape(arrays.shape)
    check_orientation(masks, path)
    return list(masks)


def _add_log(
    source: Source, split: str, file: Path, log: NDArray[np.generic], label: Path | None
) -> None:
    """Add the slices of 36 rows of a log (Z, A), as twins if it has 72 columns."""
    count = len(log) // PATCH_ROWS
    if not count:
        raise PatchError(
            f"{file.name} has {len(log)} rows, fewer than the {PATCH_ROWS} of a patch; remove it."
        )
    mask = None
    if label:
        read = read_noted_mask(label, unknown=True)
        if fault := explain_misfit(read.pixels.shape, log.shape):
            raise PatchError(f"{read.name} {fault}.")
        mask = read.pixels
        source.notes += [f"{split}/labels/{read.name}: {note}" for note in read.notes]
    unknown = 0
    images, masks = _cut_log(log), None if mask is None else _cut_log(mask)
    for i, image in enumerate(images):
        part = None if masks is None else masks[i]
        if part is not None and (part == UNKNOWN_LABEL).any():
            part, unknown = None, unknown + 1
        source.pieces.append(Piece(split, file.stem, image, part, (file.stem, i)))
    twins = ", the even and the odd columns as twins" if log.shape[1] == TWIN_COLUMNS else ""
    note = f"{file.name} was cut into {count:,} slices of {PATCH_ROWS} rows{twins}"
    if rest := len(log) % PATCH_ROWS:
        note += f"; its last {rest} rows are left out"
    if unknown:
        note += f"; {unknown:,} patches hold unknown labels and get none"
    source.notes.append(f"{note}.")


def _cut_log(log: NDArray[Value]) -> list[NDArray[Value]]:
    """Return the slices of a log (Z, A) in the order of their numbers."""
    rows = range(0, len(log) - PATCH_ROWS + 1, PATCH_ROWS)
    slices = [log[row : row + PATCH_ROWS] for row in rows]
    if log.shape[1] != TWIN_COLUMNS:
        return slices
    return [twin for part in slices for twin in split_twins(part)]

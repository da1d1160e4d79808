"""Lay out the patches of a source as a data set, with wells and patches numbered."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.atomic_files import name_in_errors
from geoseg.dataset.folder import DatasetError
from geoseg.dataset.source_layouts import PATCH_NAME, Piece, Source
from geoseg.progress import track_progress

MAPPING_NAME = "names.csv"
_GAP = 2  # numbers between two sections: they do not adjoin, and twins stay even and odd


@dataclass(frozen=True, eq=False)
class Placed:
    """A piece, and its well and number in the data set."""

    piece: Piece
    split: str
    well: int
    index: int

    @property
    def name(self) -> str:
        """Return the file's name in the data set."""
        return f"well_{self.well}_patch_{self.index}.npy"


def place_pieces(source: Source, validation: Collection[int]) -> list[Placed]:
    """Give every piece its split, well and number; `validation` are wells taken from `train`.

    The sections of a well get numbers one after the other, logs and stacks without a well in their
    names the next free wells. Raise DatasetError if two pieces get one name, or a well is unknown.
    """
    wells = _number_wells(source.pieces)
    offsets = _number_sections(source.pieces)
    placed: dict[tuple[str, int, int], Placed] = {}
    for piece in source.pieces:
        if piece.place:
            well, index = wells[_get_domain(piece), piece.place[0]], piece.place[1]
        else:
            well, section, number = _parse_name(piece.name)
            index = offsets[_get_domain(piece), well, section] + number
        is_held_out = piece.split == "train" and well in validation
        item = Placed(piece, "validation" if is_held_out else piece.split, well, index)
        other = placed.setdefault((_get_domain(piece), well, index), item)
        if other is not item:
            raise DatasetError(
                f"{piece.name} and {other.piece.name} would both be {item.name}; rename one"
            )
    known = {item.well for item in placed.values() if item.piece.split == "train"}
    if unknown := sorted(set(validation) - known):
        raise DatasetError(
            f"there is no well {unknown[0]} in train/; the wells are {sorted(known)}"
        )
    return list(placed.values())


def write_pieces(placed: list[Placed], target: Path, out: Path) -> None:
    """Write the images and labels into `target`, which becomes `out`, and the changed names."""
    for item in track_progress(placed, "Importing"):
        for kind, content in (("images", item.piece.image), ("labels", item.piece.label)):
            if content is None:
                continue
            path = target / item.split / kind / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with name_in_errors(out):
                if isinstance(content, Path):
                    shutil.copyfile(content, path)  # nothing is lost
                else:
                    buffer = io.BytesIO()
                    np.save(buffer, content, allow_pickle=False)
                    path.write_bytes(buffer.getbuffer())
    if changed := [item for item in placed if f"{item.piece.name}.npy" != item.name]:
        with name_in_errors(out), (target / MAPPING_NAME).open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["old", "new"])
            rows.writerows([i.piece.name, f"{i.split}/images/{i.name}"] for i in changed)


def _get_domain(piece: Piece) -> str:
    """Return "test", whose wells have their own numbers, or "train"."""
    return "test" if piece.split == "test" else "train"


def _parse_name(name: str) -> tuple[int, int, int]:
    """Return well, section (0 without one) and number of a patch's name."""
    match = PATCH_NAME.fullmatch(name)
    if not match:
        raise DatasetError(f"{name} is not named well_K_patch_I or well_K_section_S_patch_I")
    well, section, number = (int(part or 0) for part in match.groups())
    return well, section, number


def _number_wells(pieces: list[Piece]) -> dict[tuple[str, str], int]:
    """Return the well of each log or stack: that of its name, or the next free number."""
    logs = dict.fromkeys((_get_domain(p), p.place[0]) for p in pieces if p.place)
    named = {log: re.fullmatch(r"well_(\d{1,9})", log[1].lower()) for log in logs}
    wells = {log: int(match[1]) for log, match in named.items() if match}
    taken = {(_get_domain(p), _parse_name(p.name)[0]) for p in pieces if not p.place}
    taken |= {(log[0], well) for log, well in wells.items()}
    for log in logs:
        if log not in wells:
            wells[log] = next(n for n in range(1, len(taken) + 2) if (log[0], n) not in taken)
            taken.add((log[0], wells[log]))
    return wells


def _number_sections(pieces: list[Piece]) -> dict[tuple[str, int, int], int]:
    """Return what is added to the number of a patch, by domain, well and section; it is even."""
    last: dict[tuple[str, int, int], int] = {}
    for piece in pieces:
        if not piece.place:
            well, section, number = _parse_name(piece.name)
            key = (_get_domain(piece), well, section)
            last[key] = max(last.get(key, 0), number)
    offsets: dict[tuple[str, int, int], int] = {}
    ends: dict[tuple[str, int], int] = {}
    for domain, well, section in sorted(last):
        offset = ends.get((domain, well), 0)
        offsets[domain, well, section] = offset
        end = offset + last[domain, well, section] + 1
        ends[domain, well] = end + end % 2 + _GAP
    return offsets

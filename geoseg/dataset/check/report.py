"""Find what is wrong with a folder of patches for training and validation, and tabulate it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isnan
from typing import NamedTuple

import torch
from rich.table import Table

from geoseg.dataset.check.duplicates import DuplicateWells, find_duplicate_wells
from geoseg.dataset.folder import SPLITS, format_count
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import Well, find_wells, get_well_names

# The instrument causes nulls; every other rejection is a mistake in the files.
NULL_KINDS = frozenset({"mostly null", "null everywhere"})


class Leak(NamedTuple):
    """Number of patches of `validation` that are in `train`, by their names."""

    same: int = 0
    twin: int = 0  # the twin is in `train`
    neighbour: int = 0  # a neighbour in depth is in `train`


class DatasetReport:
    """What a data set holds, and whether a score on it would be unbiased.

    Attributes:
        wells: the wells, as `find_wells` returns them.
        duplicates: the pairs of duplicate wells.
        splits: the splits of each well, by its name.
        leaks: the leak of each well that is in `train` and in `validation`, by its name.
    """

    def __init__(self, dataset: PatchDataset) -> None:
        self.dataset = dataset
        self.wells = find_wells(dataset)
        self.duplicates = find_duplicate_wells(dataset)
        self.splits = {
            well.name: [split for split in SPLITS if split in well.patches.splits]
            for well in self.wells
        }
        self.leaks = {
            well.name: _count_leak(well)
            for well in self.wells
            if {"train", "validation"} <= {*self.splits[well.name]}
        }
        self._names = get_well_names(dataset)

    def find_problems(self) -> list[str]:
        """Return a sentence for each problem for training; none if the folder is sound."""
        kinds = Counter(r.kind for r in self.dataset.rejections if r.kind not in NULL_KINDS)
        return [
            *(f"{format_count(n, 'file')} rejected: {kind}" for kind, n in kinds.most_common()),
            *self._describe_missing_labels(),
            *self._describe_leaks(),
            *map(self._describe_pair, self.duplicates),
        ]

    def make_notes(self) -> dict[str, list[str]]:
        """Return what is wrong with each leaking well, as lines of a few words."""
        notes = {name: [" and ".join(self.splits[name])] for name in self.leaks}
        for pair in self.duplicates:
            for name, other in ((pair.well, pair.other), (pair.other, pair.well)):
                notes.setdefault(name, []).append(f"like {other}")
        return notes

    def _describe_missing_labels(self) -> Iterator[str]:
        usable = self.dataset.labelled & self.dataset.in_splits("train", "validation")
        if not usable.any():
            yield (
                "no patch of train/ or validation/ has a label, so there is nothing to train on; "
                "add labels/ beside images/, or train with --labels y_train.csv"
            )
            return
        for split in ("train", "validation"):
            labelled = usable & self.dataset.in_splits(split)
            if not labelled.any():
                yield f"{split}/ has no labelled patch: train with --leave-out, --fold or --folds"
            elif not self.dataset.masks[labelled].any():
                yield f"{split}/ has no groove in any label"

    def _describe_leaks(self) -> Iterator[str]:
        if not self.leaks:
            return
        same, twin, neighbour = (sum(part) for part in zip(*self.leaks.values(), strict=True))
        patches = int(self.dataset.in_splits("validation").sum())
        yield (
            f"train/ and validation/ both hold patches of {', '.join(self.leaks)}, so the score is "
            f"biased: of {format_count(patches, 'validation patch')} {same:,} are in train/ too, "
            f"{twin:,} have their twin there and {neighbour:,} a neighbour in depth; leave whole "
            "wells out"
        )

    def _describe_pair(self, pair: DuplicateWells) -> str:
        first, second = (self.dataset.names[i] for i in pair.example)
        in_test = "test" in (*self.splits[pair.well], *self.splits[pair.other])
        advice = "a score on it is biased" if in_test else "leave out both or neither"
        return (
            f"{self._locate(pair.well)} looks like the pipe of {self._locate(pair.other)}: "
            f"{len(pair.patches):,} of its {self._names.count(pair.well):,} patches are copies or "
            f"twins (correlation up to {pair.correlation:.2f}: {first} and {second}), so assume "
            f"that all are; {advice}"
        )

    def _locate(self, name: str) -> str:
        """Return, for example, "well 3 of train/"."""
        folders = " and ".join(f"{split}/" for split in self.splits[name])
        return f"well {name.rpartition('_')[2]} of {folders}"

    def make_table(self) -> Table:
        """Return a row for every well of every split, and one for the split.

        The last columns count patches that leak: those of `validation` that are in `train` under
        the same name, whose twin or neighbour in depth is, and copies or twins of another well's
        patches.
        """
        headings = ("patches", "missing", "columns", "null", "with groove", "groove")
        leaks = ("in train", "twin in train", "next to train", "in other wells")
        table = make_table("split", "well", *headings, *leaks)
        for split in (name for name in SPLITS if name in self.dataset.splits):
            wells = [well for well in self.wells if split in self.splits[well.name]]
            for well in wells:
                number = well.name.rpartition("_")[2]
                table.add_row(split, number, *self._make_cells(split, [well]))
            cells = self._make_cells(split, wells)
            table.add_row(split, "all", *cells, style="bold", end_section=True)
        if any(isnan(well.correlation) for well in self.wells):
            table.caption = "?: this well has no neighbouring patches that could be twins."
            table.caption_justify = "left"
        for column in table.columns:  # rich cuts a word if its column is too narrow
            column.no_wrap = column.header in ("split", "columns")
        return table

    def _make_cells(self, split: str, wells: Sequence[Well]) -> list[str]:
        """Return the cells for the patches of some wells in a split."""
        names = {well.name for well in wells}
        chosen = self.dataset.in_splits(split) & torch.tensor([n in names for n in self._names])
        patches = self.dataset.select(chosen)
        missing = 0
        for well in patches.wells.unique():
            indices = patches.indices[patches.wells == well]
            missing += int(indices.max() - indices.min()) + 1 - len(indices.unique())
        columns = ""
        if len(wells) == 1:
            columns = format_width(wells[0]) + "?" * isnan(wells[0].correlation)
        share, pixels = "-", "-"
        masks = patches.masks[patches.labelled].float()
        if len(masks):
            share, pixels = f"{masks.amax((1, 2)).mean():.0%}", f"{masks.mean():.1%}"
        leaks = ["-"] * len(Leak._fields)
        if split == "validation":
            counts = [self.leaks.get(name, Leak()) for name in names]
            leaks = [f"{sum(part):,}" for part in zip(*counts, strict=True)]
        copies = {i for pair in self.duplicates for i in (*pair.patches, *pair.other_patches)}
        copies &= set(chosen.nonzero()[:, 0].tolist())
        nulls = f"{patches.images.isnan().float().mean():.1%}"
        return [
            *(f"{len(patches):,}", f"{missing:,}", columns, nulls, share, pixels),
            *(*leaks, f"{len(copies):,}"),
        ]


def _count_leak(well: Well) -> Leak:
    rows = list(zip(well.patches.splits, well.patches.indices.tolist(), strict=True))
    train = {index for split, index in rows if split == "train"}
    depths = {index // well.twin_count for index in train}
    validation = [index for split, index in rows if split == "validation"]
    return Leak(
        same=sum(index in train for index in validation),
        twin=sum(well.has_twins and index ^ 1 in train for index in validation),
        neighbour=sum(
            not depths.isdisjoint((index // well.twin_count - 1, index // well.twin_count + 1))
            for index in validation
        ),
    )


def make_table(first: str, *others: str) -> Table:
    """Return an empty table whose columns, except for the first, are aligned to the right."""
    table = Table(first, box=None, collapse_padding=True, pad_edge=False)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def format_width(well: Well) -> str:
    """Return the columns of a well's log, and whether they are twins."""
    return f"{well.shape[1]}{' in twins' * well.has_twins}"

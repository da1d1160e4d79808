"""Find what is wrong with a folder of patches for training and validation.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from geoseg.dataset.check.duplicates import DuplicateWells
from geoseg.dataset.folder import SPLITS, DatasetError, format_count
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import Well, get_well_names

# The instrument causes nulls; every other rejection is a mistake in the files.
NULL_KINDS = frozenset({"mostly null", "null everywhere"})
_MAX_PAIRS = 10  # pairs of wells that get a sentence each


class Leak(NamedTuple):
    """Number of patches of `validation` that are in `train`, by their names."""

    same: int = 0
    twin: int = 0  # the twin is in `train`
    neighbour: int = 0  # a neighbour in depth is in `train`


@dataclass(frozen=True)
class DatasetReport:
    """A data set, its wells as `find_wells` returns them, and its duplicate wells."""

    dataset: PatchDataset
    wells: Sequence[Well]
    duplicates: Sequence[DuplicateWells]

    @cached_property
    def names(self) -> list[str]:
        """Return the name of each patch's well."""
        return get_well_names(self.dataset)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Return the splits of each well."""
        return {
            well.name: sorted(set(well.patches.splits), key=SPLITS.index) for well in self.wells
        }

    @cached_property
    def leaks(self) -> dict[str, Leak]:
        """Return the leak of each well that is in `train` and in `validation`."""
        return {
            well.name: _count_leak(well)
            for well in self.wells
            if {"train", "validation"} <= {*self.splits[well.name]}
        }

    @cached_property
    def duplicated_patches(self) -> set[int]:
        """Return the positions of the patches that are copies or twins of another well's."""
        return {i for pair in self.duplicates for i in (*pair.patches, *pair.other_patches)}

    def find_problems(self) -> list[str]:
        """Return a sentence for each problem for training; none if the folder is sound."""
        return [
            *self._describe_rejections(),
            *self._describe_large_logs(),
            *self._describe_missing_labels(),
            *self._describe_leaks(),
            *self._describe_duplicates(),
        ]

    def make_notes(self) -> dict[str, list[str]]:
        """Return what is wrong with each leaking well, as lines of a few words."""
        notes = {name: [" and ".join(self.splits[name])] for name in self.leaks}
        for pair in self.duplicates:
            for name, other in ((pair.well, pair.other), (pair.other, pair.well)):
                notes.setdefault(name, []).append(f"like {other}")
        return notes

    def _describe_rejections(self) -> Iterator[str]:
        kinds = Counter(r.kind for r in self.dataset.rejections if r.kind not in NULL_KINDS)
        for kind, count in kinds.most_common():
            yield f"{format_count(count, 'file')} rejected: {kind}"

    def _describe_large_logs(self) -> Iterator[str]:
        for well in self.wells:
            try:
                well.check_size()
            except DatasetError as error:
                yield str(error)

    def _describe_missing_labels(self) -> Iterator[str]:
        usable = self.dataset.labelled & self.dataset.in_splits("train", "validation")
        wells = self.dataset.wells[usable].unique().tolist()
        if not wells:
            yield (
                "no patch of train/ or validation/ has a label, so there is nothing to train on; "
                "add labels/ beside images/ (geoseg.dataset.challenge.read_masks reads labels from "
                "the challenge's y_train.csv)"
            )
            return
        for split in ("train", "validation"):
            labelled = usable & self.dataset.in_splits(split)
            if not labelled.any():
                advice = "train with --leave-out, --fold or --folds"
                if len(wells) == 1:
                    advice = f"only well {wells[0]} has labels, so label another one to validate"
                yield f"{split}/ has no labelled patch: {advice}"
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

    def _describe_duplicates(self) -> Iterator[str]:
        """Yield a sentence for each pair of wells, pairs of different splits first."""
        pairs = sorted(self.duplicates, key=lambda p: self.splits[p.well] == self.splits[p.other])
        for pair in pairs[:_MAX_PAIRS]:
            yield self._describe_pair(pair)
        if len(pairs) > _MAX_PAIRS:
            yield f"{format_count(len(pairs) - _MAX_PAIRS, 'more pair')} of duplicate wells"

    def _describe_pair(self, pair: DuplicateWells) -> str:
        names = self.dataset.names
        first, second = (names[i] for i in pair.example)
        patches = format_count(self.names.count(pair.well), "patch")
        in_test = "test" in (*self.splits[pair.well], *self.splits[pair.other])
        advice = "a score on it is biased" if in_test else "leave out both or neither"
        return (
            f"{self._locate(pair.well)} looks like the pipe of {self._locate(pair.other)}: "
            f"{len(pair.patches):,} of its {patches} "
            f"{'is a copy or a twin' if len(pair.patches) == 1 else 'are copies or twins'} "
            f"(correlation up to {pair.correlation:.2f}: {first} and {second}), so assume that all "
            f"are; {advice}"
        )

    def _locate(self, name: str) -> str:
        """Return, for example, "well 3 of train/"."""
        folders = " and ".join(f"{split}/" for split in self.splits[name])
        return f"well {name.rpartition('_')[2]} of {folders}"


def _count_leak(well: Well) -> Leak:
    rows = list(zip(well.patches.splits, well.patches.indices.tolist(), strict=True))
    train = {index for split, index in rows if split == "train"}
    validation = [index for split, index in rows if split == "validation"]
    return Leak(
        same=sum(index in train for index in validation),
        twin=sum(well.has_twins and index ^ 1 in train for index in validation),
        neighbour=sum(_has_neighbour(train, index, well.has_twins) for index in validation),
    )


def _has_neighbour(train: set[int], index: int, has_twins: bool) -> bool:
    if not has_twins:
        return index - 1 in train or index + 1 in train
    even = index - index % 2  # the first of the two patches at this depth
    return any(even + step in train for step in (-2, -1, 2, 3))

"""What a folder of patches holds, and what a training on it should know.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from geoseg.dataset.check.duplicates import DuplicateWells
from geoseg.dataset.folder import SPLITS, DatasetError, format_count
from geoseg.dataset.loading import PatchDataset
from geoseg.dataset.stitching import Well, well_names

# Losing a patch to nulls is in the nature of the data; any other rejection is somebody's mistake.
NULL_KINDS = frozenset({"mostly null", "null everywhere"})
_MOST = 10  # pairs of wells that are told one by one


class Leak(NamedTuple):
    """How many patches of `validation` have, by their names, an answer in `train`."""

    same: int = 0
    twin: int = 0
    near: int = 0  # a neighbour in depth


@dataclass(frozen=True)
class DatasetReport:
    """A folder, its wells as `find_wells` gives them, and which of them show the same pipe."""

    dataset: PatchDataset
    wells: Sequence[Well]
    lookalikes: Sequence[DuplicateWells]

    @cached_property
    def names(self) -> list[str]:
        """The well of each patch."""
        return well_names(self.dataset)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """Which splits each well is in."""
        return {
            well.name: sorted(set(well.patches.splits), key=SPLITS.index) for well in self.wells
        }

    @cached_property
    def leaks(self) -> dict[str, Leak]:
        """Of each well that is on both sides of the folder's split."""
        return {
            w.name: _leak(w)
            for w in self.wells
            if {"train", "validation"} <= {*self.splits[w.name]}
        }

    @cached_property
    def elsewhere(self) -> set[int]:
        """The positions of the patches that are copies or twins of another well's."""
        return {i for pair in self.lookalikes for i in (*pair.patches, *pair.others)}

    def problems(self) -> list[str]:
        """All that a training should know of, a sentence each; none if the folder is sound."""
        return [
            *self._rejected(),
            *self._too_long(),
            *self._unlabelled(),
            *self._straddling(),
            *self._alike(),
        ]

    def notes(self) -> dict[str, list[str]]:
        """What is wrong with each well that leaks, a few words a line."""
        found = {name: [" and ".join(self.splits[name])] for name in self.leaks}
        for pair in self.lookalikes:
            for name, other in ((pair.well, pair.other), (pair.other, pair.well)):
                found.setdefault(name, []).append(f"like {other}")
        return found

    def _rejected(self) -> list[str]:
        kinds = Counter(r.kind for r in self.dataset.rejections if r.kind not in NULL_KINDS)
        return [f"{format_count(n, 'file')} left out: {kind}" for kind, n in kinds.most_common()]

    def _too_long(self) -> list[str]:
        problems = []
        for well in self.wells:
            try:
                well.check_size()
            except DatasetError as error:
                problems.append(str(error))
        return problems

    def _unlabelled(self) -> list[str]:
        usable = self.dataset.labelled & self.dataset.in_splits("train", "validation")
        wells = self.dataset.wells[usable].unique().tolist()
        if not wells:
            return [
                "no patch of train/ or validation/ has a label, so there is nothing to train on; "
                "add labels/ beside images/ (geoseg.dataset.challenge.read_masks reads masks of "
                "the challenge's y_train.csv)"
            ]
        problems = []
        for split in ("train", "validation"):
            labelled = usable & self.dataset.in_splits(split)
            if not labelled.any():
                advice = "a training needs --leave-out, --fold or --folds"
                if len(wells) == 1:
                    advice = f"well {wells[0]} alone has labels, so label another one to validate"
                problems.append(f"{split}/ has no labelled patch: {advice}")
            elif not self.dataset.masks[labelled].any():
                problems.append(f"{split}/ has no groove in any label")
        return problems

    def _straddling(self) -> list[str]:
        if not self.leaks:
            return []
        same, twin, near = (sum(part) for part in zip(*self.leaks.values(), strict=True))
        patches = int(self.dataset.in_splits("validation").sum())
        return [
            f"train/ and validation/ both hold patches of {', '.join(self.leaks)}, so no score is "
            f"honest: of {format_count(patches, 'validation patch')} {same:,} are in train/ too, "
            f"{twin:,} have their twin there and {near:,} a neighbour in depth; leave whole wells "
            "out"
        ]

    def _alike(self) -> list[str]:
        """A sentence for each pair of wells, those across splits first."""
        pairs = sorted(self.lookalikes, key=lambda p: self.splits[p.well] == self.splits[p.other])
        told = [self._told(pair) for pair in pairs[:_MOST]]
        if len(pairs) > _MOST:
            told.append(
                f"{format_count(len(pairs) - _MOST, 'more pair')} of wells look alike as well"
            )
        return told

    def _told(self, pair: DuplicateWells) -> str:
        names = self.dataset.names
        first, second = (names[i] for i in pair.example)
        whole = self.names.count(pair.well)
        share = f"{len(pair.patches):,} of its {format_count(whole, 'patch')}"
        tested = "test" in (*self.splits[pair.well], *self.splits[pair.other])
        advice = "no score on it is honest" if tested else "leave out both or neither"
        return (
            f"{self._place(pair.well)} looks like the pipe of {self._place(pair.other)}: {share} "
            f"{'is a copy or a twin' if len(pair.patches) == 1 else 'are copies or twins'} "
            f"(likeness up to {pair.likeness:.2f}: {first} and {second}), so take all of it for "
            f"such; {advice}"
        )

    def _place(self, name: str) -> str:
        """Such as "well 3 of train/"."""
        folders = " and ".join(f"{split}/" for split in self.splits[name])
        return f"well {name.rpartition('_')[2]} of {folders}"


def _leak(well: Well) -> Leak:
    rows = list(zip(well.patches.splits, well.patches.indices.tolist(), strict=True))
    train = {index for split, index in rows if split == "train"}
    inside = [index for split, index in rows if split == "validation"]
    return Leak(
        same=sum(index in train for index in inside),
        twin=sum(well.twins and index ^ 1 in train for index in inside),
        near=sum(_has_neighbour(train, index, well.twins) for index in inside),
    )


def _has_neighbour(train: set[int], index: int, twins: bool) -> bool:
    if not twins:
        return index - 1 in train or index + 1 in train
    first = index - index % 2  # of the two patches at this depth
    return any(first + step in train for step in (-2, -1, 2, 3))

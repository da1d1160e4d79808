"""Synthetic patches made on request, from a seed and a few knobs, and stamped letters.

Z depth, A azimuth. Nothing is kept but a few patches that were made last: seed and knobs come with
every message, so a link shows the same patch everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from geoseg.page.browse import Entry, Patches, PatchSet
from geoseg.page.request import fields, number
from geoseg.synthetic import synthesize
from geoseg.synthetic.datasets import PATCH_SIZE
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.toy_labels import MODES, Mode, stamp_toy_labels
from geoseg.synthetic.well_parameters import sample_well_parameters

COUNT = 10_000  # seeds to browse
_DIGITS = 4  # of a knob's value that count


class Knob(NamedTuple):
    """A slider for a field of `WellParameters`: its range and its step."""

    field: str
    low: float
    high: float
    step: float


KNOBS = {
    "width": Knob("width", 1.4, 6.0, 0.1),  # columns
    "contrast": Knob("contrast", 0.005, 0.15, 0.005),  # inches
    "drift": Knob("drift", 0.0, 20.0, 0.5),  # columns per 100 rows
    "collar": Knob("collar_height", 0.0, 0.3, 0.01),  # inches; 0 is no collar
    "lattice": Knob("lattice", 0.0, 0.03, 0.001),  # inches; 0 is no lattice
    "noise": Knob("noise", 0.0, 0.01, 0.0002),  # inches
    "nulls": Knob("nulls", 0.0, 0.5, 0.01),  # share of rows
}
_NAME = re.compile(r"synthetic (\d{1,5})")


@dataclass(frozen=True)
class SyntheticPatches:
    """COUNT patches of as many pipes, each made when it is asked for; the first has seed 1.

    `knobs` are (name, value) pairs, in the order of KNOBS; what has none is as the pipe drew it.
    """

    knobs: tuple[tuple[str, float], ...] = ()
    label: str = "Synthetic pipes"

    @property
    def names(self) -> list[str]:
        """Return nothing: there are too many names, and `find` knows them all."""
        return []

    @property
    def notes(self) -> list[str]:
        """Return nothing, as for the names."""
        return []

    @property
    def labelled(self) -> int:
        """Return the number of patches: all have a label."""
        return COUNT

    @classmethod
    def parse(cls, raw: Any) -> SyntheticPatches:
        """Parse the pipes of a message; its `knobs` are values by name, clamped to their range."""
        given = fields(fields(raw).get("knobs"))
        knobs = tuple(
            (name, round(number(given[name], knob.low, knob.high), _DIGITS))
            for name, knob in KNOBS.items()
            if isinstance(given.get(name), int | float)
        )
        return cls(knobs)

    def __len__(self) -> int:
        """Return the number of seeds."""
        return COUNT

    def entry(self, index: int) -> Entry:
        """Make the patch of seed `index` + 1; `facts["drawn"]` has the values drawn."""
        return _make(range(COUNT)[index] + 1, self.knobs)

    def find(self, name: str, index: int) -> int:
        """Return the index of "synthetic 17", or else `index` modulo the number of patches."""
        match = _NAME.fullmatch(name)
        if match and 1 <= int(match[1]) <= COUNT:
            return int(match[1]) - 1
        return index % COUNT


@dataclass(frozen=True, eq=False)
class LetteredPatches:
    """Other patches with letters on them, which are the truth; a patch always gets the same ones.

    A patch too small for a letter stays as it is, and `facts["note"]` says why.
    """

    patches: Patches
    mode: Mode
    _made: dict[int, Entry] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """Return the label of the underlying patches."""
        return self.patches.label

    @property
    def names(self) -> list[str]:
        """Return the names of the underlying patches."""
        return self.patches.names

    @property
    def notes(self) -> list[str]:
        """Return what was assumed of the underlying patches."""
        return self.patches.notes

    @property
    def labelled(self) -> int:
        """Return the number of patches: all but small ones have a label."""
        return len(self.patches)

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.patches)

    def entry(self, index: int) -> Entry:
        """Return the patch at `index` with its letters."""
        if index not in self._made:
            self._made[index] = self._stamp(index)
        return self._made[index]

    def _stamp(self, index: int) -> Entry:
        entry = self.patches.entry(index)
        try:
            image, mask = stamp_toy_labels(
                torch.from_numpy(entry.patch)[None], self.mode, seed=int(index)
            )
        except ValueError as error:
            return replace(entry, facts={**entry.facts, "note": str(error)})
        return replace(entry, patch=image[0].numpy(), truth=mask[0].numpy())

    def find(self, name: str, index: int) -> int:
        """Find a patch as the underlying patches do."""
        return self.patches.find(name, index)


def with_letters(patches: Patches, raw: Any) -> Patches:
    """Return the patches with the `letters` that a message asks for, if any."""
    letters = fields(raw).get("letters")
    mode = next((mode for mode in MODES if mode == letters), None)
    if mode is None:
        return patches
    if not isinstance(patches, PatchSet):  # made anew for every question
        return LetteredPatches(patches, mode)
    if mode not in patches.made:
        patches.made.clear()  # one at a time: it takes as much memory again
        patches.made[mode] = LetteredPatches(patches, mode)
    return patches.made[mode]


@lru_cache(maxsize=256)
def _make(seed: int, knobs: tuple[tuple[str, float], ...]) -> Entry:
    images, masks = synthesize(
        1,
        PATCH_SIZE,
        seed=seed,
        fixed=_fixed(dict(knobs)),
        collar_row=_collar_row(seed) if dict(knobs).get("collar") else None,
    )
    # Drawn first, so that the same seed gives the same character.
    own = sample_well_parameters(RandomStream(seed, "cpu"), 1)
    drawn = {name: round(getattr(own, knob.field).item(), _DIGITS) for name, knob in KNOBS.items()}
    drawn["lattice"] *= own.lattice_share.item() > 0
    return Entry(f"synthetic {seed}", images[0].numpy(), masks[0].numpy(), {"drawn": drawn})


def _fixed(knobs: dict[str, float]) -> dict[str, float | tuple[float, ...]]:
    """Return the `WellParameters` that make the effect of the knobs visible on one patch."""
    fixed: dict[str, float | tuple[float, ...]] = {
        KNOBS[name].field: value for name, value in knobs.items()
    }
    if {"width", "contrast", "drift"} & knobs.keys():  # of a groove: so there is one
        fixed |= {"occupancy": (0.995, float("nan"), float("nan")), "longest": 1e6}
    if "collar" in knobs:
        thick = 6.0 if knobs["collar"] else 0.0
        fixed |= {"collar": thick} | ({} if thick else {"strays": 0.0})
    if "lattice" in knobs:
        fixed["lattice_share"] = 1.0
    if "nulls" in knobs:
        fixed["nulls"] = max(knobs["nulls"], 1e-6)
    return fixed


def _collar_row(seed: int) -> int:
    """Choose the row of the collar that a knob asks for: inside the patch, by seed."""
    return 3 + 7 * seed % (PATCH_SIZE - 12)

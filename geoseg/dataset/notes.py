"""What was assumed of the patches of a data set, in a few sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from geoseg.dataset.folder import Patch
from geoseg.measurements import Log, summarise_assumptions


def describe_patches(patches: list[Patch]) -> list[str]:
    """Return what was assumed of the patches, in sentences that begin with the split's name."""
    notes = []
    for split in dict.fromkeys(patch.split for patch in patches):
        chosen = [patch for patch in patches if patch.split == split]
        wells: dict[str, list[Log]] = {}
        for patch in chosen:
            wells.setdefault(f"well_{patch.well}", []).append(patch.log)
        images = (*summarise_assumptions(p.log for p in chosen), *_describe_units(wells))
        masks = [patch.mask for patch in chosen if patch.mask]
        said = Counter(note for mask in masks for note in mask.notes)
        labels = [f"{count:,} of {len(masks):,} masks: {note}" for note, count in said.items()]
        notes += [f"{split}/images: {note}" for note in images]
        notes += [f"{split}/labels: {note}" for note in labels]
    return notes


def _describe_units(wells: Mapping[str, list[Log]]) -> tuple[str, ...]:
    """Return a sentence for each well, by its name, whose patches have different units."""
    sentences = []
    for name, logs in wells.items():
        counts = Counter(log.unit for log in logs if log.unit != "unknown")
        if len(counts) > 1:
            units = " and ".join(f"{n:,} in {unit}" for unit, n in counts.most_common())
            sentences.append(
                f"The patches of {name} have different units, {units}; check how they were exported"
                ", or set --unit."
            )
    return tuple(sentences)

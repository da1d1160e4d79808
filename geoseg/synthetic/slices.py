"""Synthetic logs cut into patches, as the real data set cuts its own.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from geoseg.dataset import PatchDataset
from geoseg.folder import MAX_NULL_FRACTION
from geoseg.synthetic.logs import synthesize

SIDE = 36  # rows and columns of a patch
MOST_SEEDS = 1 << 32
_SEED_STEP = 1 << 20  # a log's seed is the set's times this plus the well: sets share no log

# The page's samples, chosen by eye: a drifting groove that crosses the seam, a speckled twin, a
# lattice with nulls, a nearly empty well. Seed of the log, columns, first patch.
_SAMPLE_SEED = 144 * _SEED_STEP
_SAMPLES = ((5, 36, 2), (30, 72, 6), (28, 36, 15), (9, 36, 14))
_LOG_PATCHES, _SHOWN_PATCHES = 40, 12


def synthetic_dataset(
    wells: int = 15,
    patches: int = 9674,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> PatchDataset:
    """Exactly `patches` labelled patches of `wells` pipes, laid out as the real data set.

    The last fifth of the wells, at least one, is split "validation", the others "train". Wells
    of odd number are twins: recorded at 72 columns, patch 2k holds the even ones and patch 2k + 1
    the odd ones. Indices count slices from the top; slices that loading would reject for their
    nulls are left out.

    >>> len(synthetic_dataset(wells=2, patches=50))
    50
    """
    if wells < 1:
        raise ValueError(f"wells is {wells}; give at least 1")
    if patches < wells:
        raise ValueError(f"patches is {patches}; give at least one for each of the {wells} wells")
    if not 0 <= seed < MOST_SEEDS:
        raise ValueError(f"seed is {seed}; give one from 0 to {MOST_SEEDS - 1:,}")
    parts, splits = [], []
    for well in range(1, wells + 1):
        count = patches // wells + (well <= patches % wells)
        columns = 2 * SIDE if well % 2 else SIDE
        parts.append((well, *_cut(count, columns, seed * _SEED_STEP + well, device)))
        splits += [("validation" if well > wells - max(1, wells // 5) else "train")] * count
    return _assemble(parts, splits)


def sample_dataset() -> PatchDataset:
    """The 48 patches of 4 wells that ship with the page, made anew.

    No set of `synthetic_dataset` with a seed below 144 holds any of them.
    """
    parts = []
    for well, (seed, columns, first) in enumerate(_SAMPLES, 1):
        log = _cut(_LOG_PATCHES, columns, _SAMPLE_SEED + seed, "cpu")
        images, masks, indices = (part[first : first + _SHOWN_PATCHES] for part in log)
        parts.append((well, images, masks, indices))
    return _assemble(parts, ["validation"] * len(_SAMPLES) * _SHOWN_PATCHES)


def _cut(
    count: int, columns: int, seed: int, device: torch.device | str
) -> tuple[Tensor, Tensor, Tensor]:
    """Images, masks (N, Z, A) and indices (N,) of the first `count` usable slices of one log."""
    sides = columns // SIDE
    rows = -(-count // sides) * SIDE
    while True:
        logs = synthesize(1, rows, columns=columns, seed=seed, device=device)
        images, masks = (_slices(log[0], sides) for log in logs)
        usable = images.isnan().float().mean((1, 2)) <= MAX_NULL_FRACTION
        indices = usable.nonzero()[:count, 0]
        if len(indices) == count:
            return images[indices], masks[indices], indices
        rows += SIDE * (1 + rows // (4 * SIDE))


def _slices(log: Tensor, sides: int) -> Tensor:
    """Cut a log (rows, sides * A) into patches (N, Z, A): its even columns before its odd ones."""
    return log.reshape(-1, SIDE, SIDE, sides).permute(0, 3, 1, 2).reshape(-1, SIDE, SIDE)


def _assemble(
    parts: Iterable[tuple[int, Tensor, Tensor, Tensor]], splits: list[str]
) -> PatchDataset:
    wells, images, masks, indices = zip(*parts, strict=True)
    numbers = torch.tensor(wells).repeat_interleave(torch.tensor([len(part) for part in images]))
    return PatchDataset(
        images=torch.cat(images),
        masks=torch.cat(masks),
        labelled=torch.ones(len(numbers), dtype=torch.bool, device=images[0].device),
        wells=numbers.to(images[0].device),
        indices=torch.cat(indices),
        splits=tuple(splits),
    )

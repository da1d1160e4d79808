"""Synthetic logs cut into patches, as the real data set cuts its own.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import numpy as np
import torch
from torch import Tensor

from geoseg.dataset import PatchDataset
from geoseg.dataset.folder import MAX_NULL_FRACTION
from geoseg.synthetic.grooves import corrupt_labels
from geoseg.synthetic.logs import synthesize

SIDE = 36  # rows and columns of a patch
MOST_SEEDS = 1 << 32

# The page's samples, chosen by eye: a drifting groove that crosses the seam, a speckled twin, a
# lattice with nulls, a nearly empty well. Seed of the log, columns, first patch.
_SAMPLE_SEED = 144 << 20
_SAMPLES = ((10, 36, 2), (22, 72, 4), (19, 36, 12), (8, 36, 3))
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
        parts.append((well, *_cut(count, columns, _log_seed(seed, well), device)))
        splits += [("validation" if well > wells - max(1, wells // 5) else "train")] * count
    return _assemble(parts, splits)


def fresh_dataset(
    patches: int = 8192,
    *,
    wells: int = 512,
    seed: int = 0,
    turn: int = 0,
    faults: float = 0.0,
    device: torch.device | str = "cpu",
) -> PatchDataset:
    """`patches` labelled patches of short logs of `wells` pipes, others for every `turn` >= 0.

    For training that never sees a pipe twice: many wells, made together, are quicker to make than
    a few long ones, and tell more. The second half of the wells are twins, as in
    `synthetic_dataset`. What is made is a hash of seed and turn: others share a log by chance only,
    once in four billion. A share `faults` of the grooves' labels is spoilt as by `corrupt_labels`.

    >>> len(fresh_dataset(100, wells=8, turn=3))
    100
    """
    if not 1 <= wells <= patches:
        raise ValueError(f"{patches} patches of {wells} wells; give each well at least one")
    keys = np.random.SeedSequence((seed, turn)).generate_state(3, np.uint64) >> 1
    kinds = ((1, wells - wells // 2, int(keys[0])), (2, wells // 2, int(keys[1])))
    slices = 2 * (ceil(patches / (2 * wells)) + 1)  # of a well; some are rejected for their nulls
    while True:
        made = [
            _short_logs(count, slices, sides, key, device) for sides, count, key in kinds if count
        ]
        images, masks = (torch.cat(part) for part in zip(*made, strict=True))  # (W, S, Z, A)
        usable = images.isnan().float().mean((2, 3)) <= MAX_NULL_FRACTION
        if usable.sum() >= patches:
            break
        slices *= 2
    # From the top, so that every well gives about as many.
    slice_, well = usable.T.nonzero()[:patches].T
    order = (well * slices + slice_).argsort()
    well, slice_ = well[order], slice_[order]
    images = images[well, slice_]
    labels = corrupt_labels(masks[well, slice_], faults, int(keys[2]))
    return PatchDataset(
        images=images,
        masks=labels.masked_fill(images.isnan(), 0),
        labelled=torch.ones(patches, dtype=torch.bool, device=images.device),
        wells=well + 1,
        indices=slice_,
        splits=("train",) * patches,
    )


def _short_logs(
    wells: int, slices: int, sides: int, seed: int, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Images and masks (W, S, Z, A) of `wells` logs, each cut into `slices` patches."""
    logs = synthesize(wells, slices // sides * SIDE, columns=sides * SIDE, seed=seed, device=device)
    images, masks = (_slices(log, sides).unflatten(0, (wells, slices)) for log in logs)
    return images, masks


def sample_dataset() -> PatchDataset:
    """The 48 patches of 4 wells that ship with the page, made anew."""
    parts = []
    for well, (seed, columns, first) in enumerate(_SAMPLES, 1):
        log = _cut(_LOG_PATCHES, columns, _SAMPLE_SEED + seed, "cpu")
        images, masks, indices = (part[first : first + _SHOWN_PATCHES] for part in log)
        parts.append((well, images, masks, indices))
    return _assemble(parts, ["validation"] * len(_SAMPLES) * _SHOWN_PATCHES)


def _log_seed(seed: int, well: int) -> int:
    """All that torch takes of a seed, 32 bits, mixed so that sets share a log by chance only."""
    return int(np.random.SeedSequence((seed, well)).generate_state(1)[0])


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
    """Cut logs (..., rows, sides * A) into patches (N, Z, A): even columns before odd ones."""
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

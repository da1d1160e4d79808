"""Data sets of patches cut from synthetic logs, as the real data set is cut from real logs.

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

PATCH_SIZE = 36  # rows and columns
SEED_LIMIT = 1 << 32

# The page's samples, chosen by eye: a drifting groove that crosses the seam, a twin with spikes, a
# lattice with nulls, a well almost without grooves. Seed of the log, columns, first patch.
_SAMPLE_SEED = 144 << 20
_SAMPLES = ((10, 36, 2), (22, 72, 4), (19, 36, 12), (8, 36, 3))
_LOG_PATCHES, _SAMPLE_PATCHES = 40, 12


def make_synthetic_dataset(
    wells: int = 15,
    patches: int = 9674,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> PatchDataset:
    """Make exactly `patches` labelled patches of `wells` pipes, organised as the real data set.

    The last fifth of the wells, at least one, is the split "validation", the others are "train".
    Wells with an odd number are cut into twins: the log has 72 columns, patch 2k holds the even and
    patch 2k + 1 the odd ones. Indices count patches from the top; patches that loading would reject
    for their nulls are left out.

    >>> len(make_synthetic_dataset(wells=2, patches=50))
    50
    """
    if wells < 1:
        raise ValueError(f"wells is {wells}; give at least 1")
    if patches < wells:
        raise ValueError(f"patches is {patches}; give at least one for each of the {wells} wells")
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"seed is {seed}; give one from 0 to {SEED_LIMIT - 1:,}")
    logs, splits = [], []
    for well in range(1, wells + 1):
        count = patches // wells + (well <= patches % wells)
        columns = 2 * PATCH_SIZE if well % 2 else PATCH_SIZE
        # A hash of 32 bits, all that torch uses of a seed: data sets hardly ever share a log.
        log_seed = int(np.random.SeedSequence((seed, well)).generate_state(1)[0])
        logs.append(_cut_log(count, columns, log_seed, device))
        splits += [("validation" if well > wells - max(1, wells // 5) else "train")] * count
    return _join_logs(logs, splits)


def make_fresh_dataset(
    patches: int = 8192,
    *,
    wells: int = 512,
    seed: int = 0,
    generation: int = 0,
    label_faults: float = 0.0,
    device: torch.device | str = "cpu",
) -> PatchDataset:
    """Make `patches` labelled patches of short logs, with new pipes for each `generation` >= 0.

    For training that never sees a pipe twice: many short logs, synthesized together, take less
    time than a few long ones and vary more. The second half of the wells is cut into twins, as in
    `make_synthetic_dataset`. The seeds are hashes of `seed` and `generation`: two data sets share
    a log with a probability of one in four billion. A share `label_faults` of the labels is
    corrupted, see `corrupt_labels`.

    >>> len(make_fresh_dataset(100, wells=8, generation=3))
    100
    """
    if not 1 <= wells <= patches:
        raise ValueError(
            f"{patches} patches cannot come from {wells} wells; give each well at least one patch"
        )
    state = np.random.SeedSequence((seed, generation)).generate_state(3, np.uint64) >> 1
    keys = [int(key) for key in state]
    kinds = ((1, wells - wells // 2, keys[0]), (2, wells // 2, keys[1]))
    per_well = 2 * (ceil(patches / (2 * wells)) + 1)  # some are rejected for their nulls
    while True:
        groups = []
        for twin_count, count, key in kinds[:wells]:  # a single well is no twin
            rows, columns = per_well // twin_count * PATCH_SIZE, twin_count * PATCH_SIZE
            logs = synthesize(count, rows, columns=columns, seed=key, device=device)
            groups.append([_cut_patches(x, twin_count).unflatten(0, (count, -1)) for x in logs])
        images, masks = (torch.cat(part) for part in zip(*groups, strict=True))  # (W, I, Z, A)
        usable = images.isnan().float().mean((2, 3)) <= MAX_NULL_FRACTION
        if usable.sum() >= patches:
            break
        per_well *= 2
    # Take patches from the top of all wells, so that every well gives about as many.
    index, well = usable.T.nonzero()[:patches].T
    order = (well * per_well + index).argsort()
    well, index = well[order], index[order]
    images = images[well, index]
    labels = corrupt_labels(masks[well, index], label_faults, keys[2])
    labels = labels.masked_fill(images.isnan(), 0)
    return _make_dataset(images, labels, index, well + 1, ["train"] * patches)


def make_sample_dataset() -> PatchDataset:
    """Make the 48 patches of 4 wells that the page ships."""
    logs = []
    for seed, columns, first in _SAMPLES:
        log = _cut_log(_LOG_PATCHES, columns, _SAMPLE_SEED + seed, "cpu")
        logs.append(tuple(part[first : first + _SAMPLE_PATCHES] for part in log))
    return _join_logs(logs, ["validation"] * len(_SAMPLES) * _SAMPLE_PATCHES)


def _cut_log(
    count: int, columns: int, seed: int, device: torch.device | str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, masks (N, Z, A) and indices (N,) of the first `count` usable patches."""
    twin_count = columns // PATCH_SIZE
    rows = -(-count // twin_count) * PATCH_SIZE
    while True:
        logs = synthesize(1, rows, columns=columns, seed=seed, device=device)
        images, masks = (_cut_patches(x, twin_count) for x in logs)
        usable = images.isnan().float().mean((1, 2)) <= MAX_NULL_FRACTION
        indices = usable.nonzero()[:count, 0]
        if len(indices) == count:
            return images[indices], masks[indices], indices
        rows += PATCH_SIZE * (1 + rows // (4 * PATCH_SIZE))


def _cut_patches(logs: Tensor, twin_count: int) -> Tensor:
    """Cut logs (W, rows, twin_count * A) into patches (N, Z, A): even columns before odd ones."""
    patches = logs.reshape(-1, PATCH_SIZE, PATCH_SIZE, twin_count).permute(0, 3, 1, 2)
    return patches.reshape(-1, PATCH_SIZE, PATCH_SIZE)


def _join_logs(logs: Iterable[tuple[Tensor, ...]], splits: list[str]) -> PatchDataset:
    """Join the images, masks and indices of logs, which become the wells 1, 2, ..."""
    images, masks, indices = zip(*logs, strict=True)
    counts = torch.tensor([len(part) for part in images])
    wells = torch.arange(1, len(images) + 1).repeat_interleave(counts).to(images[0].device)
    return _make_dataset(torch.cat(images), torch.cat(masks), torch.cat(indices), wells, splits)


def _make_dataset(
    images: Tensor, masks: Tensor, indices: Tensor, wells: Tensor, splits: list[str]
) -> PatchDataset:
    labelled = torch.ones(len(wells), dtype=torch.bool, device=images.device)
    return PatchDataset(images, masks, labelled, wells, indices, tuple(splits))

"""Synthesize logs of pipes with known grooves, a batch at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.synthetic.distractors import make_distractors, make_roughness
from geoseg.synthetic.faults import (
    add_collars,
    add_disturbances,
    add_noise,
    add_nulls,
    repeat_stuck_rows,
)
from geoseg.synthetic.grooves import Tracks, make_grooves
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.wall import make_joints, make_wall
from geoseg.synthetic.well_parameters import override_parameters, sample_well_parameters

BATCH_PIXELS = 1 << 22


class Logs(NamedTuple):
    """A batch of logs, axes (well, depth, azimuth).

    `images`: float32 inches, wall thickness minus its row average, NaN at nulls. `masks`: uint8,
    the labels, 1 on grooves, 0 elsewhere and at nulls.
    """

    images: Tensor
    masks: Tensor


class KnownWells(NamedTuple):
    """A batch of logs with what they were made of.

    `joints`: int64 (well, depth), the number of each row's joint, which begins with its collar.
    `tracks`: the labelled grooves.
    """

    logs: Logs
    joints: Tensor
    tracks: Tracks


def synthesize(
    wells: int,
    rows: int,
    *,
    columns: int = 36,
    seed: int = 0,
    device: torch.device | str = "cpu",
    fixed: Mapping[str, float | Sequence[float]] | None = None,
    collar_row: int | None = None,
) -> Logs:
    """Synthesize logs of `wells` pipes, each with its own `WellParameters`.

    `rows` >= 1 along depth, `columns` >= 8 round the full circumference. `fixed` gives all wells
    the same value of some parameters, see `override_parameters`. `collar_row` adds a collar that
    begins at that row. The same arguments give the same logs. Beyond the result this takes about
    100 bytes per pixel of a batch: wells of BATCH_PIXELS pixels together, or a single larger one.

    >>> images, masks = synthesize(2, 100, seed=1)
    >>> images.shape, masks.dtype
    (torch.Size([2, 100, 36]), torch.uint8)
    """
    _check_size(wells, rows, columns)
    random = RandomStream(seed, device)
    size = max(1, BATCH_PIXELS // (rows * columns))
    batches = [
        _synthesize_batch(
            random, min(size, wells - first), rows, columns, fixed or {}, collar_row
        ).logs
        for first in range(0, wells, size)
    ]
    return Logs(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def synthesize_known_well(
    rows: int,
    *,
    columns: int = 36,
    seed: int = 0,
    fixed: Mapping[str, float | Sequence[float]] | None = None,
) -> KnownWells:
    """Return the log of `synthesize(1, ...)`, with its joints and its grooves."""
    _check_size(1, rows, columns)
    return _synthesize_batch(RandomStream(seed, "cpu"), 1, rows, columns, fixed or {}, None)


def _check_size(wells: int, rows: int, columns: int) -> None:
    for name, value, least in (("wells", wells, 1), ("rows", rows, 1), ("columns", columns, 8)):
        if value < least:
            raise ValueError(f"{name} is {value}; give at least {least}")


def _synthesize_batch(
    random: RandomStream,
    wells: int,
    rows: int,
    columns: int,
    fixed: Mapping[str, float | Sequence[float]],
    collar_row: int | None,
) -> KnownWells:
    well = override_parameters(sample_well_parameters(random, wells), fixed)
    joint, collar_distance = make_joints(random, well, rows)
    if collar_row is not None:
        distance = torch.arange(rows, device=random.device) - collar_row
        collar_distance = torch.where(
            distance >= 0, distance.minimum(collar_distance), collar_distance
        )
    images = make_wall(random, well, joint, columns)
    images += make_distractors(random, well, rows, columns)
    grooves, label, tracks = make_grooves(random, well, joint, columns)
    images += grooves
    disturbance = add_disturbances(random, images, joint, collar_distance)
    roughness = make_roughness(random, well, rows, columns)
    add_noise(random, well, images, disturbance, roughness, grooves)
    repeat_stuck_rows(random, well, images, label)
    add_collars(random, well, images, collar_distance)
    add_nulls(random, well, images)
    images -= images.nanmean(-1, keepdim=True)  # the instrument's processing does so last
    logs = Logs(images, (label & ~images.isnan()).to(torch.uint8))
    return KnownWells(logs, joint, tracks)

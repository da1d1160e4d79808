"""Whole logs of pipes whose grooves are known, made from physics alone, a batch at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.synthetic.distractors import lookalikes, roughness
from geoseg.synthetic.faults import add_collars, add_noise, add_nulls, add_scars, hold_still
from geoseg.synthetic.grooves import grooves
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.wall import joints, wall
from geoseg.synthetic.well_parameters import override_parameters, sample_well_parameters

MOST_PIXELS = 1 << 22  # made at a time


class Logs(NamedTuple):
    """A batch of logs, axes (well, depth, azimuth).

    `images`: float32 inches, wall thickness minus its row average, NaN where there is no
    measurement. `masks`: uint8, 1 on grooves, 0 elsewhere and at nulls.
    """

    images: Tensor
    masks: Tensor


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
    """Make logs of `wells` pipes, each with a character of its own.

    `rows` >= 1 along depth, `columns` >= 8 round the full circumference. `fixed` gives all wells
    the same value of some fields of `WellParameters`, see `override_parameters`; `collar_row` lays
    a collar over the wall from that row on, beside the well's own. The same arguments give the same
    logs. Beside the result it takes about 100 bytes a pixel, of one well or, where those are small,
    of as many as make MOST_PIXELS.

    >>> images, masks = synthesize(2, 100, seed=1)
    >>> images.shape, masks.dtype
    (torch.Size([2, 100, 36]), torch.uint8)
    """
    for name, value, least in (("wells", wells, 1), ("rows", rows, 1), ("columns", columns, 8)):
        if value < least:
            raise ValueError(f"{name} is {value}; give at least {least}")
    draw = RandomStream(seed, device)
    together = max(1, MOST_PIXELS // (rows * columns))
    batches = [
        _batch(draw, min(together, wells - first), rows, columns, fixed or {}, collar_row)
        for first in range(0, wells, together)
    ]
    return Logs(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def _batch(
    draw: RandomStream,
    wells: int,
    rows: int,
    columns: int,
    fixed: Mapping[str, float | Sequence[float]],
    collar_row: int | None,
) -> Logs:
    character = override_parameters(sample_well_parameters(draw, wells), fixed)
    joint, since = joints(draw, character, rows)
    if collar_row is not None:
        here = torch.arange(rows, device=draw.device) - collar_row
        since = torch.where(here >= 0, here.minimum(since), since)
    images = wall(draw, character, joint, columns)
    images += lookalikes(draw, character, rows, columns)
    carved, label = grooves(draw, character, joint, columns)
    images += carved
    scar = add_scars(draw, images, joint, since)
    rough = roughness(draw, character, rows, columns)
    add_noise(draw, character, images, scar, rough, carved)
    hold_still(draw, character, images, label)
    add_collars(draw, character, images, since)
    add_nulls(draw, character, images)
    images -= images.nanmean(-1, keepdim=True)  # as the instrument's processing does, last
    return Logs(images, (label & ~images.isnan()).to(torch.uint8))

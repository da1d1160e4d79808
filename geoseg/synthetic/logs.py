"""Whole logs of pipes whose grooves are known, made from physics alone, a batch at a time."""

from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.synthetic.character import draw_character
from geoseg.synthetic.draw import Draw
from geoseg.synthetic.faults import add_collars, add_noise, add_nulls, add_scars
from geoseg.synthetic.grooves import grooves, lookalikes
from geoseg.synthetic.wall import joints, wall


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
) -> Logs:
    """Make logs of `wells` pipes, each with a character of its own.

    `rows` >= 1 along depth, `columns` >= 8 round the full circumference. The same arguments give
    the same logs. Memory: about 20 float32 arrays of (wells, rows, columns).

    >>> images, masks = synthesize(2, 100, seed=1)
    >>> images.shape, masks.dtype
    (torch.Size([2, 100, 36]), torch.uint8)
    """
    for name, value, least in (("wells", wells, 1), ("rows", rows, 1), ("columns", columns, 8)):
        if value < least:
            raise ValueError(f"{name} is {value}; give at least {least}")
    draw = Draw(seed, device)
    character = draw_character(draw, wells)
    joint, since = joints(draw, character, rows)
    images = wall(draw, character, joint, columns)
    images += lookalikes(draw, character, rows, columns)
    carved, label = grooves(draw, character, rows, columns)
    images += carved
    scar = add_scars(draw, images, joint, since)
    add_noise(draw, character, images, scar)
    add_collars(draw, character, images, since)
    add_nulls(draw, character, images)
    images -= images.nanmean(-1, keepdim=True)
    return Logs(images, (label & ~images.isnan()).to(torch.uint8))

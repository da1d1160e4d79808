"""Rolls, flips and noise, a batch at a time; image and mask take the same view.

B batch, C channel, Z depth, A azimuth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Views(NamedTuple):
    """How each of B patches is looked at: flipped first, then rolled.

    `shift` (B,) int64 is in columns, to the right; the flips are bool (B,).
    """

    shift: Tensor
    flip_depth: Tensor
    flip_azimuth: Tensor


def draw_views(
    count: int, columns: int, *, roll: bool, flip: bool, generator: torch.Generator
) -> Views:
    """Random views of `count` patches, on the generator's device; all plain where both are off."""
    device = generator.device
    # Everything is drawn whatever is used, so that turning one augmentation off leaves the other.
    shift = torch.randint(columns, (count,), generator=generator, device=device)
    flips = torch.rand(2, count, generator=generator, device=device) < 0.5
    return Views(shift * roll, flips[0] & flip, flips[1] & flip)


def cycle_views(
    count: int, columns: int, turn: int, *, roll: bool, flip: bool, generator: torch.Generator
) -> Views:
    """Views as random at turn 0 as `draw_views`, then each another one at every turn.

    A patch shows all its shifts within `columns` turns, far from each other in turns that follow,
    and its four flips within four. The generator must stand where it stood for the other turns.
    """
    device = generator.device
    shift = torch.randint(columns, (count,), generator=generator, device=device)
    flips = torch.randint(4, (count,), generator=generator, device=device)
    # The golden section spreads any number of turns evenly, if it meets every column.
    stride = min(
        (n for n in range(1, columns + 1) if math.gcd(n, columns) == 1),
        key=lambda n: abs(n - columns * (math.sqrt(5) - 1) / 2),
    )
    shift = (shift + turn * stride) % columns
    flips = (flips + turn) % 4
    return Views(shift * roll, (flips % 2 == 1) & flip, (flips >= 2) & flip)


def apply_views(patches: Tensor, views: Views, selection: Tensor) -> Tensor:
    """Patch selection[b] of `patches` (N, C, Z, A) as views[b] has it: (B, C, Z, A) in one gather.

    The answer is channels_last.
    """
    rows, columns = patches.shape[-2:]
    z = torch.arange(rows, device=patches.device)
    a = torch.arange(columns, device=patches.device)
    z = torch.where(views.flip_depth[:, None], rows - 1 - z, z)
    a = (a - views.shift[:, None]) % columns
    a = torch.where(views.flip_azimuth[:, None], columns - 1 - a, a)
    seen = patches[selection[:, None, None], :, z[:, :, None], a[:, None, :]]
    return seen.permute(0, 3, 1, 2)


def roll(patches: Tensor, shift: int) -> Tensor:
    """Patches (..., Z, A) turned round the pipe by `shift` columns to the right."""
    return patches.roll(shift, -1)


def add_noise(images: Tensor, sigma: float, seed: int) -> Tensor:
    """Images (..., Z, A) with white noise of standard deviation `sigma` in their own unit.

    The same seed gives the same noise pattern at every sigma and on every device; nulls stay NaN.
    ValueError for a negative sigma.
    """
    if not sigma >= 0:
        raise ValueError(f"noise is {sigma}; it must be 0 or more")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator)
    return images + sigma * noise.to(images)

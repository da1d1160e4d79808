"""Rolls, flips and noise of batches; an image and its label take the same view.

B batch, C channel, Z depth, A azimuth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Views(NamedTuple):
    """The augmentation of each of B patches: flips first, then a roll."""

    shift: Tensor  # columns to the right, int64 (B,)
    flip_depth: Tensor  # bool (B,)
    flip_azimuth: Tensor


def draw_views(
    count: int, columns: int, *, roll: bool, flip: bool, generator: torch.Generator
) -> Views:
    """Draw random views of `count` patches, on the generator's device."""
    device = generator.device
    # Always draw both, so that switching one augmentation off does not change the other.
    shift = torch.randint(columns, (count,), generator=generator, device=device)
    flips = torch.rand(2, count, generator=generator, device=device) < 0.5
    return Views(shift * roll, flips[0] & flip, flips[1] & flip)


def cycle_views(
    count: int, columns: int, epoch: int, *, roll: bool, flip: bool, generator: torch.Generator
) -> Views:
    """Draw random views for epoch 0, and change each of them at every later epoch.

    A patch takes all its shifts within `columns` epochs, with distant shifts in successive epochs,
    and all four flips within four. The generator must have the same state at every epoch.
    """
    device = generator.device
    shift = torch.randint(columns, (count,), generator=generator, device=device)
    flips = torch.randint(4, (count,), generator=generator, device=device)
    # The golden ratio spreads any number of epochs evenly; the stride must reach every column.
    stride = min(
        (n for n in range(1, columns + 1) if math.gcd(n, columns) == 1),
        key=lambda n: abs(n - columns * (math.sqrt(5) - 1) / 2),
    )
    shift = (shift + epoch * stride) % columns
    flips = (flips + epoch) % 4
    return Views(shift * roll, (flips % 2 == 1) & flip, (flips >= 2) & flip)


def apply_views(patches: Tensor, views: Views, selection: Tensor) -> Tensor:
    """Apply views[b] to patch selection[b] of `patches` (N, C, Z, A); return (B, C, Z, A)."""
    rows, columns = patches.shape[-2:]
    z = torch.arange(rows, device=patches.device)
    a = torch.arange(columns, device=patches.device)
    z = torch.where(views.flip_depth[:, None], rows - 1 - z, z)
    a = (a - views.shift[:, None]) % columns
    a = torch.where(views.flip_azimuth[:, None], columns - 1 - a, a)
    viewed = patches[selection[:, None, None], :, z[:, :, None], a[:, None, :]]
    return viewed.permute(0, 3, 1, 2)


def roll(patches: Tensor, shift: int) -> Tensor:
    """Roll patches (..., Z, A) around the pipe by `shift` columns to the right."""
    return patches.roll(shift, -1)


def add_noise(images: Tensor, sigma: float, seed: int) -> Tensor:
    """Add white noise of standard deviation `sigma`, in the unit of the images (..., Z, A).

    A seed gives the same noise pattern at every sigma and on every device; nulls stay NaN. Raise
    ValueError for a negative sigma.
    """
    if not sigma >= 0:
        raise ValueError(f"noise is {sigma}; it must be 0 or more")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator)
    return images + sigma * noise.to(images)

"""Bring images of any number of columns to the columns that a model was trained on.

The ring of A columns and the ring of T columns lie on a common ring of lcm(A, T) positions. It is
cut into sets of T positions, each a full turn: for 72 columns and 36, the even and the odd columns.
Every column of the image is a position of exactly one set, so that its probability comes from
there, and turning the image by one column only renames the sets: a model that commutes with turns
still does. B images, Z depth, A azimuth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class ColumnSets:
    """The sets of `columns` positions that `width` columns are brought to.

    Attributes:
        number: of sets, 1 if no change is needed.
    """

    def __init__(self, width: int, columns: int) -> None:
        common = math.gcd(width, columns)
        self.width, self.columns = width, columns
        self.number = width // common
        self._fine = columns // common  # positions per column of the image

    def cut(self, images: Tensor, number: int) -> Tensor:
        """Return one set (B, Z, columns) of images (B, Z, width), NaN at nulls.

        Values between columns are interpolated by the cubic of Catmull and Rom, which keeps grooves
        as deep as they are; beside a null the interpolation is linear, and a position next to a
        null takes its nearer column.
        """
        positions = number + self.number * torch.arange(self.columns, device=images.device)
        left, step = positions // self._fine, positions % self._fine
        if not step.any():
            return images[..., left]
        t = step / self._fine
        a, b, c, d = (images[..., (left + k) % self.width] for k in (-1, 0, 1, 2))
        cubic = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
        linear, nearer = b + t * (c - b), torch.where(t <= 0.5, b, c)
        values = torch.where(cubic.isnan(), torch.where(linear.isnan(), nearer, linear), cubic)
        return torch.where(t == 0, b, values)

    def find_columns(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the columns of the image that one set holds, and their places in the set."""
        positions = torch.arange(self.width) * self._fine
        own = positions % self.number == number
        return own.nonzero()[:, 0], positions[own] // self.number

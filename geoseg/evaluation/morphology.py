"""Shapes on the pipe's wall, where the last column is next to the first.

Our own, because the libraries that offer these functions do not join the seam and do not run on
the GPU. B batch, Z depth, A azimuth.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Half of a pixel's eight neighbours as steps (down, right); by symmetry they reach all eight.
_STEPS = ((0, 1), (1, -1), (1, 0), (1, 1))


def dilate_columns(mask: Tensor, columns: int) -> Tensor:
    """Mark the pixels at most `columns` from the mask (..., Z, A) bool in their own row."""
    rolled = [mask.roll(step, -1) for step in range(-columns, columns + 1)]
    return torch.stack(rolled).any(0)


def find_centre_lines(mask: Tensor) -> Tensor:
    """Mark the middle pixel of every run of a row, across the seam: (..., Z, A) bool.

    Grooves run along the pipe, so this is their skeleton: one pixel wide, as long as the groove,
    and equivariant to shifts, which the iterated pooling of clDice is not. The middle of an even
    run is the right one of two. A row that is full has no middle and stays full.
    """
    line = mask
    while True:
        left, right = line.roll(1, -1), line.roll(-1, -1)
        thinner = line & (left | ~right)  # remove the left end, unless the pixel is alone
        left, right = thinner.roll(1, -1), thinner.roll(-1, -1)
        thinner = thinner & (right | ~left)
        if thinner.equal(line):
            return line
        line = thinner


def label_components(mask: Tensor) -> Tensor:
    """Assign numbers to the connected components of masks (B, Z, A) bool: int64, 0 outside.

    The numbers are 1, 2, ... Neighbours, corners and the seam included, are one component. Every
    pixel starts as its own component; components that touch take the lower number until nothing
    changes. Pointer jumping resolves chains of numbers, so a groove through a whole log takes a few
    rounds.
    """
    pixel = mask.flatten().cumsum(0).reshape(mask.shape) * mask
    pairs = torch.cat([_adjacent_pixels(pixel, *step) for step in _STEPS], 1)
    component = torch.arange(int(mask.sum()) + 1, device=mask.device)
    while True:
        low, high = component[pairs].aminmax(dim=0)
        component = component.scatter_reduce(0, high, low, "amin")
        while not (jumped := component[component]).equal(component):
            component = jumped
        if low.equal(high):
            return component.unique(return_inverse=True)[1][pixel]


def _adjacent_pixels(pixel: Tensor, down: int, right: int) -> Tensor:
    """Return the numbers (2, pairs) of mask pixels that are one step apart."""
    here = pixel[:, : pixel.shape[1] - down]
    there = pixel[:, down:].roll(-right, -1)
    both = (here > 0) & (there > 0)
    return torch.stack([here[both], there[both]])

"""Shapes on the pipe's wall, where the last column is next to the first.

B batch, Z depth, A azimuth.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Half of a pixel's eight neighbours, as steps (down, round); the other half look back at it.
_STEPS = ((0, 1), (1, -1), (1, 0), (1, 1))


def near(mask: Tensor, columns: int) -> Tensor:
    """Which pixels are at most `columns` away from the mask (..., Z, A) bool, in their own row."""
    turned = [mask.roll(step, -1) for step in range(-columns, columns + 1)]
    return torch.stack(turned).any(0)


def centre_lines(mask: Tensor) -> Tensor:
    """The middle pixel of every run of a row, round the seam: (..., Z, A) bool.

    Grooves run along the pipe, so this is their skeleton: one pixel wide, as long as they are, and
    turned as the mask is turned. Skeletons of images (such as the iterated pooling of clDice) leave
    a band of even width two pixels wide, eat its ends and know no seam. The middle of an even run
    is the right one of two; a row that is full has no middle and stays.
    """
    line = mask
    while True:
        left, right = line.roll(1, -1), line.roll(-1, -1)
        thinner = line & (left | ~right)  # off with the left end, unless it stands alone
        left, right = thinner.roll(1, -1), thinner.roll(-1, -1)
        thinner = thinner & (right | ~left)
        if thinner.equal(line):
            return line
        line = thinner


def label_components(mask: Tensor) -> Tensor:
    """Number the connected parts of masks (B, Z, A) bool: int64, 0 outside, then 1, 2, ...

    Pixels that touch, corners and the seam included, are one part. Every pixel starts as its own
    part; parts that touch take the lower number until nothing changes, and numbers that stand for
    others are looked up by jumping, so a groove through a whole log takes a few rounds.
    """
    pixel = mask.flatten().cumsum(0).reshape(mask.shape) * mask
    touching = torch.cat([_touching(pixel, *step) for step in _STEPS], 1)
    part = torch.arange(int(mask.sum()) + 1, device=mask.device)
    while True:
        low, high = part[touching].aminmax(dim=0)
        part = part.scatter_reduce(0, high, low, "amin")
        while not (further := part[part]).equal(part):
            part = further
        if low.equal(high):
            return part.unique(return_inverse=True)[1][pixel]


def _touching(pixel: Tensor, down: int, around: int) -> Tensor:
    """Numbers (2, pairs) of pixels of the mask that are one step apart."""
    here = pixel[:, : pixel.shape[1] - down]
    there = pixel[:, down:].roll(-around, -1)
    both = (here > 0) & (there > 0)
    return torch.stack([here[both], there[both]])

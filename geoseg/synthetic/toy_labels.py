"""Letters stamped on patches: perfect labels for checking a training pipeline.

N patches, Z depth, A azimuth. If a model cannot learn these letters, the fault is in the pipeline
and not in the labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from geoseg.dataset import PatchDataset

Mode = Literal["trivial", "easy", "medium"]
MODES: tuple[Mode, ...] = get_args(Mode)

# Seven rows of five columns each.
_LETTERS = (
    "#####  #....  #....  ####.  #....  #....  #####",
    ".###.  #...#  #....  #..##  #...#  #...#  .###.",
    ".###.  #...#  #...#  #...#  #...#  #...#  .###.",
    ".####  #....  #....  .###.  ....#  ....#  ####.",
    "#####  ..#..  ..#..  ..#..  ..#..  ..#..  ..#..",
    "#...#  #...#  .#.#.  ..#..  .#.#.  #...#  #...#",
)
_LETTER_ROWS, _LETTER_COLUMNS = 7, 5
_MAX_DOT_SIZE = 3  # pixels along the side of a letter's dot
_LETTERS_PER_PATCH = 3  # at most: letters may overlap
_DEPTH = -0.1  # inches, that of the deepest grooves: value of trivial and easy letters
_GAIN = 4.0  # factor by which medium letters multiply the patch


def stamp_toy_labels(images: Tensor, mode: Mode, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Stamp one to three letters on each of `images` (N, Z, A) float32, raw, NaN at nulls.

    Letters may cross the seam. The same arguments give the same letters.

    Args:
        mode: "trivial" leaves nothing but letters 0.1 inch deep, "easy" adds these to the patch,
            "medium" multiplies the patch under a letter by 4.

    Returns:
        The images, with their nulls, and masks (N, Z, A) uint8, 1 on a letter and 0 at nulls.

    Raises:
        ValueError: the mode is unknown, or the patches are smaller than a letter (7 x 5).
    """
    if mode not in MODES:
        raise ValueError(f"there are no {mode!r} toys; choose one of {', '.join(MODES)}")
    count, rows, columns = images.shape
    largest = min(rows // _LETTER_ROWS, columns // _LETTER_COLUMNS, _MAX_DOT_SIZE)
    if not largest:
        raise ValueError(
            f"patches of {rows} rows and {columns} columns hold no letter; a letter takes "
            f"{_LETTER_ROWS} rows and {_LETTER_COLUMNS} columns"
        )
    generator = torch.Generator().manual_seed(seed)
    letters = torch.zeros(count, rows, columns, dtype=torch.bool)
    for _ in range(_LETTERS_PER_PATCH):
        letters |= _draw_letters(count, rows, columns, largest, generator)
    letters = letters.to(images.device)
    stamped = {
        "trivial": torch.where(letters, _DEPTH, images * 0),
        "easy": images + _DEPTH * letters,
        "medium": torch.where(letters, images * _GAIN, images),
    }[mode]
    valid = images.isfinite()
    return torch.where(valid, stamped, images), (letters & valid).to(torch.uint8)


def add_toy_labels(dataset: PatchDataset, mode: Mode, seed: int = 0) -> PatchDataset:
    """Return the patches with letters and their labels; raise ValueError as `stamp_toy_labels`."""
    images, masks = stamp_toy_labels(dataset.images, mode, seed)
    labelled = torch.ones_like(dataset.labelled)
    return replace(dataset, images=images, masks=masks, labelled=labelled)


def _draw_letters(
    count: int, rows: int, columns: int, largest: int, generator: torch.Generator
) -> Tensor:
    """Draw one letter per patch, at a random place, with dots of up to `largest` pixels: bool."""

    def pick(choices: Tensor | int) -> Tensor:
        """Return a number from 0 to below `choices` for each patch, (N, 1)."""
        share = torch.rand(count, 1, generator=generator, dtype=torch.float64)
        return (share * choices).long()

    letter, size = pick(len(_LETTERS)), 1 + pick(largest)
    top, left = pick(rows - _LETTER_ROWS * size + 1), pick(columns)
    # The row and column of the letter's dot under each row and column of the patch.
    down = (torch.arange(rows) - top).div(size, rounding_mode="floor")
    across = ((torch.arange(columns) - left) % columns).div(size, rounding_mode="floor")
    inside = ((down >= 0) & (down < _LETTER_ROWS))[:, :, None] & (across < _LETTER_COLUMNS)[:, None]
    dots = torch.tensor([[dot == "#" for dot in text if dot != " "] for text in _LETTERS])
    dots = dots.view(-1, _LETTER_ROWS, _LETTER_COLUMNS)
    down, across = down.clamp(0, _LETTER_ROWS - 1), across.clamp(max=_LETTER_COLUMNS - 1)
    return inside & dots[letter[..., None], down[:, :, None], across[:, None]]

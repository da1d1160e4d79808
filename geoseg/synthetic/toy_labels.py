"""Letters stamped on patches: labels that are perfect, to check a whole pipeline with.

N patches, Z depth, A azimuth. What cannot learn these has a mistake somewhere else than in its
labels.
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
_ROWS, _COLUMNS = 7, 5
_LARGEST = 3  # pixels that the side of a letter's dot may have
_MOST = 3  # letters on a patch
_DEPTH = -0.1  # inches, as the deepest grooves have it: what trivial and easy letters are worth
_GAIN = 4.0  # by which medium letters multiply what is under them


def stamp_toys(images: Tensor, mode: Mode, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Stamp one to three letters on each of `images` (N, Z, A) float32, raw, NaN at nulls.

    They go round the pipe, across the seam as well. The same arguments give the same letters.

    Args:
        mode: "trivial" leaves nothing but letters 0.1 inch deep, "easy" adds these to the patch,
            "medium" multiplies what is under a letter by 4.

    Gives images, with their nulls, and masks (N, Z, A) uint8, 1 on a letter and 0 at nulls.
    ValueError for another mode, or patches too small for a letter of 7 rows and 5 columns.
    """
    if mode not in MODES:
        raise ValueError(f"there are no {mode!r} toys; choose one of {', '.join(MODES)}")
    count, rows, columns = images.shape
    room = min(rows // _ROWS, columns // _COLUMNS)
    if not room:
        raise ValueError(
            f"patches of {rows} rows and {columns} columns hold no letter; a letter takes "
            f"{_ROWS} and {_COLUMNS}"
        )
    generator = torch.Generator().manual_seed(seed)
    letters = torch.zeros(count, rows, columns, dtype=torch.bool)
    for _ in range(_MOST):
        letters |= _draw(count, rows, columns, min(room, _LARGEST), generator)
    letters = letters.to(images.device)
    stamped = {
        "trivial": torch.where(letters, _DEPTH, images * 0),
        "easy": images + _DEPTH * letters,
        "medium": torch.where(letters, images * _GAIN, images),
    }[mode]
    valid = images.isfinite()
    return torch.where(valid, stamped, images), (letters & valid).to(torch.uint8)


def toy_dataset(dataset: PatchDataset, mode: Mode, seed: int = 0) -> PatchDataset:
    """The same patches with toys for labels, all of them labelled; errors as `stamp_toys`."""
    images, masks = stamp_toys(dataset.images, mode, seed)
    labelled = torch.ones_like(dataset.labelled)
    return replace(dataset, images=images, masks=masks, labelled=labelled)


def _draw(count: int, rows: int, columns: int, largest: int, generator: torch.Generator) -> Tensor:
    """One letter for each of `count` patches, anywhere, in any size up to `largest`: bool."""

    def pick(choices: Tensor | int) -> Tensor:
        """A number from 0 to below `choices` for each patch, (N, 1)."""
        share = torch.rand(count, 1, generator=generator, dtype=torch.float64)
        return (share * choices).long()

    letter, size = pick(len(_LETTERS)), 1 + pick(largest)
    top, left = pick(rows - _ROWS * size + 1), pick(columns)
    # Which dot of the letter a row and a column of the patch meet; others than there are outside.
    down = (torch.arange(rows) - top).div(size, rounding_mode="floor")
    across = ((torch.arange(columns) - left) % columns).div(size, rounding_mode="floor")
    inside = ((down >= 0) & (down < _ROWS))[:, :, None] & (across < _COLUMNS)[:, None]
    dots = torch.tensor([[dot == "#" for dot in text if dot != " "] for text in _LETTERS])
    dots = dots.view(-1, _ROWS, _COLUMNS)
    down, across = down.clamp(0, _ROWS - 1), across.clamp(max=_COLUMNS - 1)
    return inside & dots[letter[..., None], down[:, :, None], across[:, None]]

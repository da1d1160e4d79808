"""Strips of logs side by side, in which a stranger should hesitate.

Z depth, A azimuth, N strip.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.atomic_files import atomic_write, name_in_errors
from geoseg.pictures import grey

SCALE = 3  # screen pixels a pixel
ROWS, COLUMNS = 200, 36  # of a strip
GAP, LINE, LETTERS = 12, 14, 6  # screen pixels: between strips, a line of text, a letter


class Strip(NamedTuple):
    """A stretch of one log, inches (Z, 36), NaN at nulls, and where it comes from."""

    image: NDArray[np.float32]
    answer: str


def draw_strips(
    synthetic: Mapping[str, NDArray[np.float32]],
    real: Mapping[str, NDArray[np.float32]],
    strips: int,
    random: np.random.Generator,
) -> list[Strip]:
    """Cut `strips` strips from each kind of log (Z, A), in turn, and shuffle them.

    Of a log of more than 36 columns, strips show the first twin.
    """
    cut = []
    for kind, logs in (("synthetic", synthetic), ("real", real)):
        names = list(logs)
        for number in range(strips):
            name = names[number % len(names)]
            log = logs[name][:, :: logs[name].shape[1] // COLUMNS]
            row = int(random.integers(max(1, len(log) - ROWS + 1)))
            cut.append(Strip(log[row : row + ROWS], f"{kind} {name} row {row:,}"))
    return [cut[i] for i in random.permutation(len(cut))]


def save_picture(strips: Sequence[Strip], path: Path) -> None:
    """Write the strips, numbered, as a PNG; the answers stand in small letters at the bottom."""
    step = SCALE * COLUMNS + GAP
    width = step * len(strips) + GAP
    answers = ", ".join(f"{i} {strip.answer}" for i, strip in enumerate(strips, 1))
    lines = textwrap.wrap(answers, (width - 2 * GAP) // LETTERS)
    bottom = GAP + SCALE * ROWS + 2 * LINE
    canvas = Image.new("RGB", (width, bottom + LINE * (len(lines) + 6)), "white")
    pen = ImageDraw.Draw(canvas)
    for number, strip in enumerate(strips):
        picture = grey(strip.image).repeat(SCALE, 0).repeat(SCALE, 1)
        left = GAP + number * step
        canvas.paste(Image.fromarray(picture), (left, GAP))
        pen.text((left, bottom - LINE - LINE // 2), str(number + 1), fill="black")
    pen.text((GAP, bottom), "Which are synthetic? The answers stand below.", fill="black")
    for number, line in enumerate(lines, 5):
        pen.text((GAP, bottom + LINE * number), line, fill="grey")
    with name_in_errors(path), atomic_write(path) as temporary:
        canvas.save(temporary, format="PNG")

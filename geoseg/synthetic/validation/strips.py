"""A picture of real and synthetic strips in random order, to judge by eye.

Z depth, A azimuth.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geoseg.atomic_files import atomic_write
from geoseg.pictures import grey

SCALE = 3  # screen pixels per pixel
ROWS, COLUMNS = 200, 36  # of a strip
GAP, LINE, LETTER = 12, 14, 6  # screen pixels: gap between strips, line height, letter width


class Strip(NamedTuple):
    """Part of one log, inches (Z, 36), NaN at nulls, and a description of its source."""

    image: NDArray[np.float32]
    source: str


def cut_strips(
    synthetic: Mapping[str, NDArray[np.float32]],
    real: Mapping[str, NDArray[np.float32]],
    strips: int,
    random: np.random.Generator,
) -> list[Strip]:
    """Cut `strips` strips each from synthetic and real logs (Z, A), and shuffle them.

    A strip of a log with more than 36 columns shows its first twin.
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


def save_strips(strips: Sequence[Strip], path: Path) -> None:
    """Write the numbered strips as a PNG, with their sources in grey at the bottom."""
    step = SCALE * COLUMNS + GAP
    width = step * len(strips) + GAP
    sources = ", ".join(f"{i} {strip.source}" for i, strip in enumerate(strips, 1))
    lines = textwrap.wrap(sources, (width - 2 * GAP) // LETTER)
    bottom = GAP + SCALE * ROWS + 2 * LINE
    canvas = Image.new("RGB", (width, bottom + LINE * (len(lines) + 6)), "white")
    pen = ImageDraw.Draw(canvas)
    for number, strip in enumerate(strips):
        picture = grey(strip.image).repeat(SCALE, 0).repeat(SCALE, 1)
        left = GAP + number * step
        canvas.paste(Image.fromarray(picture), (left, GAP))
        pen.text((left, bottom - LINE - LINE // 2), str(number + 1), fill="black")
    pen.text((GAP, bottom), "Which are synthetic? The answers are below.", fill="black")
    for number, line in enumerate(lines, 5):
        pen.text((GAP, bottom + LINE * number), line, fill="grey")
    with atomic_write(path) as temporary:
        canvas.save(temporary, format="PNG")

"""All wells of a folder on one picture: each log on its side, and which split its rows are of.

Z depth, A azimuth.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geoseg.atomic_files import atomic_write, name_in_errors
from geoseg.dataset.folder import SPLITS, format_count
from geoseg.dataset.stitching import BOTH, NOWHERE, Log, Well, stitch
from geoseg.pictures import NULL, grey

# Blue, orange and violet for the splits, red for rows of two of them, white where no patch is.
SHADES = {0: (64, 125, 255), 1: (245, 158, 11), 2: (139, 92, 246), BOTH: (255, 56, 50)}
NAMES = {**dict(enumerate(SPLITS)), BOTH: "two splits"}
GROOVE = (92, 214, 232)
EMPTY, CUT, INK, ALARM = (255, 255, 255), (150, 155, 162), (24, 26, 30), (205, 20, 20)

WIDTH, MOST_ZOOM = 1200, 3  # of the longest log; screen pixels a row of a short one
BAR, GAP, EDGE, LINE, SWATCH, LETTERS = 6, 14, 16, 15, 10, 12  # screen pixels
LONG_GAP = 3  # patches; a longer one is cut to one patch, so that there is room for the others

Value = TypeVar("Value", bound=np.number)
Colours = NDArray[np.uint8]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def save_picture(wells: Sequence[Well], path: Path, notes: Mapping[str, Sequence[str]]) -> None:
    """Write a PNG; OSError names the file. Depth goes to the right, several rows a screen pixel.

    `notes` are what is wrong with some wells, by name: a few words a line, drawn in red.
    """
    closed = [_without_long_gaps(well) for well in wells]
    longest = max(well.shape[0] for well, _ in closed)
    rows, zoom = -(-longest // WIDTH), max(1, min(MOST_ZOOM, WIDTH // longest))
    font = ImageFont.load_default(LETTERS)
    texts = [[well.name, *notes.get(well.name, ())] for well in wells]
    left = 2 * EDGE + int(max(font.getlength(line) for text in texts for line in text))
    strips = [_draw(stitch(well), rows).repeat(zoom, 0).repeat(zoom, 1) for well, _ in closed]
    heights = [
        max(len(strip), LINE * len(text)) + GAP for strip, text in zip(strips, texts, strict=True)
    ]
    size = (left + WIDTH + EDGE, sum(heights) + 2 * EDGE + LINE)
    canvas = Image.new("RGB", size, EMPTY)
    pen, top = ImageDraw.Draw(canvas), EDGE
    for strip, text, height, (_, cuts) in zip(strips, texts, heights, closed, strict=True):
        for number, line in enumerate(text):
            place = (EDGE, top + LINE * number)
            pen.text(place, line, ALARM if len(text) > 1 else INK, font)
        canvas.paste(Image.fromarray(strip), (left, top))
        for row in cuts:
            _mark_cut(pen, left + row * zoom // rows, top, len(strip))
        top += height
    _explain(pen, top, font, f"{format_count(rows, 'row')} a pixel" if rows > 1 else "")
    with name_in_errors(path), atomic_write(path) as temporary:
        canvas.save(temporary, format="PNG")


def _without_long_gaps(well: Well) -> tuple[Well, list[int]]:
    """The well with its patches moved together where many are missing, and the rows of the cuts."""
    indices = well.patches.indices.numpy()
    depths, which = np.unique(indices // well.sides, return_inverse=True)
    missing = np.diff(depths, prepend=-1) - 1
    long = missing > LONG_GAP
    depths = np.where(long, 2, missing + 1).cumsum() - 1
    moved = torch.from_numpy(depths[which] * well.sides + indices % well.sides)
    step = well.patches.images.shape[1] - well.overlap
    cuts = (depths[long] * step - step // 2).tolist()
    return replace(well, patches=replace(well.patches, indices=moved)), cuts


def _draw(log: Log, rows: int) -> Colours:
    """The log on its side over a bar of its splits, (A + BAR, Z / rows, 3)."""
    with warnings.catch_warnings():  # the mean of nothing is null
        warnings.simplefilter("ignore", RuntimeWarning)
        image = np.nanmean(_binned(log.image, rows, np.nan), axis=1).T
    colours = grey(image)
    origin = _binned(log.origin, rows, NOWHERE)
    colours[:, (origin == NOWHERE).all(1)] = EMPTY
    if log.mask is not None:
        groove = (_binned(log.mask, rows, 0) == 1).any(1).T
        colours[groove] = _in_groove(colours[groove])
    bar = np.full((BAR, len(origin), 3), EMPTY, np.uint8)
    held = {code: (origin == code).any(1) for code in SHADES}
    held[BOTH] |= sum(held[code].astype(int) for code in range(BOTH)) > 1
    for code, shade in SHADES.items():
        bar[:, held[code]] = shade
    return np.concatenate([colours, bar])


def _in_groove(colours: Colours) -> Colours:
    return (colours // 3 + np.array(GROOVE) * 2 // 3).astype(np.uint8)


def _binned(values: NDArray[Value], rows: int, fill: float) -> NDArray[Value]:
    """(Z, ...) as (Z / rows, rows, ...), the last bin filled up."""
    padding = [(0, -len(values) % rows), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, padding, constant_values=fill)
    return padded.reshape(-1, rows, *values.shape[1:])


def _mark_cut(pen: ImageDraw.ImageDraw, left: int, top: int, height: int) -> None:
    """A dotted line."""
    for y in range(top, top + height, 4):
        pen.line((left, y, left, y + 1), CUT)


def _explain(pen: ImageDraw.ImageDraw, top: int, font: Font, scale: str) -> None:
    """What the colours mean, in one line."""
    left = EDGE
    groove = _in_groove(np.full(3, 127, np.uint8))
    swatches = {**{NAMES[code]: shade for code, shade in SHADES.items()}, "null": NULL}
    for name, shade in {**swatches, "labelled groove": tuple(groove.tolist())}.items():
        pen.rectangle((left, top + 3, left + SWATCH, top + 3 + SWATCH), shade)
        pen.text((left + SWATCH + 5, top), name, INK, font)
        left += SWATCH + 5 + int(font.getlength(name)) + 2 * EDGE
    _mark_cut(pen, left + 3, top + 1, LINE)
    words = f"more than {LONG_GAP} patches missing{'; ' * bool(scale)}{scale}"
    pen.text((left + EDGE, top), words, INK, font)

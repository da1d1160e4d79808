"""Draw all wells of a data set in one picture, each with the splits of its rows.

Z depth, A azimuth.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geoseg.atomic_files import atomic_write
from geoseg.dataset.folder import SPLITS, format_count
from geoseg.dataset.stitching import StitchedLog, Well, stitch
from geoseg.pictures import NULL, overlay

# Blue, orange and violet for the splits, red for rows of two of them.
SPLIT_COLOURS = ((64, 125, 255), (245, 158, 11), (139, 92, 246), (255, 56, 50))
BACKGROUND, CUT, TEXT, ALARM = (255, 255, 255), (150, 155, 162), (24, 26, 30), (205, 20, 20)

WIDTH, MAX_ZOOM = 1200, 3  # screen pixels of the longest log, and per row of a short one
BAR, GAP, MARGIN, LINE, SWATCH, FONT_SIZE = 6, 14, 16, 15, 10, 12  # screen pixels
MAX_MISSING = 3  # patches; a longer gap is cut to one patch, to leave room for the other patches

Value = TypeVar("Value", bound=np.generic)
Colours = NDArray[np.uint8]


def save_picture(wells: Sequence[Well], path: Path, notes: Mapping[str, Sequence[str]]) -> None:
    """Write a PNG with depth to the right; raise OSError with the path if that fails.

    `notes` maps the name of a well to lines about what is wrong with it, which are drawn in red.
    """
    shortened = [_shorten_gaps(well) for well in wells]
    longest = max(well.shape[0] for well, _ in shortened)
    rows, zoom = -(-longest // WIDTH), max(1, min(MAX_ZOOM, WIDTH // longest))
    font = ImageFont.load_default(FONT_SIZE)
    texts = [[well.name, *notes.get(well.name, ())] for well in wells]
    left = 2 * MARGIN + int(max(font.getlength(line) for text in texts for line in text))
    strips = [
        _draw_log(stitch(well), rows).repeat(zoom, 0).repeat(zoom, 1) for well, _ in shortened
    ]
    heights = [
        max(len(strip), LINE * len(text)) + GAP for strip, text in zip(strips, texts, strict=True)
    ]
    size = (left + WIDTH + MARGIN, sum(heights) + 2 * MARGIN + LINE)
    canvas = Image.new("RGB", size, BACKGROUND)
    pen, top = ImageDraw.Draw(canvas), MARGIN
    pen.font = font
    for strip, text, height, (_, cuts) in zip(strips, texts, heights, shortened, strict=True):
        for number, line in enumerate(text):
            pen.text((MARGIN, top + LINE * number), line, ALARM if len(text) > 1 else TEXT)
        canvas.paste(Image.fromarray(strip), (left, top))
        for row in cuts:
            x = left + row * zoom // rows
            pen.line((x, top, x, top + len(strip) - 1), CUT)
        top += height
    _draw_legend(pen, top, f"; {format_count(rows, 'row')} a pixel" if rows > 1 else "")
    with atomic_write(path) as temporary:
        canvas.save(temporary, format="PNG")


def _shorten_gaps(well: Well) -> tuple[Well, list[int]]:
    """Cut long gaps between patches; return the well and the rows of the cuts."""
    indices = well.patches.indices.numpy()
    depths, which = np.unique(indices // well.twin_count, return_inverse=True)
    missing = np.diff(depths, prepend=-1) - 1
    is_long = missing > MAX_MISSING
    depths = np.where(is_long, 2, missing + 1).cumsum() - 1
    moved = torch.from_numpy(depths[which] * well.twin_count + indices % well.twin_count)
    step = well.patches.images.shape[1] - well.overlap
    cuts = (depths[is_long] * step - step // 2).tolist()
    return replace(well, patches=replace(well.patches, indices=moved)), cuts


def _draw_log(log: StitchedLog, rows: int) -> Colours:
    """Draw the log above a bar of its splits, (A + BAR, Z / rows, 3)."""
    with warnings.catch_warnings():  # the mean of nulls is null
        warnings.simplefilter("ignore", RuntimeWarning)
        image = np.nanmean(_bin_rows(log.image, rows, np.nan), axis=1).T
    groove = np.zeros(image.shape, bool)
    if log.mask is not None:
        groove = _bin_rows(log.mask == 1, rows, 0).max(1).T
    colours = overlay(image, groove)
    splits = _bin_rows(log.row_splits.T, rows, 0).max(1).T
    colours[:, ~splits.any(0)] = BACKGROUND
    bar = np.full((BAR, splits.shape[1], 3), BACKGROUND, np.uint8)
    for where, colour in zip((*splits, splits.sum(0) > 1), SPLIT_COLOURS, strict=True):
        bar[:, where] = colour
    return np.concatenate([colours, bar])


def _bin_rows(values: NDArray[Value], rows: int, fill: float) -> NDArray[Value]:
    """Reshape (Z, ...) to (Z / rows, rows, ...), with the last bin padded."""
    padding = [(0, -len(values) % rows), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, padding, constant_values=fill)
    return padded.reshape(-1, rows, *values.shape[1:])


def _draw_legend(pen: ImageDraw.ImageDraw, top: int, scale: str) -> None:
    """Draw the meaning of the colours in one line."""
    left = MARGIN
    groove = tuple(overlay(np.zeros((1, 1), np.float32), np.ones((1, 1), bool))[0, 0].tolist())
    names = (*SPLITS, "two splits", "null", "labelled groove")
    for name, colour in zip(names, (*SPLIT_COLOURS, NULL, groove), strict=True):
        pen.rectangle((left, top + 3, left + SWATCH, top + 3 + SWATCH), colour)
        pen.text((left + SWATCH + 5, top), name, TEXT)
        left += SWATCH + 5 + int(pen.textlength(name)) + 2 * MARGIN
    pen.line((left + 3, top + 1, left + 3, top + LINE), CUT)
    pen.text((left + MARGIN, top), f"more than {MAX_MISSING} patches missing{scale}", TEXT)

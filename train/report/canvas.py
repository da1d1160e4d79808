"""Lines, dots and words, as SVG for a page or as a PNG; x and y in pixels from the top left."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import Literal, NamedTuple

from PIL import Image, ImageColor, ImageDraw

from train.report.lettering import lettering

Point = tuple[float, float]
# Colours by their part, as the style sheet of the pages has them in the light, and the ground.
PARTS = {"ink": "#1d2127", "dim": "#636b76", "edge": "#e1e3e6", "card": "#ffffff"}
_PALE = 0.5  # opacity
_SHARP, _SMOOTH = 2, 2  # pixels of the PNG a pixel, and how many times finer it is drawn
_FONT = "system-ui, sans-serif"


class Line(NamedTuple):
    """Through several points; colours are "#rrggbb" or a part's name."""

    points: Sequence[Point]
    colour: str
    width: float = 1
    pale: bool = False


class Dot(NamedTuple):
    """Filled, with a rim of the ground; a page says what it is `about` where it is pointed at."""

    at: Point
    colour: str
    radius: float
    about: str = ""
    pale: bool = False


class Words(NamedTuple):
    """On a line whose middle is at y; `at` is where they start, have their middle or end."""

    at: Point
    text: str
    colour: str = "ink"
    anchor: Literal["start", "middle", "end"] = "start"
    size: float = 12


Shape = Line | Dot | Words


def moved(shapes: Sequence[Shape], x: float, y: float = 0) -> list[Shape]:
    """The same ones, so far to the right and down."""
    return [
        shape._replace(points=[(left + x, top + y) for left, top in shape.points])
        if isinstance(shape, Line)
        else shape._replace(at=(shape.at[0] + x, shape.at[1] + y))
        for shape in shapes
    ]


def svg(shapes: Sequence[Shape], width: float, height: float, about: str) -> str:
    """An element for a page, which says in words what it is `about`."""
    drawn = "\n".join(map(_element, shapes))
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(about)}">\n'
        f"{drawn}\n</svg>\n"
    )


def _element(shape: Shape) -> str:
    colour = f"var(--{shape.colour})" if shape.colour in PARTS else shape.colour
    if isinstance(shape, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        pale = f";stroke-opacity:{_PALE}" if shape.pale else ""
        style = (
            f"fill:none;stroke:{colour};stroke-width:{shape.width:g};stroke-linejoin:round{pale}"
        )
        return f'<polyline points="{points}" style="{style}"/>'
    x, y = shape.at
    if isinstance(shape, Dot):
        pale = f";fill-opacity:{_PALE}" if shape.pale else ""
        style = f"fill:{colour};stroke:var(--card);stroke-width:1.5{pale}"
        return (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.radius:g}" style="{style}">'
            f"<title>{escape(shape.about)}</title></circle>"
        )
    style = f"font:{shape.size:g}px {_FONT};fill:{colour};text-anchor:{shape.anchor}"
    middle = y + 0.35 * shape.size  # of digits and capitals
    return f'<text x="{x:.1f}" y="{middle:.1f}" style="{style}">{escape(shape.text)}</text>'


def png(shapes: Sequence[Shape], width: int, height: int) -> bytes:
    """A PNG file on a light ground, twice as large, so that it is sharp on any screen."""
    scale = _SHARP * _SMOOTH
    canvas = Image.new("RGB", (width * scale, height * scale), PARTS["card"])
    pen = ImageDraw.Draw(canvas)
    for shape in shapes:
        _draw(pen, shape, scale)
    sharp = canvas.resize((width * _SHARP, height * _SHARP), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    sharp.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, scale: int) -> None:
    colour = PARTS.get(shape.colour, shape.colour)
    if not isinstance(shape, Words) and shape.pale:
        colour = _pale(colour)
    if isinstance(shape, Line):
        points = [(x * scale, y * scale) for x, y in shape.points]
        pen.line(points, colour, round(shape.width * scale), joint="curve")
        return
    x, y = (place * scale for place in shape.at)
    if isinstance(shape, Dot):
        for reach, shade in ((0.75, PARTS["card"]), (-0.75, colour)):  # the rim is 1.5 wide
            radius = (shape.radius + reach) * scale
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), shade)
        return
    anchor = {"start": "lm", "middle": "mm", "end": "rm"}[shape.anchor]
    text, font = lettering(shape.text, shape.size * scale)
    pen.text((x, y), text, colour, font, anchor)


def _pale(colour: str) -> str:
    mixed = (round(255 + (part - 255) * _PALE) for part in ImageColor.getrgb(colour)[:3])
    return "#" + "".join(f"{part:02x}" for part in mixed)

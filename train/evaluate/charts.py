"""Small charts as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable

from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.robustness import Curve

_SIDE = 160  # of the plotted square
_LEFT, _TOP, _BOTTOM = 30, 8, 22

Point = tuple[float, float]


def calibration_chart(calibration: Calibration) -> str:
    """Share of true grooves against probability, a dot a bin."""
    most = max(calibration.pixels, default=0) or 1
    dots, line = [], []
    rows = zip(calibration.promised, calibration.observed, calibration.pixels, strict=True)
    for promised, observed, pixels in rows:
        if promised is None or observed is None:
            continue
        line.append((promised, observed))
        x, y = _place(promised, observed)
        # From the logarithm: background pixels are a thousand times as many.
        radius = 2 + 4 * math.sqrt(math.log1p(pixels) / math.log1p(most))
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')
    diagonal = _line([(0, 0), (1, 1)], "ideal")
    return _frame(
        diagonal + _line(line, "solid") + f'<g class="dots">{"".join(dots)}</g>',
        {0: "0", 0.5: "0.5", 1: "1"},
        "probability",
    )


def curves_chart(curve: Curve, logarithmic: bool = False) -> str:
    """IoU with the label and with the unchanged mask against a change of the images."""
    scale = math.log if logarithmic else float
    low, high = scale(curve.at[0]), scale(curve.at[-1])
    places = [(scale(value) - low) / (high - low) for value in curve.at]
    middle = len(places) // 2
    ticks = {places[i]: f"{curve.at[i]:g}" for i in (0, middle, len(places) - 1)}
    drawn = _line(zip(places, curve.kept, strict=True), "dashed")
    drawn += _line(zip(places, curve.iou, strict=True), "solid")
    return _frame(drawn, ticks, "gain" if logarithmic else "noise, standard deviation")


def _place(x: float, y: float) -> Point:
    """Where shares of the two axes are on the canvas."""
    return _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE


def _line(points: Iterable[Point], style: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*p) for p in points))
    return f'<polyline class="{style}" points="{joined}"/>'


def _frame(content: str, ticks: dict[float, str], label: str) -> str:
    """A square from 0 to 1 upwards, with ticks by their place across."""
    width, height = _LEFT + _SIDE + 14, _TOP + _SIDE + _BOTTOM + 12
    marks = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = _place(0, share)
        marks.append(f'<path class="grid" d="M{x:.1f} {y:.1f}h{_SIDE}"/>')
        if share in (0, 0.5, 1):
            marks.append(f'<text x="{x - 5:.1f}" y="{y + 3.5:.1f}" class="up">{share:g}</text>')
    foot = _TOP + _SIDE + 14
    for place, text in ticks.items():
        marks.append(f'<text x="{_place(place, 0)[0]:.1f}" y="{foot}" class="across">{text}</text>')
    centre = _LEFT + _SIDE / 2
    marks.append(f'<text x="{centre}" y="{foot + 14}" class="across label">{label}</text>')
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(marks)}{content}</svg>'

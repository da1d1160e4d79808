"""The curves of several runs side by side: what they lost, and how good they were."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from train.report.canvas import Dot, Line, Point, Shape, Words
from train.report.history import RunHistory
from train.report.lettering import length, wrapped

# Okabe and Ito's, which those who see few colours can tell apart; then ever other hues.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GOLDEN = 0.618034
_LUMINANCE = 0.2  # of these hues: about as far from the light ground as from the dark one
WIDTH, HEIGHT = 520, 392  # of a plot with all that is around it
_ACROSS, _UP = 444, 290  # of the plot itself
_LEFT, _TOP = 56, 52
_ROW, _NEXT = 22, 16  # of the legend: between runs, and between the rows of one name
_EDGE = 6  # of the picture, which no number beside an axis may touch


class _Axis(NamedTuple):
    """From a number to its share of the way, and the numbers that are written beside it."""

    low: float
    high: float
    ticks: list[float]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


def colour(place: int) -> str:
    """The colour of a run by its place."""
    if place < len(_COLOURS):
        return _COLOURS[place]
    hue = (place * _GOLDEN) % 1
    shades = (colorsys.hls_to_rgb(hue, lightness / 100, 0.55) for lightness in range(100))
    shade = next(shade for shade in shades if luminance(shade) >= _LUMINANCE)
    return "#" + "".join(f"{round(part * 255):02x}" for part in shade)


def luminance(shade: Sequence[float]) -> float:
    """How bright red, green and blue, each 0 to 1, look together: 0 to 1, nearly as in WCAG."""
    return sum(
        weight * part**2.2 for weight, part in zip((0.2126, 0.7152, 0.0722), shade, strict=True)
    )


def draw_loss(runs: Sequence[RunHistory]) -> list[Shape]:
    """The loss of each run against its epochs, on WIDTH x HEIGHT pixels."""
    names = ("loss", "validation_loss")
    values = [value for run in runs for name in names for _, value in run.series(name)]
    across, up = _epochs(runs), _losses(values)
    shapes = _frame("Loss", "validation, and training in pale", across, up)
    for place, run in enumerate(runs):
        shapes += _curve(_points(run.series("loss"), across, up), colour(place), pale=True)
        shapes += _curve(_points(run.series("validation_loss"), across, up), colour(place))
    return shapes + _best_dots(runs, "validation_loss", across, up)


def draw_iou(runs: Sequence[RunHistory]) -> list[Shape]:
    """The validation IoU of each run against its epochs, on WIDTH x HEIGHT pixels."""
    across, up = _epochs(runs), _linear(max(run.best["iou"] for run in runs))
    shapes = _frame("IoU", "validation; a dot at the best epoch", across, up)
    for place, run in enumerate(runs):
        shapes += _curve(_points(run.series("iou"), across, up), colour(place))
    return shapes + _best_dots(runs, "iou", across, up)


def _best_dots(runs: Sequence[RunHistory], name: str, across: _Axis, up: _Axis) -> list[Shape]:
    """Where the best epoch of each run is, to be drawn above all the curves."""
    dots: list[Shape] = []
    for place, run in enumerate(runs):
        (at,) = _points([(run.best["epoch"], run.best[name])], across, up)
        dots.append(Dot(at, colour(place), 5, f"{run.name}: {describe_best(run)}"))
    return dots


def draw_legend(runs: Sequence[RunHistory]) -> tuple[list[Shape], int]:
    """A line in words for each run, for under two plots; and how high all of them are."""
    shapes: list[Shape] = []
    y = _ROW // 2
    for place, run in enumerate(runs):
        shapes.append(Line([(_LEFT, y), (_LEFT + 22, y)], colour(place), 3))
        shapes.append(Words((WIDTH + _LEFT, y), describe_best(run), "dim"))
        rows = wrapped(run.name, WIDTH - 48, 12)  # whole, for names may differ anywhere
        shapes += [Words((_LEFT + 32, y + _NEXT * k), row) for k, row in enumerate(rows)]
        y += _ROW + _NEXT * (len(rows) - 1)
    return shapes, y + _ROW // 2


def describe_best(run: RunHistory) -> str:
    """The best epoch in words."""
    best = run.best
    return f"best IoU {best['iou']:.4f} at epoch {best['epoch']:,} of {run.records[-1]['epoch']:,}"


def _curve(points: Sequence[Point], shade: str, pale: bool = False) -> list[Shape]:
    if len(points) == 1:
        return [Dot(points[0], shade, 4, pale=pale)]
    return [Line(points, shade, 1.3 if pale else 2, pale)]


def _points(series: Sequence[tuple[int, float]], across: _Axis, up: _Axis) -> list[Point]:
    return [
        (_LEFT + _ACROSS * across.share(epoch), _TOP + _UP * (1 - up.share(value)))
        for epoch, value in series
    ]


def _frame(title: str, note: str, across: _Axis, up: _Axis) -> list[Shape]:
    foot, right = _TOP + _UP, _LEFT + _ACROSS
    scale = ", logarithmic" if up.logarithmic else ""
    shapes: list[Shape] = [
        Words((_LEFT - 34, 16), title + scale, size=14),
        Words((right, 16), note, "dim", "end"),
        Words(((_LEFT + right) / 2, foot + 36), "epoch", "dim", "middle"),
    ]
    for value in up.ticks:
        y = _TOP + _UP * (1 - up.share(value))
        shapes.append(Line([(_LEFT, y), (right, y)], "edge"))
        shapes.append(Words((_LEFT - 8, y), f"{value:g}", "dim", "end", 11))
    for value in across.ticks:
        x = _LEFT + _ACROSS * across.share(value)
        shapes.append(Line([(x, foot), (x, foot + 4)], "dim"))
        number = f"{value:,.0f}"
        middle = min(x, WIDTH - _EDGE - length(number, 11) / 2)
        shapes.append(Words((middle, foot + 15), number, "dim", "middle", 11))
    return [*shapes, Line([(_LEFT, foot), (right, foot)], "dim")]


def _step(most: float, parts: int) -> float:
    """1, 2 or 5 times a power of ten, so that about `parts` of it make `most`."""
    power = 10.0 ** math.floor(math.log10(most / parts))
    return next(power * k for k in (1, 2, 5, 10) if power * k * parts >= most * 0.999)


def _multiples(step: float, high: float) -> list[float]:
    return [round(step * k, 12) for k in range(math.floor(high / step + 1e-9) + 1)]


def _linear(most: float) -> _Axis:
    """From 0 to the next tick beyond the greatest value."""
    step = _step(most or 1, 5)
    high = step * math.ceil((most or 1) / step - 1e-9)
    return _Axis(0, high, _multiples(step, high))


def _losses(values: Sequence[float]) -> _Axis:
    """Logarithmic where one order of magnitude is not enough."""
    low, high = min(values), max(values)
    if low <= 0 or high < 10 * low:
        return _linear(high)
    first, last = math.log10(low), math.log10(high)
    between = (1, 2, 5) if last - first <= 5 else (1,)
    every = math.ceil((last - first) / 10)
    powers = range(math.floor(first / every) * every, math.ceil(last) + 1, every)
    ticks = [k * 10.0**power for power in powers for k in between]
    return _Axis(low, high, [tick for tick in ticks if low <= tick <= high], True)


def _epochs(runs: Sequence[RunHistory]) -> _Axis:
    """From 1, where a run has its first numbers; a single epoch is in the middle."""
    last = max(run.records[-1]["epoch"] for run in runs)
    if last == 1:
        return _Axis(0, 2, [1])
    step = max(1, _step(last, 8))
    ticks = [1, *(tick for tick in _multiples(step, last) if tick > step / 2 and tick > 1)]
    return _Axis(1, last, ticks)

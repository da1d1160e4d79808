"""The loss and the IoU of runs against their epochs."""

from __future__ import annotations

import colorsys
import io
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from train.report.charts import BACKGROUND, STYLE, make_svg
from train.report.history import RunHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct for colour-blind readers; further runs have other hues.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GOLDEN_RATIO = 0.618034
_LUMINANCE = 0.2  # of the other hues: contrasts with a light background as much as with a dark one
_LEGEND_WIDTH = 72  # characters, which fit below the charts even if each is as wide as high


def run_colour(index: int) -> str:
    """Return the colour of a run as #rrggbb."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    rgb = np.array(colorsys.hls_to_rgb(index * _GOLDEN_RATIO % 1, 0.5, 0.4))
    luminance = rgb**2.2 @ (0.2126, 0.7152, 0.0722)  # nearly as in WCAG
    rgb *= (_LUMINANCE / luminance) ** (1 / 2.2)
    return "#" + "".join(f"{round(part * 255):02x}" for part in rgb)


def draw_loss(axes: Axes, runs: Sequence[RunHistory]) -> None:
    """Draw the losses, on a logarithmic axis if they span more than one order of magnitude."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for index, run in enumerate(runs):
        _draw_series(axes, run, "loss", index, linewidth=1.2, alpha=0.5)
        _draw_series(axes, run, "validation_loss", index)
    low, high = axes.dataLim.intervaly
    logarithmic = 0 < 10 * low <= high
    title = "Loss, logarithmic" if logarithmic else "Loss"
    _finish(axes, runs, "validation_loss", title, "validation, and training in pale")
    if logarithmic:
        axes.set_yscale("log")
        if high < 1e4 * low:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        _start_at_zero(axes)


def draw_iou(axes: Axes, runs: Sequence[RunHistory]) -> None:
    """Draw the validation IoU."""
    for index, run in enumerate(runs):
        _draw_series(axes, run, "iou", index)
    _finish(axes, runs, "iou", "IoU", "validation; a dot at the best epoch")
    _start_at_zero(axes)


def _start_at_zero(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.yaxis.set_major_formatter("{x:g}")


def _draw_series(axes: Axes, run: RunHistory, key: str, index: int, **style: Any) -> None:
    marker = "o" if len(run.epochs) == 1 else ""
    axes.plot(*zip(*run.series(key), strict=True), color=run_colour(index), marker=marker, **style)


def _finish(axes: Axes, runs: Sequence[RunHistory], key: str, title: str, note: str) -> None:
    """Mark the best epoch of every run above all curves; write the titles and the epochs."""
    from matplotlib.ticker import MaxNLocator

    for index, run in enumerate(runs):
        x, y = [run.best["epoch"]], [run.best[key]]
        (dot,) = axes.plot(x, y, "o", color=run_colour(index), clip_on=False, zorder=3)
        dot.set(markersize=7.5, markeredgecolor=BACKGROUND, gid=f"{key}-{index}")
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_title(note, loc="right", fontsize="small")
    axes.set_xlabel("epoch")
    last = max(run.epochs[-1]["epoch"] for run in runs)
    locator = MaxNLocator(8, steps=[1, 2, 5, 10], integer=True)
    ticks = locator.tick_values(1, last) if last > 1 else [1]
    axes.set_xlim((1, last) if last > 1 else (0, 2))
    axes.set_xticks(sorted({max(1, tick) for tick in ticks if tick <= last}))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def describe_best(run: RunHistory) -> str:
    """Describe the best epoch in words."""
    best = run.best
    return f"best IoU {best['iou']:.4f} at epoch {best['epoch']:,} of {run.epochs[-1]['epoch']:,}"


def make_curve_svgs(runs: Sequence[RunHistory]) -> dict[str, str]:
    """Return the two charts by what they show."""
    tooltips = {
        f"{key}-{index}": f"{run.name}: {describe_best(run)}"
        for key in ("validation_loss", "iou")
        for index, run in enumerate(runs)
    }
    charts = {"Loss": draw_loss, "IoU": draw_iou}
    return {
        what: make_svg(partial(draw, runs=runs), 5.2, 3.9, tooltips)
        for what, draw in charts.items()
    }


def make_curve_png(runs: Sequence[RunHistory]) -> bytes:
    """Return a PNG file of the two charts and a legend below them."""
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context(STYLE):
        make_curve_figure(runs).savefig(file, dpi=200, bbox_inches="tight", pad_inches=0.2)
    return file.getvalue()


def make_curve_figure(runs: Sequence[RunHistory]) -> Figure:
    """Return a figure of the two charts and a legend below them."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure((10.4, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_loss(left, runs)
    draw_iou(right, runs)
    handles = [Line2D([], [], color=run_colour(i), linewidth=2.5) for i in range(len(runs))]
    names = (f"{run.name}: {describe_best(run)}" for run in runs)
    labels = [textwrap.fill(name, _LEGEND_WIDTH, drop_whitespace=False) for name in names]
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 0), frameon=False)
    return figure

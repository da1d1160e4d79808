"""Matplotlib charts for pages and pictures; matplotlib comes with the extra `report`."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, BACKGROUND = "#636b76", "#fffffe"  # replaced in SVG, so that charts follow light and dark
ACCENT = "#2b83cf"  # contrasts with the light background as much as with the dark one
STYLE: Any = {  # matplotlib's type lists its keys, which differ between versions
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "geoseg",  # the same chart is the same file
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
}


def require_matplotlib() -> None:
    """Raise ValueError, with the command that installs it, if matplotlib is missing."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ValueError(
            f"charts need matplotlib ({error}); install it with: pip install -e '.[report]'"
        ) from error


def make_svg(
    draw: Callable[[Axes], None],
    width: float,
    height: float,
    tooltips: Mapping[str, str] | None = None,
) -> str:
    """Return a chart of `width` x `height` inches as an SVG element.

    `tooltips` are texts by the gid of their artist. INK and BACKGROUND become the page's colours.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.StringIO()
    with rc_context(STYLE):
        figure = Figure((width, height), layout="constrained")
        draw(figure.subplots())
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(BACKGROUND, "var(--card)")
    for gid, text in (tooltips or {}).items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(text)}</title>')
    return svg

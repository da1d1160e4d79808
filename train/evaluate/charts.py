"""Charts of calibration and robustness, drawn on matplotlib axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.perturbations import Curve
from train.report.charts import ACCENT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_calibration(axes: Axes, calibration: Calibration) -> None:
    """Draw the share of groove pixels against the probability, a dot for each bin with pixels."""
    bins = zip(calibration.promised, calibration.observed, calibration.pixels, strict=True)
    promised, observed, pixels = np.array([row for row in bins if row[2]]).reshape(-1, 3).T
    # Logarithmic: background pixels are a thousand times as many.
    radii = 1.5 + 3 * np.sqrt(np.log1p(pixels) / np.log1p(pixels.max(initial=1)))
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8)
    axes.plot(promised, observed, color=ACCENT)
    axes.scatter(promised, observed, (2 * radii) ** 2, color=ACCENT, clip_on=False, zorder=3)
    axes.set(xlim=(0, 1), xlabel="probability")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    _finish(axes)


def draw_curve(axes: Axes, curve: Curve, what: str) -> None:
    """Draw the IoU with the label and with the unchanged mask against "noise" or "gain"."""
    axes.plot(curve.at, curve.kept, color=INK, linestyle="--", clip_on=False)
    axes.plot(curve.at, curve.iou, color=ACCENT, clip_on=False)
    axes.set(xlim=(curve.at[0], curve.at[-1]))
    axes.set_xlabel({"gain": "gain", "noise": "noise, standard deviation"}[what])
    if what == "gain":
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    ticks = curve.at[0], curve.at[len(curve.at) // 2], curve.at[-1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_box_aspect(1)

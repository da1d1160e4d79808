"""The HTML page of an evaluation, and its charts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from geoseg import pictures
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.label_errors import LabelError
from geoseg.evaluation.perturbations import Curve
from geoseg.metrics import score
from train.evaluate.assessment import Assessment
from train.evaluate.results import EvaluationResults, choose_examples
from train.evaluate.tables import describe_kind, make_tables, number
from train.report.charts import ACCENT, INK, make_svg
from train.report.html import render_html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figure = dict[str, Any]  # caption, name of the patch, pictures as data URIs
_LABEL_ERRORS = 12  # shown at most
_SIZE = 2.3, 2.4  # of a chart, inches
_LEGEND = {
    "background, correct": pictures.BACKGROUND,
    "groove, correct": pictures.CORRECT,
    "groove missed": pictures.MISSED,
    "false alarm": pictures.ALARM,
    "not counted": pictures.NULL,
}


def make_page(results: EvaluationResults) -> str:
    """Return the page as HTML."""
    models = results.assessments
    calibrations = {name: model.calibration for name, model in models.items()}
    return render_html(
        "scores.html",
        title=f"geoseg: {results.evaluation_set.description}",
        heading="Evaluation of models",
        subtitle=results.title,
        tables=make_tables(results),
        calibration_charts=[
            (
                name,
                f"ECE {number(c.ece)}",
                make_svg(partial(draw_calibration, calibration=c), *_SIZE),
            )
            for name, c in calibrations.items()
        ],
        robustness_charts=[
            (name, f"with {what}", make_svg(partial(draw_curve, curve=curve, what=what), *_SIZE))
            for name, (_, noise, gain) in results.robustness.items()
            for what, curve in (("noise", noise), ("gain", gain))
        ],
        label_errors=[
            _show_label_error(results, error)
            for error in (results.label_errors or [])[:_LABEL_ERRORS]
        ],
        examples={name: _show_examples(results, model) for name, model in models.items()},
        legend=_LEGEND,
    )


def _show_examples(results: EvaluationResults, model: Assessment) -> dict[str, list[Figure]]:
    iou = score(model.counts)["iou"].tolist()
    return {
        kind: [_show_patch(results, i, f"IoU {number(iou[i])}", model.mask[i]) for i in patches]
        for kind, patches in choose_examples(model).items()
        if patches
    }


def _show_label_error(results: EvaluationResults, found: LabelError) -> Figure:
    masks = torch.stack([model.mask[found.patch] for model in results.assessments.values()])
    label = results.evaluation_set.cut_patches(results.evaluation_set.labels)[found.patch]
    caption = f"{describe_kind(found)}; doubt {number(found.doubt, 2)}"
    return _show_patch(results, found.patch, caption, label, 2 * masks.sum(0) > len(masks))


def _show_patch(results: EvaluationResults, patch: int, caption: str, *masks: Tensor) -> Figure:
    """Return the pictures of a patch and of the errors of masks (Z, A) on it."""
    case = results.evaluation_set
    image, label, valid = (
        case.cut_patches(part)[patch].numpy() for part in (case.images, case.labels, case.valid)
    )
    shown = [pictures.grey(image), *(pictures.errors(m.numpy(), label, valid) for m in masks)]
    uris = [pictures.data_uri(picture) for picture in shown]
    return {"caption": caption, "name": case.names[patch], "pictures": uris}


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

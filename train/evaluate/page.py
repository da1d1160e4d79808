"""The HTML page of an evaluation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from geoseg import pictures
from geoseg.evaluation.label_errors import LabelError
from geoseg.metrics import score
from train.evaluate.assessment import Assessment
from train.evaluate.charts import draw_calibration, draw_curve
from train.evaluate.results import EvaluationResults, choose_examples
from train.evaluate.tables import describe_kind, make_tables, number
from train.report.charts import make_svg
from train.report.html import render_html

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

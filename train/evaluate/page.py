"""The HTML page of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg import pictures
from geoseg.evaluation.evaluation_set import EvaluationSet
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
    return render_html(
        "scores.html",
        title=f"geoseg: {results.evaluation_set.description}",
        heading="Evaluation of models",
        subtitle=results.title,
        tables=make_tables(results),
        calibration_charts=[
            (
                name,
                f"ECE {number(a.calibration.ece)}",
                make_svg(partial(draw_calibration, calibration=a.calibration), *_SIZE),
            )
            for name, a in models.items()
        ],
        robustness_charts=[
            (
                name,
                f"with {what}",
                make_svg(partial(draw_curve, curve=curve, logarithmic=what == "gain"), *_SIZE),
            )
            for name, (_, noise, gain) in results.robustness.items()
            for what, curve in (("noise", noise), ("gain", gain))
        ],
        label_errors=[
            _show_label_error(results, found)
            for found in (results.label_errors or [])[:_LABEL_ERRORS]
        ],
        examples={
            name: {
                kind: [_show_example(results, model, patch) for patch in patches]
                for kind, patches in choose_examples(model).items()
                if patches
            }
            for name, model in models.items()
        },
        legend=_LEGEND,
    )


def _show_example(results: EvaluationResults, model: Assessment, patch: int) -> Figure:
    caption = f"IoU {number(score(model.counts)['iou'][patch].item())}"
    return _show_patch(results.evaluation_set, patch, caption, [model.mask[patch].numpy()])


def _show_label_error(results: EvaluationResults, found: LabelError) -> Figure:
    label = results.evaluation_set.cut_patches(results.evaluation_set.labels)[found.patch].numpy()
    masks = [model.mask[found.patch].numpy() for model in results.assessments.values()]
    majority = np.mean(masks, axis=0) > 0.5
    caption = f"{describe_kind(found)}; doubt {number(found.doubt, 2)}"
    return _show_patch(results.evaluation_set, found.patch, caption, [label, majority])


def _show_patch(
    evaluation_set: EvaluationSet, patch: int, caption: str, masks: Iterable[NDArray[np.bool_]]
) -> Figure:
    """Return the pictures of a patch and of the errors of masks on it."""
    image, label, valid = (
        evaluation_set.cut_patches(part)[patch].numpy()
        for part in (evaluation_set.images, evaluation_set.labels, evaluation_set.valid)
    )
    shown = [pictures.grey(image), *(pictures.errors(mask, label, valid) for mask in masks)]
    uris = [pictures.data_uri(picture) for picture in shown]
    return {"caption": caption, "name": evaluation_set.names[patch], "pictures": uris}

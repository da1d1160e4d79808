"""The HTML page of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg import pictures
from geoseg.atomic_files import atomic_write_text
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import LabelError
from geoseg.metrics import METRICS
from train.evaluate.assessment import Assessment, patch_iou
from train.evaluate.charts import draw_calibration, draw_curve
from train.evaluate.results import EvaluationResults, choose_examples
from train.evaluate.tables import describe_kind, number, percent
from train.report.charts import make_svg
from train.report.html import render_html

Figure = dict[str, Any]  # caption, name of the patch, pictures as data URIs
_LABEL_ERRORS = 12  # shown at most
_SCORES = {"micro_iou": "micro IoU", "micro_dice": "micro Dice"}
_SCORES |= {name: {"iou": "IoU", "dice": "Dice"}.get(name, name) for name in METRICS[::-1]}
_LEGEND = {
    "background, correct": pictures.BACKGROUND,
    "groove, correct": pictures.CORRECT,
    "groove missed": pictures.MISSED,
    "false alarm": pictures.ALARM,
    "not counted": pictures.NULL,
}


def write_page(path: Path, results: EvaluationResults) -> None:
    """Write the page; OSError names the file."""
    atomic_write_text(path, make_page(results))


def make_page(results: EvaluationResults) -> str:
    """Return the page as HTML."""
    models = results.assessments
    return render_html(
        "scores.html",
        title=f"geoseg: {results.evaluation_set.description}",
        heading="Evaluation of models",
        subtitle=results.title,
        models=models,
        wells=next(iter(models.values())).wells,
        robustness=results.robustness,
        score_names=_SCORES,
        charts={name: _draw_charts(results, name) for name in models},
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
        number=number,
        percent=percent,
    )


def _draw_charts(results: EvaluationResults, name: str) -> dict[str, str]:
    """Return the charts of one model as SVG, by what they show."""
    calibration = results.assessments[name].calibration
    charts = {"calibration": partial(draw_calibration, calibration=calibration)}
    if found := results.robustness.get(name):
        charts["noise"] = partial(draw_curve, curve=found.noise)
        charts["gain"] = partial(draw_curve, curve=found.gain, logarithmic=True)
    return {what: make_svg(draw, 2.3, 2.4) for what, draw in charts.items()}


def _show_example(results: EvaluationResults, model: Assessment, patch: int) -> Figure:
    caption = f"IoU {number(patch_iou(model.counts)[patch].item())}"
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

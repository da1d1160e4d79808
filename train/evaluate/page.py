"""An evaluation on one page: a single HTML file without scripts, fit for light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from geoseg.atomic_files import atomic_write_text
from geoseg.metrics import METRICS
from geoseg.pictures import Colours, data_uri, errors, grey
from train.evaluate.assessment import Assessment, patch_iou
from train.evaluate.charts import calibration_chart, curves_chart
from train.evaluate.results import EvaluationResults, choose_examples
from train.evaluate.tables import describe_kind, number, percent
from train.report.webpage import document, section, table

_SUSPECTS = 12  # how many are shown


def write_page(path: Path, findings: EvaluationResults) -> None:
    """Write the page; OSError names the file."""
    atomic_write_text(path, page(findings))


def page(findings: EvaluationResults) -> str:
    """The page as HTML."""
    sections = [
        section("Scores", _scores(findings), _SCORES_NOTE),
        section("Lines, grooves and probabilities", _lines(findings), _LINES_NOTE),
        section("Wells", _wells(findings), "IoU: mean over patches / all pixels."),
        section("Calibration", _calibration(findings), _CALIBRATION_NOTE),
    ]
    if findings.robustness:
        sections.append(section("Robustness", _robustness(findings), _ROBUSTNESS_NOTE))
    if findings.label_errors:
        sections.append(section("Labels most likely wrong", _suspects(findings), _SUSPECTS_NOTE))
    sections.append(section("Patches", _patches(findings), _LEGEND, raw_note=True))
    title = f"geoseg: {findings.evaluation_set.description}"
    return document(title, "How good the models are", findings.title, "".join(sections))


_SCORES_NOTE = (
    "Micro pools the pixels of all patches; the others are means over patches. By the challenge's "
    "rule a patch without a groove is worth 1 where nothing was found and 0 where anything was."
)
_LINES_NOTE = (
    "Dice within one column forgives an edge that is one column off; clDice asks only whether each "
    "middle line runs inside the other's groove. A groove is found where the prediction comes "
    "within a column of it in half of its rows. Errors of width (columns) and length (rows) are "
    "mean absolute ones of found grooves. False alarms: share of patches without a groove where "
    "one was found."
)
_CALIBRATION_NOTE = (
    "Share of true grooves among the pixels of each bin of probability. On the diagonal a model "
    "means what it says; below it, it is too sure. The larger a dot, the more pixels."
)
_ROBUSTNESS_NOTE = (
    "Solid: IoU with the label. Dashed: IoU of the mask with the one of the unchanged image. "
    "Rolls: how often the mask turns with the pipe, pixel for pixel."
)
_SUSPECTS_NOTE = (
    "Here the models agree with each other and not with the label. Each is worth a look, none is "
    "proven. Left the patch, in the middle the label, right what most models say."
)
_LEGEND = (
    '<span class="key"><i class="tn"></i>background, correct</span>'
    '<span class="key"><i class="tp"></i>groove, correct</span>'
    '<span class="key"><i class="fn"></i>groove missed</span>'
    '<span class="key"><i class="fp"></i>false alarm</span>'
    '<span class="key"><i class="null"></i>not counted</span>'
)


def _scores(findings: EvaluationResults) -> str:
    keys = ("micro_iou", "micro_dice", *METRICS[::-1])
    names = {"iou": "IoU", "micro_iou": "micro IoU", "micro_dice": "micro Dice", "dice": "Dice"}
    return table(
        ["model", *(names.get(key, key) for key in keys), "threshold"],
        (
            [name, *(number(a.scores[key]) for key in keys), f"{a.threshold:g}"]
            for name, a in findings.assessments.items()
        ),
    )


def _lines(findings: EvaluationResults) -> str:
    headings = ["model", "Dice ±1 column", "clDice", "grooves: precision", "recall"]
    headings += ["width error", "length error", "false alarms", "ECE", "Brier"]
    return table(headings, (_line(*item) for item in findings.assessments.items()))


def _line(name: str, found: Assessment) -> list[str]:
    grooves, scores = found.grooves, found.scores
    return [
        name,
        number(scores["tolerant_dice"]),
        number(scores["centreline_dice"]),
        f"{number(grooves.precision)} ({grooves.right:,} of {grooves.predicted:,})",
        f"{number(grooves.recall)} ({grooves.found:,} of {grooves.true:,})",
        number(grooves.width_error, 2),
        number(grooves.length_error, 1),
        f"{percent(found.false_alarms['rate'])} of {found.false_alarms['patches']:,}",
        number(scores["ece"]),
        number(scores["brier"]),
    ]


def _wells(findings: EvaluationResults) -> str:
    models = findings.assessments
    first = next(iter(models.values()))
    rows = (
        [
            well,
            f"{row['patches']:,}",
            *(
                f"{number(a.wells[well]['iou'])} / {number(a.wells[well]['micro_iou'])}"
                for a in models.values()
            ),
        ]
        for well, row in first.wells.items()
    )
    return table(["well", "patches", *models], rows)


def _calibration(findings: EvaluationResults) -> str:
    return _charts(
        (name, f"ECE {number(a.calibration.ece)}", calibration_chart(a.calibration))
        for name, a in findings.assessments.items()
    )


def _robustness(findings: EvaluationResults) -> str:
    found = findings.robustness
    turning = table(
        ["model", "same mask at every roll", "same mask at a roll", "IoU kept over rolls"],
        (
            [
                name,
                percent(r.shift.identical_patches),
                percent(r.shift.identical_pairs),
                number(r.shift.kept),
            ]
            for name, r in found.items()
        ),
    )
    charts = []
    for name, r in found.items():
        charts.append((name, "against noise", curves_chart(r.noise)))
        charts.append((name, "against gain", curves_chart(r.gain, logarithmic=True)))
    return turning + _charts(charts)


def _charts(charts: Iterable[tuple[str, str, str]]) -> str:
    figures = "".join(
        f"<figure>{svg}<figcaption><b>{escape(name)}</b> {escape(what)}</figcaption></figure>\n"
        for name, what, svg in charts
    )
    return f'<div class="charts">{figures}</div>\n'


def _patches(findings: EvaluationResults) -> str:
    return "".join(
        f"<h3>{escape(name)}</h3>\n"
        + "".join(
            f'<div class="row"><h4>{kind}</h4>'
            + "".join(_example(findings, found, place) for place in places)
            + "</div>\n"
            for kind, places in choose_examples(found).items()
            if places
        )
        for name, found in findings.assessments.items()
    )


def _example(findings: EvaluationResults, found: Assessment, place: int) -> str:
    case = findings.evaluation_set
    image, truth, known = (
        case.cut_patches(x)[place].numpy() for x in (case.images, case.labels, case.valid)
    )
    pictures = (grey(image), errors(found.mask[place].numpy(), truth, known))
    caption = f"IoU {number(patch_iou(found.counts)[place].item())}"
    return _pictures(pictures, case.names[place], caption)


def _suspects(findings: EvaluationResults) -> str:
    case = findings.evaluation_set
    masks = [found.mask for found in findings.assessments.values()]
    figures = []
    for suspect in (findings.label_errors or [])[:_SUSPECTS]:
        i = suspect.patch
        image, truth, known = (
            case.cut_patches(x)[i].numpy() for x in (case.images, case.labels, case.valid)
        )
        consensus = np.mean([mask[i].numpy() for mask in masks], axis=0) > 0.5
        pictures = (
            grey(image),
            errors(truth, truth, known),
            errors(consensus, truth, known),
        )
        caption = f"{describe_kind(suspect)}; doubt {number(suspect.doubt, 2)}"
        figures.append(_pictures(pictures, case.names[i], caption))
    return f'<div class="row">{"".join(figures)}</div>\n'


def _pictures(pictures: Iterable[Colours], name: str, caption: str) -> str:
    images = "".join(
        f'<img src="{data_uri(picture)}" alt="picture {place}">'
        for place, picture in enumerate(pictures, 1)
    )
    return (
        f'<figure class="patch"><div class="pictures">{images}</div>'
        f"<figcaption><b>{escape(caption)}</b> {escape(name)}</figcaption></figure>\n"
    )

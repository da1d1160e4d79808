"""The HTML page of an evaluation and its charts."""

import base64
import io
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from geoseg import pictures
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import LabelError
from geoseg.evaluation.perturbations import Curve, Robustness, ShiftConsistency
from tests.helpers import ROOT
from tests.helpers.html import check_page
from train.evaluate.__main__ import main as evaluate
from train.evaluate.assessment import assess
from train.evaluate.page import draw_calibration, draw_curve, make_page
from train.evaluate.results import EvaluationResults, choose_examples
from train.evaluate.tables import describe_kind


@pytest.fixture(scope="module")
def results():
    """Return results on eight patches with a growing part missed, and one without a groove."""
    truth = torch.zeros(9, 36, 36, dtype=torch.bool)
    truth[:8, :, 10:14] = True
    images = torch.zeros(truth.shape)
    images[truth] = -0.05
    images[4, 30:] = torch.nan
    known = ~images.isnan()
    probability = truth.float()
    for i in range(8):
        probability[i, : 4 * i] = 0
    names = tuple(f"patch_{i}" for i in range(9))
    case = EvaluationSet(
        images, truth & known, known, names, tuple("111122223"), "<b>a log & more</b>"
    )
    found = assess(case, probability.where(known, torch.nan), 0.5)
    curve = Curve([0.25, 1.0, 4.0], [0.5, 0.6, 0.4], [0.9, 1.0, 0.8])
    robustness = {"<i>": Robustness(ShiftConsistency(35, 0.5, 0.9, 0.95), curve, curve)}
    suspects = [LabelError(7, 0.9, "shifted", 2, 0.95, 0.1)]
    return EvaluationResults(case, "challenge", {"<i>": found}, robustness, suspects)


def test_page_is_complete_and_escapes_names(results):
    page = make_page(results)
    names = check_page(page)
    assert "b>a log" not in page.replace("&lt;b&gt;a log &amp; more", "")
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
    assert names.count("svg") == 3


def test_hostile_names_of_patches_and_wells_are_escaped(results):
    hostile = '"><script>alert(1)</script>'
    case = replace(results.evaluation_set, names=(hostile,) * 9, wells=(hostile,) * 9)
    model = results.assessments["<i>"]
    wells = {hostile: model.wells["1"]}
    models = {hostile: replace(model, wells=wells)}
    robustness = {hostile: results.robustness["<i>"]}
    page = make_page(EvaluationResults(case, "challenge", models, robustness, results.label_errors))
    assert "alert" in page
    check_page(page)


def test_page_shows_best_median_and_worst_patches(results):
    found = results.assessments["<i>"]
    assert choose_examples(found) == {"best": [0, 1, 2], "median": [2, 3, 4], "worst": [7, 6, 5]}
    page = make_page(results)
    order = re.findall(r"patch_\d", page.split("<h2>Patches</h2>")[1])
    assert [int(name[-1]) for name in order] == [0, 1, 2, 2, 3, 4, 7, 6, 5]
    assert "<b>IoU 1.000</b> patch_0" in page


@pytest.fixture
def axes():
    return Figure().subplots()


def test_calibration_chart_shows_bins_with_pixels(axes):
    draw_calibration(axes, Calibration(0.1, 0.1, [0.2, None, 0.9], [0.1, None, 1.0], [99, 0, 3]))
    diagonal, line = (line.get_xydata().tolist() for line in axes.lines)
    assert diagonal == [[0, 0], [1, 1]]
    assert line == [[0.2, 0.1], [0.9, 1.0]]
    (dots,) = axes.collections
    assert dots.get_offsets().tolist() == line
    large, small = dots.get_sizes()
    assert large > 1.5 * small


def test_calibration_chart_of_no_pixels(axes):
    draw_calibration(axes, Calibration(math.nan, math.nan, [None], [None], [0]))
    assert len(axes.lines[1].get_xydata()) == 0


@pytest.mark.parametrize(("what", "scale"), [("noise", "linear"), ("gain", "log")])
def test_robustness_chart_shows_both_curves(axes, what, scale):
    curve = Curve([0.25, 1.0, 4.0], [0.5, 0.6, math.nan], [0.9, 1.0, 0.8])
    draw_curve(axes, curve, what)
    kept, iou = axes.lines
    assert (kept.get_linestyle(), iou.get_linestyle()) == ("--", "-")
    assert kept.get_xydata().tolist() == [[0.25, 0.9], [1, 1], [4, 0.8]]
    assert np.array_equal(iou.get_ydata(), curve.iou, equal_nan=True)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.25", "1", "4"]
    assert axes.get_xscale() == scale


def test_page_without_matplotlib_exits_2_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = tmp_path / "page.html"
    assert evaluate(["missing.safetensors", "--html", str(page)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("evaluate: charts need matplotlib")
    assert "pip install -e '.[report]'" in message
    assert message.count("\n") == 1
    assert not page.exists()


def decode_pictures(page):
    uris = re.findall(r"data:image/png;base64,([^\"]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))) for uri in uris]


def test_pictures_and_legend_have_the_colours_of_the_viewer(results):
    source = (ROOT / "geoseg" / "page" / "static" / "colours.js").read_text()
    classic = source.split("classic:")[1].split("},")[0]
    page = make_page(results)
    for name, colour in (
        ("TN", pictures.BACKGROUND),
        ("TP", pictures.CORRECT),
        ("FN", pictures.MISSED),
        ("FP", pictures.ALARM),
        ("NULL", pictures.NULL),
        ("FOUND", pictures.FOUND),
    ):
        assert f"[{name}]: {list(colour)}" in classic
        if name != "FOUND":
            assert f'<i style="background: rgb{colour}"></i>' in page
    worst = decode_pictures(page.split("<h4>worst</h4>")[1])[1]
    assert tuple(worst[0, 10]) == pictures.MISSED
    assert tuple(worst[30, 10]) == pictures.CORRECT
    assert tuple(worst[0, 0]) == pictures.BACKGROUND


def test_colours_of_errors_and_nulls():
    mask, truth, known = (
        np.array([row]) > 0 for row in ([1, 1, 0, 0, 1], [1, 0, 1, 0, 0], [1, 1, 1, 1, 0])
    )
    colours = pictures.errors(mask, truth, known)[0]
    expected = [
        pictures.CORRECT,
        pictures.ALARM,
        pictures.MISSED,
        pictures.BACKGROUND,
        pictures.NULL,
    ]
    assert [tuple(c) for c in colours.tolist()] == expected
    grey = pictures.grey(np.array([[-1, -0.05, 0, 0.05, np.nan]], np.float32))[0]
    assert grey[:4, 0].tolist() == [0, 0, 128, 255]
    assert tuple(grey[4]) == pictures.NULL


def test_shifted_label_is_described_by_its_offset():
    shifted = LabelError(0, 0.9, "shifted", 2, 1.0, 0.0)
    assert describe_kind(shifted) == "2 too far left"
    assert describe_kind(shifted._replace(shift=-1)) == "1 too far right"
    assert describe_kind(shifted._replace(kind="missing", shift=0)) == "missing"

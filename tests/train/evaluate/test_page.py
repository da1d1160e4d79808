"""The page of an evaluation: whole, escaped, in the original's colours."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from geoseg import pictures
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import LabelError
from geoseg.evaluation.robustness import Curve, Robustness, ShiftConsistency
from tests.helpers import ROOT
from train.evaluate import page as scores_page
from train.evaluate.assessment import assess
from train.evaluate.results import EvaluationResults, choose_examples
from train.evaluate.tables import describe_kind
from train.report.stylesheet import STYLE


@pytest.fixture(scope="module")
def findings():
    """Eight patches of a groove that the model misses more and more of, and one without any."""
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


class Tags(HTMLParser):
    """Notes the tags and whether each is closed in turn."""

    def __init__(self, page):
        super().__init__()
        self.open, self.names = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_safe(findings):
    page = scores_page.page(findings)
    tags = Tags(page)
    assert tags.open == []
    assert "script" not in tags.names
    assert "b>a log" not in page.replace("&lt;b&gt;a log &amp; more", "")
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is fetched"
    assert tags.names.count("svg") == 3


def test_best_median_and_worst(findings):
    found = findings.assessments["<i>"]
    assert choose_examples(found) == {"best": [0, 1, 2], "median": [2, 3, 4], "worst": [7, 6, 5]}
    page = scores_page.page(findings)
    order = re.findall(r"patch_\d", page.split("<h2>Patches</h2>")[1])
    assert [int(name[-1]) for name in order] == [0, 1, 2, 2, 3, 4, 7, 6, 5]
    assert "<b>IoU 1.000</b> patch_0" in page


def decoded(page):
    uris = re.findall(r"data:image/png;base64,([^\"]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))) for uri in uris]


def test_pictures_have_the_colours_of_the_page(findings):
    source = (ROOT / "geoseg" / "page" / "colours.js").read_text()
    classic = source.split("classic:")[1].split("},")[0]
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
            assert f".{name.lower()} {{ background: rgb({' '.join(map(str, colour))}); }}" in STYLE
    worst = decoded(scores_page.page(findings).split("<h4>worst</h4>")[1])[1]
    assert tuple(worst[0, 10]) == pictures.MISSED
    assert tuple(worst[30, 10]) == pictures.CORRECT
    assert tuple(worst[0, 0]) == pictures.BACKGROUND


def test_errors_and_nulls():
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


def test_a_shifted_label_stands_off_to_the_other_side():
    shifted = LabelError(0, 0.9, "shifted", 2, 1.0, 0.0)
    assert describe_kind(shifted) == "2 too far left"
    assert describe_kind(shifted._replace(shift=-1)) == "1 too far right"
    assert describe_kind(shifted._replace(kind="missing", shift=0)) == "missing"

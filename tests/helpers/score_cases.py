"""The scores that Python and JavaScript must both compute: tests/fixtures/scores.json."""

import json
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from tests.helpers import ROOT

_FIXTURE = json.loads((ROOT / "tests" / "fixtures" / "scores.json").read_text())


class ScoreCase(NamedTuple):
    """A patch and its scores; arrays are bool (Z, A), scores are NaN if no pixel is valid."""

    name: str
    mask: np.ndarray
    label: np.ndarray
    valid: np.ndarray
    scores: dict[str, float]


def _read_array(rows):
    return np.array([[value == "1" for value in row] for row in rows])


def _read_scores(scores):
    return {k: math.nan if v is None else float(Fraction(v)) for k, v in scores.items()}


CASES = [
    ScoreCase(
        case["name"],
        *(_read_array(case[key]) for key in ("mask", "label", "valid")),
        _read_scores(case["scores"]),
    )
    for case in _FIXTURE["patches"]
]
AVERAGES = {average: _read_scores(scores) for average, scores in _FIXTURE["averages"].items()}

"""The page's JavaScript computes the same scores as Python: both have the same fixture."""

import base64
import json
import math
import subprocess

import numpy as np
import pytest
from playwright._impl._driver import compute_driver_executable

from geoseg.metrics import METRICS
from tests.helpers import ROOT
from tests.helpers.score_cases import AVERAGES, CASES

# Playwright ships Node. The script reads {sources, patches, counts} from standard input.
SCRIPT = """
const { sources, patches, counts } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const names = 'SCORES, classify, scoresOf, makeRank, averageOf';
const page = new Function(`${sources.join('\\n')}; return { ${names} };`)();
const classes = patches.map(({ probability, label }) => page.classify(
  Float32Array.from(probability, p => p === null ? NaN : p), Uint8Array.from(label), 0.5));
const rank = page.makeRank({ counts }, patches.map(() => 1));
const indices = patches.map((_, i) => i);
const table = score => Object.fromEntries(page.SCORES.map(key => [key, score(key)]));
console.log(JSON.stringify({
  names: page.SCORES,
  patches: classes.map(page.scoresOf),
  ranks: indices.map(i => table(key => rank.values[key][i])),
  averages: Object.fromEntries(['macro', 'micro'].map(average => (
    [average, table(key => page.averageOf(rank, key, indices, average))]))),
}));
"""


@pytest.fixture(scope="module")
def computed():
    """Return what the page's functions compute for the fixture."""
    counts = [
        [
            np.sum((case.mask == mask) & (case.label == label) & case.valid)
            for mask, label in ((1, 1), (1, 0), (0, 1), (0, 0))
        ]
        for case in CASES
    ]
    message = {
        "sources": [
            (ROOT / "geoseg" / "page" / f"{name}.js").read_text()
            for name in ("maps", "panels", "ranks")
        ],
        "patches": [
            {
                "probability": np.where(case.valid, case.mask, None).ravel().tolist(),
                "label": case.label.ravel().tolist(),
            }
            for case in CASES
        ],
        "counts": base64.b64encode(np.array(counts, "<i4").tobytes()).decode(),
    }
    node = compute_driver_executable()[0]
    done = subprocess.run(
        [node, "-e", SCRIPT], input=json.dumps(message), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_javascript_has_the_same_metrics(computed):
    assert tuple(computed["names"]) == METRICS


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.name for case in CASES])
def test_javascript_scores_of_a_patch_equal_the_fixture(index, computed):
    expected = CASES[index].scores
    if math.isnan(expected["iou"]):
        assert computed["patches"][index] is None
        expected = dict.fromkeys(expected)  # JSON writes null for NaN
    else:
        assert computed["patches"][index] == pytest.approx(expected, abs=1e-12)
    assert computed["ranks"][index] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("average", AVERAGES)
def test_javascript_averages_equal_the_fixture(average, computed):
    assert computed["averages"][average] == pytest.approx(AVERAGES[average], abs=1e-12)

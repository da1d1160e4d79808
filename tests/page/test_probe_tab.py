"""The tab Probe: what its plots and its list of results hold."""

import math
from threading import Lock

import numpy as np
import pytest

from benchmarks.server import MODELS, make_patch
from geoseg.page.batches import Work
from geoseg.page.browse import Entry, PatchSet
from geoseg.page.probe import PROBES, Curves, probe
from geoseg.page.probe_tab import (
    COLOURS,
    describe,
    describe_settings,
    find_lowest,
    has_truth,
    plain,
    tabulate,
)
from geoseg.page.request import Request

NAMES = tuple(MODELS)
CIRCULAR, FLAT = "200-stacked", "402-unet"


@pytest.fixture(scope="module")
def curves(segmenter) -> dict[str, Curves]:
    """Return the curves of a patch with a truth."""
    truth = np.zeros((36, 36), np.uint8)
    truth[:, 6:9] = 1
    patches = PatchSet("", (Entry("a", make_patch(1), truth),))
    *_, last = probe(Work(segmenter, Lock()), patches, {})
    return last.curves


@pytest.mark.parametrize("measure", ["iou", "kept"])
@pytest.mark.parametrize("name", PROBES)
def test_a_plot_has_every_point_of_every_curve(curves, name, measure):
    table = tabulate(name, curves[name], measure, NAMES)
    assert list(table["model"].unique()) == list(NAMES)  # in their order, so each has its colour
    points = table.dropna()
    for model in NAMES:
        found = getattr(curves[name].models[model], measure)
        shown = points[points["model"] == model]
        np.testing.assert_allclose(shown["mean"], found.mean, atol=6e-4)
        assert (shown["low"] <= shown["high"]).all()
    first = points[points["model"] == FLAT]["value"]
    assert (
        list(first)
        == {
            "shift": list(map(float, range(36))),
            "noise": [i / 2000 for i in range(11)],
            "gain": ["0.25", "0.35", "0.5", "0.71", "1", "1.4", "2", "2.8", "4"],
            "nulls": ["0", "1", "2", "4", "8", "16", "32"],
        }[name]
    )


def test_the_plot_of_a_failed_model_has_the_others(curves):
    broken = Curves(curves["shift"].at, {**curves["shift"].models, FLAT: "height 35 is odd"})
    points = tabulate("shift", broken, "kept", NAMES).dropna()
    assert FLAT not in set(points["model"])
    assert len(points) == 36 * (len(NAMES) - 1)
    words = describe({"shift": broken}, "kept", NAMES)
    assert f"**{plain(FLAT)}** height 35 is odd" in words


def test_results_are_told_in_words(curves):
    lines = describe(curves, "kept", NAMES).split("\n\n")
    assert lines[0] == "Lowest agreement with itself:"
    by_model = {name: line for line in lines[1:] for name in NAMES if f"**{name}**" in line}
    assert "turns exactly" in by_model[CIRCULAR]
    lowest, at = find_lowest(curves["shift"], "kept", FLAT)
    assert f"{lowest:.2f} at shift {at:.0f}" in by_model[FLAT]
    assert lowest == min(curves["shift"].models[FLAT].kept.mean)
    assert "lost rows" in by_model[FLAT]
    for name, colour in zip(NAMES, COLOURS, strict=False):
        assert f"color:{colour}" in by_model[name]
    assert describe(curves, "iou", NAMES).startswith("Lowest IoU with the truth:")


def test_the_lowest_point_of_all_models_is_found(curves):
    lowest, at = find_lowest(curves["noise"], "iou")
    means = [curve.iou.mean for curve in curves["noise"].models.values()]
    assert lowest == min(map(min, means))
    assert at in curves["noise"].at


def test_a_patch_without_a_truth_or_measurements(segmenter):
    empty = PatchSet("", (Entry("a", np.full((8, 8), np.nan, np.float32)),))
    *_, last = probe(Work(segmenter, Lock()), empty, {})
    assert not has_truth(last.curves)
    assert find_lowest(last.curves["shift"], "kept") is None
    assert "nothing measured" in describe(last.curves, "kept", NAMES)
    assert tabulate("shift", last.curves["shift"], "iou", NAMES).dropna().empty


def test_settings_are_told_in_words():
    message = {"shift": 3, "noise": 0.002, "seed": 7}
    assert describe_settings(Request.parse({}, NAMES), None) == "threshold as trained"
    assert describe_settings(Request.parse(message, NAMES), 0.3) == (
        "shift 3, noise 0.0020 of seed 7, threshold 0.30"
    )
    assert describe_settings(Request.parse({}, NAMES), math.nan) == "threshold 0.00"


def test_names_of_models_are_shown_as_they_are():
    assert plain("<b>a|b</b> `c`") == "&lt;b&gt;a\\|b&lt;/b&gt; \\`c\\`"

"""The numeric modules of the viewer compute what Python computes, without a browser."""

import base64
import io
import json
import math
import re
import subprocess

import numpy as np
import pytest
from playwright._impl._driver import compute_driver_executable

from geoseg import pictures
from geoseg.metrics import METRICS
from tests.helpers import ROOT
from tests.helpers.score_cases import CASES
from tests.helpers.viewer_cases import (
    COLUMNS,
    FACTS,
    HASHES,
    ORDERS,
    ROWS,
    SCENE,
    STATES,
    STEPS,
    THRESHOLDS,
    plain,
)

STATIC = ROOT / "geoseg" / "page" / "static"
TRUE_NEGATIVE, ALARM, MISSED, TRUE_POSITIVE, NULL, FOUND = range(6)


@pytest.fixture(scope="module")
def computed():
    """Return what the viewer's functions compute, run by the Node that Playwright brings."""
    message = {
        "fixture": [
            {
                "probability": plain(np.where(case.valid, case.mask, np.nan)),
                "label": case.label.ravel().tolist(),
                "counts": [
                    int(np.sum((case.mask == mask) & (case.label == label) & case.valid))
                    for mask, label in ((1, 1), (1, 0), (0, 1), (0, 0))
                ],
            }
            for case in CASES
        ],
        "scene": {
            "rows": ROWS,
            "columns": COLUMNS,
            "patch": plain(SCENE.patch),
            "truth": SCENE.truth.ravel().tolist(),
            "models": [
                {"name": name, "threshold": threshold, "probability": plain(SCENE.probability[i])}
                for i, (name, threshold) in enumerate(THRESHOLDS.items())
            ],
        },
        "facts": FACTS,
        "links": {"states": STATES, "hashes": list(HASHES)},
        "ordered": [
            {"values": None if values is None else plain(values), "wanted": wanted}
            for values, wanted in ORDERS
        ],
        "steps": [
            {"order": order, "index": index, "count": 5, "by": by} for order, index, by, _ in STEPS
        ],
        "arrays": [
            {"rows": ROWS, "columns": COLUMNS, "kind": kind, "values": plain(values)}
            for kind, values in (("patch", SCENE.patch), ("mask", SCENE.truth))
        ],
    }
    command = [compute_driver_executable()[0], ROOT / "tests/page/viewer_modules.mjs", STATIC]
    done = subprocess.run(
        command, input=json.dumps(message), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.name for case in CASES])
def test_scores_of_a_patch_equal_the_fixture(index, computed):
    assert tuple(computed["names"]) == METRICS
    expected = CASES[index].scores
    if math.isnan(expected["iou"]):
        assert computed["scores"][index] is None
        expected = dict.fromkeys(expected)  # JSON writes null for NaN
    else:
        assert computed["scores"][index] == pytest.approx(expected, abs=1e-12)
    assert computed["ranks"][index] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("threshold", [None, 0.25])
@pytest.mark.parametrize("index", [0, 1])
def test_classes_and_shares_follow_the_threshold_in_force(index, threshold, computed):
    scene, model = SCENE, computed["own" if threshold is None else "low"][index]
    limit = np.float32(threshold or list(THRESHOLDS.values())[index])
    mask = scene.probability[index] > limit
    classes = np.where(mask, ALARM, TRUE_NEGATIVE)
    classes[scene.truth] = np.where(mask, TRUE_POSITIVE, MISSED)[scene.truth]
    classes[scene.null] = NULL
    assert model["classes"] == classes.ravel().tolist()
    assert model["share"] == pytest.approx(mask[~scene.null].mean())
    both, either = mask & scene.truth, (mask | scene.truth) & ~scene.null
    assert model["scores"]["iou"] == pytest.approx(both.sum() / either.sum())


def test_without_a_truth_a_mask_is_found_and_has_no_scores(computed):
    for model, probability, limit in zip(
        computed["unlabelled"], SCENE.probability, THRESHOLDS.values(), strict=True
    ):
        mask = probability > np.float32(limit)
        classes = np.where(SCENE.null, NULL, np.where(mask, FOUND, TRUE_NEGATIVE))
        assert model["classes"] == classes.ravel().tolist()
        assert model["share"] == pytest.approx(mask[~SCENE.null].mean())
        assert (model["scores"], model["best"]) == (None, [])


def test_the_best_scores_are_those_that_no_model_exceeds(computed):
    first, second = computed["own"]
    for name in METRICS:
        difference = first["scores"][name] - second["scores"][name]
        assert (name in first["best"], name in second["best"]) == (difference >= 0, difference <= 0)


def test_uncertainty_and_disagreement(computed):
    probability = SCENE.probability
    apart = plain(np.abs(probability[0] - probability[1]))
    for model, values in zip(computed["own"], probability, strict=True):
        assert model["disagreement"] == pytest.approx(apart, abs=1e-6)
        assert model["uncertainty"] == pytest.approx(plain(1 - abs(2 * values - 1)), abs=1e-6)


def test_the_outline_runs_along_the_edges_of_the_mask_and_across_the_seam(computed):
    mask = SCENE.probability[0] > 0.5
    assert mask[3, [0, -1]].all()
    across = {(z + 1, a, "h") for z, a in np.argwhere(mask[1:] != mask[:-1])}
    down = {
        (z, COLUMNS if a == 0 and mask[z, -1] else a, "v")
        for z, a in np.argwhere(mask != np.roll(mask, 1, axis=1))
    }
    edges = re.findall(r"M(\d+) (\d+)([hv])1", computed["own"][0]["outline"])
    assert {(int(z), int(a), kind) for a, z, kind in edges} == across | down
    assert len(edges) == len(across | down)


def test_the_path_of_the_nulls_covers_them_alone(computed):
    covered = np.zeros((ROWS, COLUMNS), int)
    for a, z, run, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", computed["nulls"]):
        assert run == back
        covered[int(z), int(a) : int(a) + int(run)] += 1
    np.testing.assert_array_equal(covered, SCENE.null)


def test_grey_ranges(computed):
    known = SCENE.patch[~SCENE.null].astype(float)
    assert computed["ranges"]["fixed"] == [-pictures.WINDOW, pictures.WINDOW]
    assert computed["ranges"]["full"] == [known.min(), known.max()]
    assert computed["ranges"]["percentile"] == pytest.approx(
        np.quantile(known, [0.01, 0.99], method="nearest")
    )


def test_colours_are_those_of_the_pictures(computed):
    scene, shape = SCENE, (ROWS, COLUMNS, 3)
    mask = scene.probability[0] > 0.5
    errors = np.array(computed["painted"]["errors"]).reshape(shape)
    np.testing.assert_array_equal(errors, pictures.errors(mask, scene.truth, ~scene.null))
    grey = np.array(computed["painted"]["grey"]).reshape(shape)
    np.testing.assert_allclose(grey, pictures.grey(scene.patch), atol=0.51)


def test_every_palette_gives_each_class_its_own_colour(computed):
    for palette in computed["palettes"].values():
        colours = {tuple(value) for key, value in palette.items() if key != "outline"}
        assert len(colours) == 6


def test_the_scale_grows_steadily_in_lightness(computed):
    assert np.all(np.diff(np.array(computed["heat"]) @ [0.2126, 0.7152, 0.0722]) > 0)


def test_what_cannot_be_shown_is_shown_as_masks(computed):
    displays = computed["displays"]  # with a truth; without one; with a single model
    assert displays["errors"] == ["errors", "mask", "errors"]
    assert displays["disagreement"] == ["disagreement", "disagreement", "mask"]
    assert displays["mask"] == ["mask"] * 3


def test_the_legend_and_the_read_out_name_what_is_seen(computed):
    errors, mask, probability, *_ = computed["legends"]
    assert errors[2:] == ["groove missed", "false alarm", "true groove", "no measurement"]
    assert mask[0] == "groove, says the model"
    assert probability[1] == "threshold"
    texts = np.array(computed["pixels"]).reshape(ROWS, COLUMNS)
    assert "no measurement" in texts[2, 1]
    assert "first" not in texts[2, 1]
    z, a = np.argwhere(~SCENE.null & SCENE.truth)[0]
    assert texts[z, a].startswith(f"Row {z}, column {a}  \u00b7  value ")
    assert f"labelled groove  \u00b7  first {SCENE.probability[0, z, a]:.3f}" in texts[z, a]


def test_a_picture_names_its_settings(computed):
    assert computed["view"] == [
        "shift 3",
        "noise 0.0100 of seed 7",
        "threshold 0.40",
        "maps: errors",
        "grey from \u22120.050 to 0.050",
        "overlay 35 %",
        "zoomed: rows 1 to 5, columns 4 to 8",
    ]


def test_a_link_opens_the_state_it_was_made_from(computed):
    for state, link in zip(STATES, computed["links"], strict=True):
        assert {key: link["state"][key] for key in state} == state
    assert computed["usual"]["name"] == "usual"


@pytest.mark.parametrize("index", range(len(HASHES)))
def test_a_link_sets_only_what_a_control_could_set(index, computed):
    expected = {**computed["usual"], **list(HASHES.values())[index]}
    assert computed["hashes"][index] == expected


def test_orders(computed):
    for (values, wanted), found in zip(ORDERS, computed["ordered"], strict=True):
        indices = [i for i in range(5) if wanted[i]]
        if values is not None:
            indices.sort(key=lambda i: (math.isnan(values[i]), values[i], i))
        assert found == (None if values is None and all(wanted) else indices)


@pytest.mark.parametrize("index", range(len(STEPS)))
def test_steps_go_round(index, computed):
    assert computed["steps"][index] == STEPS[index][-1]


def test_arrays_are_read_by_numpy(computed):
    files = [base64.b64decode(text) for text in computed["arrays"]]
    patch, mask = (np.load(io.BytesIO(file)) for file in files)
    assert (len(files[0]) - patch.nbytes) % 64 == 0  # as the format asks
    np.testing.assert_array_equal(patch, SCENE.patch)
    np.testing.assert_array_equal(mask, SCENE.truth)
    assert (patch.dtype, mask.dtype) == (np.float32, np.uint8)


def test_counts_and_signs_in_texts(computed):
    assert computed["texts"] == ["1 patch", "1,024 patches", "\u22120.050", "0.5"]

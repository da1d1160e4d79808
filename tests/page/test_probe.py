"""Perturbation curves equal the scores of the library, and every message is answered."""

import json
import math
from threading import Lock

import numpy as np
import pytest
import torch

from benchmarks.server import MODELS, make_patch
from geoseg import scores
from geoseg.evaluation.perturbations import (
    GAIN,
    MAX_SHIFTS,
    NOISE,
    SEEDS,
    compare_masks,
    remove_rows,
    shift_patch,
)
from geoseg.page.batches import Work
from geoseg.page.browse import Entry, PatchSet
from geoseg.page.live import view
from geoseg.page.probe import PROBES, probe

NAMES = list(MODELS)
CIRCULAR, FLAT = "200-stacked", "402-unet"


def one(patch=None, truth=None) -> PatchSet:
    return PatchSet("", (Entry("a", make_patch(1) if patch is None else patch, truth),))


def labels() -> np.ndarray:
    truth = np.zeros((36, 36), np.uint8)
    truth[:, 6:9] = 1
    return truth


def draw(segmenter, patches, **message) -> dict:
    curves: dict = {}
    for answer in probe(Work(segmenter, Lock()), patches, message):
        json.dumps(answer, allow_nan=False)
        for name, found in answer["curves"].items():
            curves.setdefault(name, found)["models"].update(found["models"])
    assert answer["done"] == answer["of"]
    return curves


def iou(segmenter, name, patch, truth) -> float:
    probability = segmenter.probabilities(patch, [name])[name]
    return scores(probability, truth, threshold=segmenter.cards[name].threshold)["iou"]


def test_scores_of_each_shift_are_those_of_the_library(segmenter):
    patches = one(truth=labels())
    curves = draw(segmenter, patches, probes=["shift"], noise=0.002, seed=3, shift=20)
    assert list(curves) == ["shift"]
    assert curves["shift"]["at"] == list(range(36))
    for name in NAMES:
        found = curves["shift"]["models"][name]["iou"]["mean"]
        for shift in (0, 1, 17, 35):
            shown = view(patches.entry(0), shift, 0.002, 3)
            expected = iou(segmenter, name, shown.patch, shown.truth)
            assert found[shift] == pytest.approx(expected, abs=0.02)  # a pixel at the threshold
    circular, flat = (curves["shift"]["models"][name]["kept"]["mean"] for name in (CIRCULAR, FLAT))
    assert circular == [1] * 36
    assert flat[0] == 1
    assert min(flat) < 0.9


def test_noise_scores_are_averaged_over_seeds_of_the_shifted_patch(segmenter):
    patches = one(truth=labels())
    curve = draw(segmenter, patches, probes=["noise"], seed=5, shift=9, models=[FLAT])["noise"]
    assert curve["at"] == list(NOISE)
    found = curve["models"][FLAT]
    views = [view(patches.entry(0), 9, NOISE[-1], 5 + i) for i in range(SEEDS)]
    expected = [iou(segmenter, FLAT, v.patch, v.truth) for v in views]
    for what, value in zip(("mean", "low", "high"), (np.mean, min, max), strict=True):
        assert found["iou"][what][-1] == pytest.approx(value(expected), abs=0.02)
    assert found["kept"]["mean"][0] == 1
    assert found["kept"]["low"][-1] < found["kept"]["mean"][-1] < 1


def test_gain_and_lost_rows_are_compared_with_the_shown_patch(segmenter):
    curves = draw(segmenter, one(), probes=["gain", "nulls"])
    assert curves["gain"]["at"] == list(GAIN)
    assert curves["nulls"]["at"] == [0, 1, 2, 4, 8, 16, 32]
    for name in NAMES:
        gain, nulls = (curves[what]["models"][name] for what in ("gain", "nulls"))
        assert gain["iou"] is nulls["iou"] is None  # there is no label
        assert gain["kept"]["mean"][GAIN.index(1)] == nulls["kept"]["mean"][0] == 1
        # The default input scale is each patch's own, so gain changes rounding at most.
        assert min(gain["kept"]["mean"]) > 0.95
        assert nulls["kept"]["low"][3] < 1


def test_lost_rows_cover_all_depths_and_do_not_count():
    trials = remove_rows(torch.zeros(36, 5))
    lost = trials.images.isnan().all(-1)  # (V, R, Z)
    assert lost.sum(-1).tolist() == [[int(n)] * 5 for n in trials.values]
    assert [row.nonzero()[0].item() for row in lost[3]] == [0, 8, 16, 24, 32]
    masks = ~trials.images.isnan()  # every valid pixel is marked
    spread = compare_masks(trials, masks, torch.ones(36, 5, dtype=torch.bool))
    assert (spread.low == 1).all()


def test_the_number_of_shifts_of_a_wide_patch_is_bounded():
    assert shift_patch(torch.zeros(2, 5)).values == (0, 1, 2, 3, 4)
    trials = shift_patch(torch.zeros(2, 1000))
    assert len(trials.values) == MAX_SHIFTS
    assert trials.values[:3] == (0, 13, 27)


def test_the_threshold_of_the_page_is_used(segmenter):
    curves = draw(segmenter, one(truth=labels()), probes=["shift"], threshold=0.0)
    for name in NAMES:  # every pixel is marked
        assert set(curves["shift"]["models"][name]["iou"]["mean"]) == {3 / 36}


def test_answers_report_progress_and_only_the_last_is_done(segmenter):
    patches = one(np.zeros((1000, 36), np.float32))  # so large that each runs alone
    message = {"probes": ["gain"], "models": [FLAT]}
    found = probe(Work(segmenter, Lock()), patches, message)
    answers = [json.loads(json.dumps(answer)) for answer in found]  # as it is sent
    assert [answer["done"] for answer in answers] == list(range(len(GAIN) + 1))
    assert {answer["of"] for answer in answers} == {len(GAIN)}
    assert ["gain" in answer["curves"] for answer in answers] == [False] * 9 + [True]
    assert [
        a["done"] == a["of"] for a in probe(Work(segmenter, Lock()), patches, {"models": []})
    ] == [True]


def test_nulls_do_not_count(segmenter):
    patch = make_patch(1)
    patch[4:9] = np.nan
    curves = draw(segmenter, one(patch, labels()))
    assert set(curves) == set(PROBES)
    assert curves["shift"]["models"][CIRCULAR]["kept"]["mean"] == [1] * 36
    empty = draw(segmenter, one(np.full((36, 36), np.nan, np.float32), labels()))
    for curve in empty.values():
        for found in curve["models"].values():
            assert set(found["kept"]["mean"]) == set(found["iou"]["low"]) == {None}


@pytest.mark.parametrize("shape", [(1, 36), (3, 5), (40, 72)])
def test_patches_of_any_size_are_answered(segmenter, shape):
    curves = draw(segmenter, one(np.zeros(shape, np.float32)))
    assert len(curves["shift"]["at"]) == min(shape[1], MAX_SHIFTS)


def test_a_failing_model_does_not_affect_the_others(segmenter, monkeypatch):
    probabilities = segmenter.probabilities

    def fail(patches, names, interpret):
        if names == [FLAT]:
            raise ValueError("height 35 is odd; pad to 36\nand more")
        return probabilities(patches, names, interpret=interpret)

    monkeypatch.setattr(segmenter, "probabilities", fail)
    models = draw(segmenter, one(), probes=["shift"])["shift"]["models"]
    assert models[FLAT] == {"error": "height 35 is odd; pad to 36"}
    assert models[CIRCULAR]["kept"]["mean"] == [1] * 36


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        {"probes": "all", "threshold": [], "models": 3, "index": 10**300},
        {"probes": [{}, "gain", "gain", 7], "threshold": math.nan, "models": NAMES[:1]},
        {"probes": [], "threshold": -math.inf, "noise": 9e9, "seed": 2**31 - 1},
    ],
)
def test_any_message_is_answered(segmenter, raw):
    *_, answer = probe(Work(segmenter, Lock()), one(np.zeros((8, 8), np.float32)), raw)
    json.dumps(answer, allow_nan=False)
    assert answer["done"] == answer["of"]
    assert set(answer["curves"]) <= set(PROBES)

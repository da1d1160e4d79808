"""Perturbation curves equal the scores of the library, and every message is answered."""

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
from geoseg.page.probe import PROBES, Curves, probe

NAMES = list(MODELS)
CIRCULAR, FLAT = "200-stacked", "402-unet"


def one(patch=None, truth=None) -> PatchSet:
    return PatchSet("", (Entry("a", make_patch(1) if patch is None else patch, truth),))


def labels() -> np.ndarray:
    truth = np.zeros((36, 36), np.uint8)
    truth[:, 6:9] = 1
    return truth


def draw(segmenter, patches, probes=PROBES, **message) -> dict[str, Curves]:
    *_, last = probe(Work(segmenter, Lock()), patches, message, probes)
    assert last.done == last.total
    return last.curves


def means(curve) -> list[float]:
    return curve.mean.tolist()


def iou(segmenter, name, patch, truth) -> float:
    probability = segmenter.probabilities(patch, [name])[name]
    return scores(probability, truth, threshold=segmenter.cards[name].threshold)["iou"]


def test_scores_of_each_shift_are_those_of_the_library(segmenter):
    patches = one(truth=labels())
    curves = draw(segmenter, patches, probes=["shift"], noise=0.002, seed=3, shift=20)
    assert list(curves) == ["shift"]
    assert curves["shift"].at == tuple(range(36))
    for name in NAMES:
        found = means(curves["shift"].models[name].iou)
        for shift in (0, 1, 17, 35):
            shown = view(patches.entry(0), shift, 0.002, 3)
            expected = iou(segmenter, name, shown.patch, shown.truth)
            assert found[shift] == pytest.approx(expected, abs=0.02)  # a pixel at the threshold
    circular, flat = (means(curves["shift"].models[name].kept) for name in (CIRCULAR, FLAT))
    assert circular == [1] * 36
    assert flat[0] == 1
    assert min(flat) < 0.9


def test_noise_scores_are_averaged_over_seeds_of_the_shifted_patch(segmenter):
    patches = one(truth=labels())
    curve = draw(segmenter, patches, probes=["noise"], seed=5, shift=9, models=[FLAT])["noise"]
    assert curve.at == NOISE
    found = curve.models[FLAT]
    views = [view(patches.entry(0), 9, NOISE[-1], 5 + i) for i in range(SEEDS)]
    expected = [iou(segmenter, FLAT, v.patch, v.truth) for v in views]
    for what, value in zip(("mean", "low", "high"), (np.mean, min, max), strict=True):
        assert getattr(found.iou, what)[-1] == pytest.approx(value(expected), abs=0.02)
    assert found.kept.mean[0] == 1
    assert found.kept.low[-1] < found.kept.mean[-1] < 1


def test_gain_and_lost_rows_are_compared_with_the_shown_patch(segmenter):
    curves = draw(segmenter, one(), probes=["gain", "nulls"])
    assert curves["gain"].at == GAIN
    assert curves["nulls"].at == (0, 1, 2, 4, 8, 16, 32)
    for name in NAMES:
        gain, nulls = (curves[what].models[name] for what in ("gain", "nulls"))
        assert gain.iou is nulls.iou is None  # there is no label
        assert gain.kept.mean[GAIN.index(1)] == nulls.kept.mean[0] == 1
        # The default input scale is each patch's own, so gain changes rounding at most.
        assert min(gain.kept.mean) > 0.95
        assert nulls.kept.low[3] < 1


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
        assert set(means(curves["shift"].models[name].iou)) == {3 / 36}


def test_progress_is_told_image_by_image(segmenter):
    patches = one(np.zeros((1000, 36), np.float32))  # so large that each runs alone
    steps = [
        (step.done, step.total, dict(step.curves["gain"].models))
        for step in probe(Work(segmenter, Lock()), patches, {"models": [FLAT]}, ["gain"])
    ]
    assert [done for done, _, _ in steps] == list(range(len(GAIN) + 1))
    assert {total for _, total, _ in steps} == {len(GAIN)}
    assert [FLAT in models for _, _, models in steps] == [False] * 9 + [True]
    (step,) = probe(Work(segmenter, Lock()), patches, {"models": []})
    assert (step.done, step.total) == (0, 0)


def test_nulls_do_not_count(segmenter):
    patch = make_patch(1)
    patch[4:9] = np.nan
    curves = draw(segmenter, one(patch, labels()))
    assert set(curves) == set(PROBES)
    assert means(curves["shift"].models[CIRCULAR].kept) == [1] * 36
    empty = draw(segmenter, one(np.full((36, 36), np.nan, np.float32), labels()))
    for curve in empty.values():
        for found in curve.models.values():
            assert found.kept.mean.isnan().all()
            assert found.iou.low.isnan().all()


@pytest.mark.parametrize("shape", [(1, 36), (3, 5), (40, 72)])
def test_patches_of_any_size_are_answered(segmenter, shape):
    curves = draw(segmenter, one(np.zeros(shape, np.float32)))
    assert len(curves["shift"].at) == min(shape[1], MAX_SHIFTS)


def test_a_failing_model_does_not_affect_the_others(segmenter, monkeypatch):
    probabilities = segmenter.probabilities

    def fail(patches, names, interpret):
        if names == [FLAT]:
            raise ValueError("height 35 is odd; pad to 36\nand more")
        return probabilities(patches, names, interpret=interpret)

    monkeypatch.setattr(segmenter, "probabilities", fail)
    models = draw(segmenter, one(), probes=["shift"])["shift"].models
    assert models[FLAT] == "height 35 is odd; pad to 36"
    assert means(models[CIRCULAR].kept) == [1] * 36


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        {"threshold": [], "models": 3, "index": 10**300},
        {"threshold": math.nan, "models": NAMES[:1]},
        {"threshold": -math.inf, "noise": 9e9, "seed": 2**31 - 1},
    ],
)
def test_any_message_is_answered(segmenter, raw):
    *_, last = probe(Work(segmenter, Lock()), one(np.zeros((8, 8), np.float32)), raw)
    assert last.done == last.total
    assert set(last.curves) == set(PROBES)

"""Counts, the two rules for an empty truth, averages, nulls."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open

from geoseg import scores
from geoseg.metrics import METRICS, average_scores, count, score


def test_parity_with_the_original(original):
    with safe_open(original / "losses_and_metrics.safetensors", "pt") as file:
        expected = json.loads(file.metadata()["expected"])
        logits, truth = file.get_tensor("logits")[:, 0], file.get_tensor("labels")[:, 0]
    counts = count(logits > 0, truth == 1)
    per_patch = score(counts, "original")
    mean = scores(logits.sigmoid(), truth, empty="original")
    for name in METRICS:
        assert per_patch[name].tolist() == pytest.approx(
            expected["metrics_per_patch"][name], abs=1e-6
        )
        assert mean[name] == pytest.approx(expected["metrics_mean"][name], abs=1e-6)


def test_by_hand():
    prediction = np.array([[1, 1, 0, 0, 1]], np.uint8)
    truth = np.array([[1, 0, 1, 0, 1]], np.uint8)
    assert scores(prediction, truth) == pytest.approx(
        {"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "dice": 2 / 3, "iou": 1 / 2}
    )


EMPTY, FULL = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "truth", "challenge", "original"),
    [
        (EMPTY, EMPTY, (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
        (FULL, EMPTY, (0, 0, 0, 0, 0), (0, 1 / 5, 1, 1 / 3, 1 / 5)),
        (EMPTY, FULL, (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
        (FULL, FULL, (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
    ],
)
def test_rules_for_an_empty_truth(prediction, truth, challenge, original):
    assert tuple(scores(prediction, truth).values()) == pytest.approx(challenge)
    assert tuple(scores(prediction, truth, empty="original").values()) == pytest.approx(original)


def test_macro_averages_patches_and_micro_pools_pixels():
    prediction = np.zeros((2, 2, 8), np.uint8)
    truth = np.zeros((2, 2, 8), np.uint8)
    prediction[0, 0, :4] = truth[0, 0, :4] = 1  # IoU 1, four pixels
    prediction[1] = 1
    truth[1, 0, 0] = 1  # IoU 1/16
    assert scores(prediction, truth)["iou"] == pytest.approx((1 + 1 / 16) / 2)
    assert scores(prediction, truth, average="micro")["iou"] == pytest.approx(5 / 20)
    assert scores(prediction, truth, average="micro")["dice"] == pytest.approx(10 / 25)


def test_nulls_are_left_out():
    probability = np.array([[0.9, np.nan, 0.2, 0.9]])
    truth = np.array([[1, 1, 0, 0]])
    assert scores(probability, truth)["iou"] == pytest.approx(1 / 2)
    kept = np.array([[True, True, True, False]])
    assert scores(probability, truth, valid=kept)["iou"] == 1
    assert math.isnan(scores(np.full((1, 2), np.nan), np.zeros((1, 2)))["iou"])


def test_a_patch_of_nulls_does_not_enter_the_mean():
    probability = torch.tensor([[[0.9, 0.1]], [[torch.nan, torch.nan]]])
    truth = torch.tensor([[[1, 1]], [[1, 1]]])
    assert scores(probability, truth)["iou"] == pytest.approx(0.5)


def test_threshold():
    probability = np.array([[0.3, 0.6]])
    truth = np.array([[1, 1]])
    assert scores(probability, truth)["recall"] == 0.5
    assert scores(probability, truth, threshold=0.2)["recall"] == 1
    # A mask of integers or booleans has no threshold.
    assert scores(np.array([[1, 1]]), truth, threshold=2.0)["recall"] == 1


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((2,), (2,)), ((1, 1, 2, 2), (1, 1, 2, 2))])
def test_shapes_are_checked(shapes):
    with pytest.raises(ValueError, match="both must be"):
        scores(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_nonsense_is_refused():
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="'Micro'; choose one of macro, micro"):
        scores(mask, mask, average="Micro")
    with pytest.raises(ValueError, match="'orignal'"):
        scores(mask, mask, empty="orignal")
    for odd in (255, np.nan):
        truth = np.array([[0, 1], [odd, 0]], float)
        with pytest.raises(ValueError, match="only 0 and 1"):
            scores(mask, truth)
    with pytest.raises(ValueError, match="valid has shape"):
        scores(mask, mask, valid=np.ones(3))


def test_tensors_of_a_graph_are_welcome():
    probability = torch.full((2, 2), 0.9, requires_grad=True)
    assert scores(probability, torch.ones(2, 2))["iou"] == 1


def test_counts_add_up():
    generator = torch.Generator().manual_seed(3)
    mask, truth, valid = (torch.rand(5, 7, 8, generator=generator) < 0.5 for _ in range(3))
    counts = count(mask, truth, valid)
    assert torch.equal(sum(counts), valid.flatten(1).sum(1).double())
    for name, value in average_scores(counts).items():
        assert 0 <= value <= 1, name

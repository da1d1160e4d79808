"""Counts, the two rules for patches without a groove, averages, nulls and thresholds."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from geoseg import scores
from geoseg.metrics import METRICS, average_scores, compute_iou, count, score
from tests.helpers.score_cases import AVERAGES, CASES


def test_scores_equal_those_of_the_original(original):
    with safe_open(original / "losses_and_metrics.safetensors", "pt") as file:
        expected = json.loads(file.metadata()["expected"])
        logits, label = file.get_tensor("logits")[:, 0], file.get_tensor("labels")[:, 0]
    counts = count(logits > 0, label == 1)
    per_patch = score(counts, "original")
    mean = scores(logits.sigmoid(), label, empty="original")
    for name in METRICS:
        assert per_patch[name].tolist() == pytest.approx(
            expected["metrics_per_patch"][name], abs=1e-6
        )
        assert mean[name] == pytest.approx(expected["metrics_mean"][name], abs=1e-6)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_scores_of_a_patch_equal_the_fixture(case):
    expected = pytest.approx(case.scores, abs=1e-12, nan_ok=True)
    assert scores(case.mask, case.label, valid=case.valid) == expected
    probability = np.where(case.valid, case.mask, np.nan)
    assert scores(probability, case.label) == expected


def stack(name):
    return np.stack([getattr(case, name) for case in CASES])


@pytest.mark.parametrize("average", AVERAGES)
def test_averages_equal_the_fixture(average):
    found = scores(stack("mask"), stack("label"), valid=stack("valid"), average=average)
    assert found == pytest.approx(AVERAGES[average], abs=1e-12)


def test_iou_of_patches_equals_the_fixture():
    found = compute_iou(*(torch.from_numpy(stack(name)) for name in ("mask", "label", "valid")))
    expected = [case.scores["iou"] for case in CASES]
    assert found.tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)


EMPTY, FULL = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "label", "challenge", "original"),
    [
        (EMPTY, EMPTY, (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
        (FULL, EMPTY, (0, 0, 0, 0, 0), (0, 1 / 5, 1, 1 / 3, 1 / 5)),
        (EMPTY, FULL, (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
        (FULL, FULL, (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
    ],
)
def test_rules_for_an_empty_label(prediction, label, challenge, original):
    assert tuple(scores(prediction, label).values()) == pytest.approx(challenge)
    assert tuple(scores(prediction, label, empty="original").values()) == pytest.approx(original)


def test_macro_averages_patches_and_micro_pools_pixels():
    prediction = np.zeros((2, 2, 8), np.uint8)
    label = np.zeros((2, 2, 8), np.uint8)
    prediction[0, 0, :4] = label[0, 0, :4] = 1  # IoU 1, four pixels
    prediction[1] = 1
    label[1, 0, 0] = 1  # IoU 1/16
    assert scores(prediction, label)["iou"] == pytest.approx((1 + 1 / 16) / 2)
    assert scores(prediction, label, average="micro")["iou"] == pytest.approx(5 / 20)
    assert scores(prediction, label, average="micro")["dice"] == pytest.approx(10 / 25)


def test_valid_excludes_pixels_in_addition_to_nulls():
    probability = np.array([[0.9, np.nan, 0.2, 0.9]])
    label = np.array([[1, 1, 0, 0]])
    assert scores(probability, label)["iou"] == pytest.approx(1 / 2)
    valid = np.array([[True, True, True, False]])
    assert scores(probability, label, valid=valid)["iou"] == 1


def test_patch_of_nulls_does_not_enter_the_mean():
    probability = torch.tensor([[[0.9, 0.1]], [[torch.nan, torch.nan]]])
    label = torch.tensor([[[1, 1]], [[1, 1]]])
    assert scores(probability, label)["iou"] == pytest.approx(0.5)


def test_threshold_applies_to_probabilities_only():
    probability = np.array([[0.3, 0.6]])
    label = np.array([[1, 1]])
    assert scores(probability, label)["recall"] == 0.5
    assert scores(probability, label, threshold=0.2)["recall"] == 1
    assert scores(np.array([[1, 1]]), label, threshold=2.0)["recall"] == 1


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((2,), (2,)), ((1, 1, 2, 2), (1, 1, 2, 2))])
def test_wrong_shapes_raise_value_error(shapes):
    with pytest.raises(ValueError, match="both must be"):
        scores(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_wrong_rules_and_labels_raise_value_error():
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="'Micro'; choose one of macro, micro"):
        scores(mask, mask, average="Micro")
    with pytest.raises(ValueError, match="'orignal'"):
        scores(mask, mask, empty="orignal")
    for wrong in (255, np.nan):
        label = np.array([[0, 1], [wrong, 0]], float)
        with pytest.raises(ValueError, match="only 0 and 1"):
            scores(mask, label)
    with pytest.raises(ValueError, match="valid has shape"):
        scores(mask, mask, valid=np.ones(3))


def test_tensors_with_gradient_are_accepted():
    probability = torch.full((2, 2), 0.9, requires_grad=True)
    assert scores(probability, torch.ones(2, 2))["iou"] == 1


def test_counts_sum_to_the_valid_pixels():
    generator = torch.Generator().manual_seed(3)
    mask, label, valid = (torch.rand(5, 7, 8, generator=generator) < 0.5 for _ in range(3))
    counts = count(mask, label, valid)
    assert torch.equal(sum(counts), valid.flatten(1).sum(1).double())
    for name, value in average_scores(counts).items():
        assert 0 <= value <= 1, name

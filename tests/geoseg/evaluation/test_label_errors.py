"""Damaged labels are found first and classified correctly."""

import pytest
import torch

from geoseg.evaluation.label_errors import find_label_errors
from geoseg.synthetic import make_synthetic_dataset

SURE = 0.95


@pytest.fixture(scope="module")
def correct():
    masks = make_synthetic_dataset(4, 200, seed=11).masks == 1
    # Grooves of medium area, so that the kind of each damage is unambiguous.
    area = masks.flatten(1).sum(1)
    return masks[(area > 60) & (area < 200)][:40]


def make_probabilities(correct, count=3):
    """Return probabilities of models that are nearly right, each with different errors."""
    generator = torch.Generator().manual_seed(2)
    probability = torch.where(correct, SURE, 1 - SURE).repeat(count, 1, 1, 1)
    flipped = torch.rand(probability.shape, generator=generator) < 0.002
    return torch.where(flipped, 1 - probability, probability)


def widen(label):
    return label | label.roll(1, -1) | label.roll(-1, -1)


def damage_labels(correct):
    label = correct.clone()
    label[3] = False
    label[7] = correct[7].roll(2, -1)
    label[12] = correct[12].roll(-3, -1)
    label[20] = widen(correct[20])
    return label


def test_damaged_labels_come_first_with_the_right_kind(correct):
    errors = find_label_errors(make_probabilities(correct), [0.5] * 3, damage_labels(correct))
    kinds = {s.patch: (s.kind, s.shift) for s in errors}
    assert set(list(kinds)[:4]) == {3, 7, 12, 20}
    assert kinds[3] == ("missing", 0)
    assert kinds[7] == ("shifted", -2)
    assert kinds[12] == ("shifted", 3)
    assert kinds[20] == ("too wide", 0)


def test_correct_labels_are_not_listed(correct):
    assert find_label_errors(make_probabilities(correct), [0.5] * 3, correct) == []


def test_narrow_and_spurious_labels_are_classified(correct):
    """The models predict wider grooves, or none."""
    wide = torch.stack([widen(label) for label in correct])
    wide[5] = False
    errors = find_label_errors(make_probabilities(wide), [0.5] * 3, correct)
    kinds = {s.patch: s.kind for s in errors}
    assert kinds[5] == "spurious"
    assert errors[0].patch == 5
    others = [kind for patch, kind in kinds.items() if patch != 5]
    assert len(others) > 30
    assert others.count("too narrow") > 0.9 * len(others)


def test_one_of_two_grooves_missing_is_classified_as_missing():
    label, both = (torch.zeros(1, 36, 36, dtype=torch.bool) for _ in range(2))
    label[0, :, 5:7] = both[0, :, 5:7] = both[0, :, 20:24] = True
    assert find_label_errors(make_probabilities(both), [0.5] * 3, label)[0].kind == "missing"
    assert find_label_errors(make_probabilities(label), [0.5] * 3, both)[0].kind == "spurious"


def test_short_mask_makes_a_label_spurious_and_not_too_wide():
    label, seen = (torch.zeros(1, 36, 36, dtype=torch.bool) for _ in range(2))
    label[0, :, 5:8] = seen[0, 9:12, 5:8] = True
    assert find_label_errors(make_probabilities(seen), [0.5] * 3, label)[0].kind == "spurious"
    assert find_label_errors(make_probabilities(label), [0.5] * 3, seen)[0].kind == "missing"


def test_models_that_disagree_list_no_label(correct):
    probability = make_probabilities(correct)
    probability[1] = probability[1].roll(6, -1)
    assert find_label_errors(probability, [0.5] * 3, damage_labels(correct)) == []


def test_each_model_has_its_own_threshold(correct):
    scaled = make_probabilities(correct) * torch.tensor([1.0, 0.1, 1.0]).view(-1, 1, 1, 1)
    assert find_label_errors(scaled, [0.5, 0.5, 0.5], damage_labels(correct)) == []
    errors = find_label_errors(scaled, [0.5, 0.05, 0.5], damage_labels(correct))
    assert {error.patch for error in errors[:4]} == {3, 7, 12, 20}


def test_nulls_do_not_count(correct):
    probability = make_probabilities(correct)
    label = correct.clone()
    label[4, 10:14] = ~label[4, 10:14]
    probability[:, 4, 10:14] = torch.nan
    assert find_label_errors(probability, [0.5] * 3, label) == []

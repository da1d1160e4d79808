"""Labels that were damaged on purpose come first, and for the right reason."""

import pytest
import torch

from geoseg.evaluation.label_errors import find_label_errors
from geoseg.synthetic import make_synthetic_dataset

SURE = 0.95


@pytest.fixture(scope="module")
def truth():
    masks = make_synthetic_dataset(4, 200, seed=11).masks == 1
    # Grooves of some size and none too crowded, so that each damage is unmistakable.
    area = masks.flatten(1).sum(1)
    return masks[(area > 60) & (area < 200)][:40]


def models(truth, count=3):
    """Models that are nearly sure of the truth, each with faults of its own."""
    generator = torch.Generator().manual_seed(2)
    answers = torch.where(truth, SURE, 1 - SURE).repeat(count, 1, 1, 1)
    faults = torch.rand(answers.shape, generator=generator) < 0.002
    return torch.where(faults, 1 - answers, answers)


def widen(label):
    return label | label.roll(1, -1) | label.roll(-1, -1)


def damage(truth):
    label = truth.clone()
    label[3] = False
    label[7] = truth[7].roll(2, -1)
    label[12] = truth[12].roll(-3, -1)
    label[20] = widen(truth[20])
    return label


def test_the_damaged_ones_come_first_with_the_right_kind(truth):
    suspects = find_label_errors(models(truth), [0.5] * 3, damage(truth))
    kinds = {s.patch: (s.kind, s.shift) for s in suspects}
    assert set(list(kinds)[:4]) == {3, 7, 12, 20}
    assert kinds[3] == ("missing", 0)
    assert kinds[7] == ("shifted", -2)
    assert kinds[12] == ("shifted", 3)
    assert kinds[20] == ("too wide", 0)


def test_sound_labels_are_not_suspected(truth):
    assert find_label_errors(models(truth), [0.5] * 3, truth) == []


def test_narrow_and_spurious(truth):
    """The models see wide grooves, or none."""
    wide = torch.stack([widen(label) for label in truth])
    wide[5] = False
    suspects = find_label_errors(models(wide), [0.5] * 3, truth)
    kinds = {s.patch: s.kind for s in suspects}
    assert kinds[5] == "spurious"
    assert suspects[0].patch == 5
    others = [kind for patch, kind in kinds.items() if patch != 5]
    assert len(others) > 30
    assert others.count("too narrow") > 0.9 * len(others)


def test_one_groove_of_two_missing():
    label, both = (torch.zeros(1, 36, 36, dtype=torch.bool) for _ in range(2))
    label[0, :, 5:7] = both[0, :, 5:7] = both[0, :, 20:24] = True
    assert find_label_errors(models(both), [0.5] * 3, label)[0].kind == "missing"
    assert find_label_errors(models(label), [0.5] * 3, both)[0].kind == "spurious"


def test_a_stray_pixel_of_the_models_makes_no_label_too_wide():
    label, seen = (torch.zeros(1, 36, 36, dtype=torch.bool) for _ in range(2))
    label[0, :, 5:8] = seen[0, 9:12, 5:8] = True
    assert find_label_errors(models(seen), [0.5] * 3, label)[0].kind == "spurious"
    assert find_label_errors(models(label), [0.5] * 3, seen)[0].kind == "missing"


def test_models_that_disagree_suspect_nothing(truth):
    answers = models(truth)
    answers[1] = answers[1].roll(6, -1)
    assert find_label_errors(answers, [0.5] * 3, damage(truth)) == []


def test_the_threshold_is_each_models_own(truth):
    shy = models(truth) * torch.tensor([1.0, 0.1, 1.0]).view(-1, 1, 1, 1)
    assert find_label_errors(shy, [0.5, 0.5, 0.5], damage(truth)) == []
    suspects = find_label_errors(shy, [0.5, 0.05, 0.5], damage(truth))
    assert {suspect.patch for suspect in suspects[:4]} == {3, 7, 12, 20}


def test_nulls_do_not_count(truth):
    answers = models(truth)
    label = truth.clone()
    label[4, 10:14] = ~label[4, 10:14]
    answers[:, 4, 10:14] = torch.nan
    assert find_label_errors(answers, [0.5] * 3, label) == []


def test_one_model_cannot_agree(truth):
    with pytest.raises(ValueError, match="two or more"):
        find_label_errors(models(truth, 1), [0.5], truth)

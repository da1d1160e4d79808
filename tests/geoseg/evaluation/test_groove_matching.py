"""Scores of lines and grooves on masks with known errors."""

import math

import pytest
import torch

from geoseg.evaluation.groove_matching import centreline_dice, match_grooves, tolerant_dice
from geoseg.metrics import count, score


def draw_grooves(*columns, rows=slice(0, 36), shape=(1, 36, 36)):
    mask = torch.zeros(shape, dtype=torch.bool)
    for column in columns:
        mask[0, rows, column % shape[2]] = True
    return mask


EMPTY = draw_grooves()


@pytest.mark.parametrize("measure", [tolerant_dice, centreline_dice])
def test_equal_masks_score_1_and_missed_grooves_0(measure):
    label = torch.cat([draw_grooves(35, 0, 1), EMPTY, draw_grooves(3, 4), EMPTY])
    mask = torch.cat([draw_grooves(35, 0, 1), EMPTY, EMPTY, draw_grooves(3)])
    assert measure(mask, label).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("shift", [-1, 1])
def test_tolerant_dice_allows_one_column_across_the_seam(shift):
    label = draw_grooves(35, 0)
    mask = label.roll(shift, -1)
    assert score(count(mask, label))["iou"].item() == pytest.approx(1 / 3)
    assert tolerant_dice(mask, label).item() == 1
    assert tolerant_dice(label.roll(4, -1), label).item() == 0


def test_tolerant_dice_by_hand():
    # Four of six mask columns are within one column of the label, and both label columns are met.
    assert tolerant_dice(draw_grooves(*range(2, 8)), draw_grooves(4, 5)).item() == pytest.approx(
        2 * (4 / 6) / (4 / 6 + 1)
    )


def test_centreline_dice_depends_on_length_and_not_on_width():
    assert centreline_dice(draw_grooves(*range(4, 9)), draw_grooves(6)).item() == 1
    half = draw_grooves(6, rows=slice(0, 18))
    assert centreline_dice(half, draw_grooves(6)).item() == pytest.approx(2 * 0.5 / 1.5)
    assert centreline_dice(draw_grooves(9), draw_grooves(6)).item() == 0


def test_groove_across_the_seam_is_one_groove():
    found = match_grooves(draw_grooves(35, 0), draw_grooves(35, 0))
    assert (found.true, found.found, found.predicted, found.right) == (1, 1, 1, 1)
    assert (found.precision, found.recall) == (1, 1)
    assert found[6:] == (0, 0, 0, 0)


def test_width_and_length_errors_by_hand():
    label = draw_grooves(5, 6) | draw_grooves(20, 21, 22)
    mask = draw_grooves(5, 6, 7, rows=slice(0, 30)) | draw_grooves(21, 22)
    found = match_grooves(mask, label)
    assert found.recall == found.precision == 1
    assert found.width_bias == pytest.approx((1 - 1) / 2)
    assert found.width_error == pytest.approx(1)
    assert found.length_bias == pytest.approx(-3)
    assert found.length_error == pytest.approx(3)


def test_groove_is_found_from_half_of_its_rows():
    label = draw_grooves(5)
    for rows, found in ((18, 1), (17, 0)):
        matches = match_grooves(draw_grooves(6, rows=slice(0, rows)), label)
        assert (matches.found, matches.right) == (found, 1), "one column off counts"


def test_precision_and_recall_of_grooves_by_hand():
    label = draw_grooves(5) | draw_grooves(15) | draw_grooves(25)
    mask = draw_grooves(5) | draw_grooves(10, rows=slice(3, 6))
    found = match_grooves(mask, label)
    assert (found.true, found.found, found.predicted, found.right) == (3, 1, 2, 1)
    assert found.precision == 1 / 2
    assert found.recall == 1 / 3


def test_largest_piece_of_a_broken_groove_is_measured():
    mask = draw_grooves(5, rows=slice(0, 10)) | draw_grooves(5, rows=slice(12, 36))
    found = match_grooves(mask, draw_grooves(5))
    assert (found.found, found.predicted, found.right) == (1, 2, 2)
    assert found.length_bias == 24 - 36


def test_grooves_of_different_patches_are_separate():
    both = torch.cat([draw_grooves(5), draw_grooves(5)])
    assert match_grooves(both, both).true == 2


def test_scores_without_grooves_are_nan():
    found = match_grooves(EMPTY, EMPTY)
    assert (found.true, found.predicted) == (0, 0)
    assert all(math.isnan(value) for value in found[4:])
    assert match_grooves(draw_grooves(3), EMPTY).precision == 0
    assert match_grooves(EMPTY, draw_grooves(3)).recall == 0

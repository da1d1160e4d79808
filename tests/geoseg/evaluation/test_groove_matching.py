"""Scores that see lines and grooves recover known truths."""

import math

import pytest
import torch

from geoseg.evaluation.groove_matching import centreline_dice, match_grooves, tolerant_dice
from geoseg.metrics import count, score


def band(*columns, rows=slice(0, 36), shape=(1, 36, 36)):
    mask = torch.zeros(shape, dtype=torch.bool)
    for column in columns:
        mask[0, rows, column % shape[2]] = True
    return mask


EMPTY = band()


@pytest.mark.parametrize("measure", [tolerant_dice, centreline_dice])
def test_perfect_empty_and_missed(measure):
    truth = torch.cat([band(35, 0, 1), EMPTY, band(3, 4), EMPTY])
    mask = torch.cat([band(35, 0, 1), EMPTY, EMPTY, band(3)])
    assert measure(mask, truth).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("shift", [-1, 1])
def test_one_column_off_is_forgiven_even_across_the_seam(shift):
    truth = band(35, 0)
    mask = truth.roll(shift, -1)
    assert score(count(mask, truth))["iou"].item() == pytest.approx(1 / 3)
    assert tolerant_dice(mask, truth).item() == 1
    assert tolerant_dice(truth.roll(4, -1), truth).item() == 0


def test_tolerance_counts_both_sides_by_hand():
    # Of six predicted columns four are within one of the truth, and all of the truth is met.
    assert tolerant_dice(band(*range(2, 8)), band(4, 5)).item() == pytest.approx(
        2 * (4 / 6) / (4 / 6 + 1)
    )


def test_thin_lines_are_blind_to_width_and_see_length():
    assert centreline_dice(band(*range(4, 9)), band(6)).item() == 1
    half = band(6, rows=slice(0, 18))
    assert centreline_dice(half, band(6)).item() == pytest.approx(2 * 0.5 / 1.5)
    assert centreline_dice(band(9), band(6)).item() == 0


def test_grooves_across_the_seam_are_one():
    found = match_grooves(band(35, 0), band(35, 0))
    assert (found.true, found.found, found.predicted, found.right) == (1, 1, 1, 1)
    assert (found.precision, found.recall) == (1, 1)
    assert found[6:] == (0, 0, 0, 0)


def test_errors_of_width_and_length():
    truth = band(5, 6) | band(20, 21, 22)
    mask = band(5, 6, 7, rows=slice(0, 30)) | band(21, 22)
    found = match_grooves(mask, truth)
    assert found.recall == found.precision == 1
    assert found.width_bias == pytest.approx((1 - 1) / 2)
    assert found.width_error == pytest.approx(1)
    assert found.length_bias == pytest.approx(-3)
    assert found.length_error == pytest.approx(3)


def test_a_groove_is_found_from_half_of_its_rows_on():
    truth = band(5)
    for rows, found in ((18, 1), (17, 0)):
        answer = match_grooves(band(6, rows=slice(0, rows)), truth)
        assert (answer.found, answer.right) == (found, 1), "a column off is close enough"


def test_misses_and_false_alarms():
    truth = band(5) | band(15) | band(25)
    mask = band(5) | band(10, rows=slice(3, 6))
    found = match_grooves(mask, truth)
    assert (found.true, found.found, found.predicted, found.right) == (3, 1, 2, 1)
    assert found.precision == 1 / 2
    assert found.recall == 1 / 3


def test_pieces_of_one_groove_find_it_and_the_largest_is_measured():
    mask = band(5, rows=slice(0, 10)) | band(5, rows=slice(12, 36))
    found = match_grooves(mask, band(5))
    assert (found.found, found.predicted, found.right) == (1, 2, 2)
    assert found.length_bias == 24 - 36


def test_the_same_place_in_two_patches_is_two_grooves():
    both = torch.cat([band(5), band(5)])
    assert match_grooves(both, both).true == 2


def test_nothing_to_divide_by():
    found = match_grooves(EMPTY, EMPTY)
    assert (found.true, found.predicted) == (0, 0)
    assert all(math.isnan(value) for value in found[4:])
    assert match_grooves(band(3), EMPTY).precision == 0
    assert match_grooves(EMPTY, band(3)).recall == 0

"""Calibration of probabilities with a known error."""

import math

import pytest
import torch

from geoseg.evaluation.calibration import BINS, calibrate

# At the middle p of each bin: 300 pixels, of which the share p is a groove (exact for 15 bins).
MIDDLES = [(2 * i + 1) / (2 * BINS) for i in range(BINS)]


def make_probabilities(error=0.0):
    label = torch.cat([torch.arange(300) < round(300 * p) for p in MIDDLES])
    probability = torch.tensor(MIDDLES, dtype=torch.float64).repeat_interleave(300)
    return probability + error, label


def test_calibrated_probabilities_have_ece_0():
    probability, label = make_probabilities()
    found = calibrate(probability, label)
    assert found.ece == pytest.approx(0, abs=1e-12)
    assert found.brier == pytest.approx(sum(p * (1 - p) for p in MIDDLES) / BINS)
    assert found.promised == pytest.approx(MIDDLES)
    assert found.observed == pytest.approx(MIDDLES)
    assert found.pixels == [300] * BINS


@pytest.mark.parametrize("error", [-0.03, 0.02])
def test_constant_error_is_the_ece(error):
    assert calibrate(*make_probabilities(error)).ece == pytest.approx(abs(error))


def test_bins_are_weighted_by_pixels():
    probability = torch.tensor([0.9, 0.1, 0.1, 0.1])
    label = torch.tensor([False, False, False, False])
    found = calibrate(probability, label)
    assert found.ece == pytest.approx((0.9 + 3 * 0.1) / 4)
    assert found.brier == pytest.approx((0.81 + 3 * 0.01) / 4)
    assert found.observed[0] is None


def test_probabilities_0_and_1_are_in_the_outer_bins():
    found = calibrate(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))
    assert (found.pixels[0], found.pixels[-1], found.ece, found.brier) == (1, 1, 0, 0)


def test_nulls_do_not_count():
    label = torch.tensor([True, True])
    assert calibrate(torch.tensor([1.0, torch.nan]), label).pixels[-1] == 1
    empty = calibrate(torch.full((2,), torch.nan), label)
    assert math.isnan(empty.ece)
    assert math.isnan(empty.brier)

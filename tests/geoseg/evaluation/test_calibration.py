"""Calibration of predictors whose fault is known."""

import math

import pytest
import torch

from geoseg.evaluation.calibration import BINS, calibrate

# In the middle of each bin, 300 pixels of which the share p, exact for 15 bins, is true.
MIDDLES = [(2 * i + 1) / (2 * BINS) for i in range(BINS)]


def predictor(shift=0.0):
    truth = torch.cat([torch.arange(300) < round(300 * p) for p in MIDDLES])
    promised = torch.tensor(MIDDLES, dtype=torch.float64).repeat_interleave(300)
    return promised + shift, truth


def test_a_calibrated_predictor_has_no_error():
    probability, truth = predictor()
    found = calibrate(probability, truth)
    assert found.ece == pytest.approx(0, abs=1e-12)
    assert found.brier == pytest.approx(sum(p * (1 - p) for p in MIDDLES) / BINS)
    assert found.promised == pytest.approx(MIDDLES)
    assert found.observed == pytest.approx(MIDDLES)
    assert found.pixels == [300] * BINS


@pytest.mark.parametrize("shift", [-0.03, 0.02])
def test_a_shifted_one_is_off_by_the_shift(shift):
    assert calibrate(*predictor(shift)).ece == pytest.approx(abs(shift))


def test_bins_are_weighted_by_their_pixels():
    probability = torch.tensor([0.9, 0.1, 0.1, 0.1])
    truth = torch.tensor([False, False, False, False])
    found = calibrate(probability, truth)
    assert found.ece == pytest.approx((0.9 + 3 * 0.1) / 4)
    assert found.brier == pytest.approx((0.81 + 3 * 0.01) / 4)
    assert found.observed[0] is None


def test_the_ends_have_a_bin():
    found = calibrate(torch.tensor([0.0, 1.0]), torch.tensor([False, True]))
    assert (found.pixels[0], found.pixels[-1], found.ece, found.brier) == (1, 1, 0, 0)


def test_nulls_do_not_count():
    truth = torch.tensor([True, True])
    assert calibrate(torch.tensor([1.0, torch.nan]), truth).pixels[-1] == 1
    nothing = calibrate(torch.full((2,), torch.nan), truth)
    assert math.isnan(nothing.ece)
    assert math.isnan(nothing.brier)

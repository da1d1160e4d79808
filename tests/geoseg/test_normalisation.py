"""Normalisation: its scale, its symmetries, nulls and logs."""

import pytest
import torch

from geoseg import Normalisation
from geoseg.normalisation import RAW


@pytest.fixture
def patches():
    generator = torch.Generator().manual_seed(0)
    images = 0.02 * torch.randn(4, 36, 36, generator=generator)
    images[1, 3:5] = torch.nan
    images[2, :, 7] = torch.nan
    return images


def test_nulls_become_zero_and_invalid(patches):
    inputs, valid = RAW(patches)
    filled = inputs[:, 0]
    assert torch.equal(valid, ~patches.isnan())
    assert (filled[~valid] == 0).all()
    assert torch.equal(filled[valid], patches[valid])


def test_own_scale_is_robust_and_independent_of_gain(patches):
    normalise = Normalisation(compress=False)
    inputs, valid = normalise(patches)
    assert inputs.shape == (4, 1, 36, 36)
    assert inputs[:, 0][valid].std().item() == pytest.approx(1, rel=0.1)
    assert torch.allclose(normalise(25.4 * patches)[0], inputs, rtol=1e-5)
    spiked = patches.clone()
    spiked[0, 0, :5] = 100.0
    assert torch.allclose(normalise(spiked)[0][0, 0, 1:], inputs[0, 0, 1:], rtol=0.05)


def test_nulls_do_not_move_the_scale(patches):
    inputs, valid = Normalisation()(patches[2:3])
    cut = torch.cat((patches[2:3, :, :7], patches[2:3, :, 8:]), -1)
    assert torch.allclose(inputs[0, 0][valid[0]], Normalisation()(cut)[0].flatten())


@pytest.mark.parametrize(
    "normalise", [Normalisation(), Normalisation(0.02), Normalisation(mask=True), RAW]
)
def test_commutes_with_rolls_and_flips(normalise, patches):
    inputs, _ = normalise(patches)
    assert torch.equal(normalise(patches.roll(5, -1))[0], inputs.roll(5, -1))
    assert torch.equal(normalise(patches.flip(-1, -2))[0], inputs.flip(-1, -2))


def test_compression_is_linear_then_logarithmic():
    images = torch.tensor([[[0.01, 100.0]]])
    inputs, _ = Normalisation(scale=1.0)(images)
    assert inputs[0, 0, 0].tolist() == pytest.approx([0.01, 5.298], rel=1e-3)


@pytest.mark.parametrize("value", [0.0, torch.nan, 1e-7])
def test_blank_patches_stay_finite_and_small(value):
    inputs, valid = Normalisation()(torch.full((1, 5, 5), value))
    assert inputs.isfinite().all()
    assert inputs.abs().max() < 1
    assert bool(valid.all()) == (value == value)


def test_raw_is_the_identity(patches):
    assert torch.equal(RAW(patches[:1])[0][:, 0], patches[:1])


def test_scale_is_checked():
    with pytest.raises(ValueError, match="scale is 0"):
        Normalisation(scale=0)


def test_mask_adds_a_second_channel(patches):
    inputs, valid = Normalisation(mask=True)(patches)
    assert Normalisation(mask=True).channels == inputs.shape[1] == 2
    assert torch.equal(inputs[:, :1], Normalisation()(patches)[0])
    assert torch.equal(inputs[:, 1], valid.float())


def test_log_is_normalised_as_its_patches_are():
    """Each depth is divided by its own spread; nulls between the parts change nothing."""
    generator = torch.Generator().manual_seed(1)
    log = 0.01 * torch.randn(1, 360, 36, generator=generator)
    log[:, :180] *= 5
    log[:, 252:288] = torch.nan
    inputs, valid = Normalisation()(log)
    for first in (36, 72, 216, 324):  # away from the change, half a slice on either side
        rows = slice(first, first + 36)
        alone = Normalisation()(log[:, rows])[0]
        seen = valid[:, rows]
        assert torch.allclose(inputs[:, 0, rows][seen], alone[:, 0][seen], rtol=0.1, atol=0.02)
    assert torch.equal(Normalisation()(log.roll(7, -1))[0], inputs.roll(7, -1))


def test_patch_is_divided_by_one_spread():
    image = torch.randn(1, 36, 36, generator=torch.Generator().manual_seed(2))
    image[:, :18] *= 10
    inputs, _ = Normalisation(compress=False)(image)
    ratio = inputs[:, 0] / image
    assert torch.allclose(ratio, ratio[0, 0, 0].expand_as(ratio))

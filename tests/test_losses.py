"""The four losses: parity, masking, and what they must do by definition."""

import json
import math

import pytest
import torch
from safetensors import safe_open

from geoseg.losses import LOSSES, bce, bce_weighted, dice, dice_bce


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 8, 9, generator=generator)
    truth = torch.rand(3, 2, 8, 9, generator=generator) < 0.3
    valid = torch.rand(3, 2, 8, 9, generator=generator) < 0.8
    return logits, truth, valid


@pytest.mark.parametrize("name", LOSSES)
def test_parity_with_the_original(original, name):
    with safe_open(original / "losses_and_metrics.safetensors", "pt") as file:
        expected = json.loads(file.metadata()["expected"])["losses"]
        logits, truth = file.get_tensor("logits"), file.get_tensor("labels")
    assert LOSSES[name](logits, truth).item() == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_nulls_count_for_nothing(batch, name):
    logits, truth, valid = batch
    loss = LOSSES[name]
    scrambled = torch.where(valid, logits, 50.0)
    assert loss(scrambled, truth | ~valid, valid).item() == pytest.approx(
        loss(logits, truth, valid).item(), abs=1e-6
    )
    logits = logits.clone().requires_grad_()
    loss(logits, truth, valid).backward()
    assert (logits.grad[~valid] == 0).all()
    assert (logits.grad[valid] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
def test_all_valid_is_no_mask(batch, name):
    logits, truth, valid = batch
    everywhere = torch.ones_like(valid)
    assert LOSSES[name](logits, truth, everywhere).item() == pytest.approx(
        LOSSES[name](logits, truth).item()
    )


@pytest.mark.parametrize("name", LOSSES)
def test_finite_where_nothing_is_left(name):
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = LOSSES[name](logits, torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad.isfinite().all()


def test_values_by_hand():
    logits = torch.zeros(1, 1, 1, 2)
    truth = torch.tensor([[[[1, 0]]]])
    assert bce(logits, truth).item() == pytest.approx(math.log(2))
    assert bce_weighted(logits, truth).item() == pytest.approx(1.5 * math.log(2))
    assert dice(logits, truth).item() == pytest.approx(0.5)
    assert dice_bce(logits, truth).item() == pytest.approx(1.5 * math.log(2) + 0.15)


def test_dice_is_the_mean_over_patches():
    logits = torch.full((2, 1, 2, 2), -30.0)
    logits[0, 0, 0, 0] = 30.0
    truth = torch.zeros(2, 1, 2, 2)
    truth[0, 0, 0, 0] = 1
    assert dice(logits, truth).item() == pytest.approx(0.5)

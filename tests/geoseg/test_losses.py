"""The four losses: parity, masking, and what they must do by definition."""

import json
import math
from itertools import pairwise

import pytest
import torch
from safetensors import safe_open

from geoseg.losses import LOSSES, Whole, bce, bce_weighted, dice, dice_bce


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


def uneven(patches=7):
    """Logits, truth and validity of a batch, of which each patch has more nulls than the last."""
    generator = torch.Generator().manual_seed(1)
    shape = (patches, 1, 8, 9)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    truth = torch.rand(shape, generator=generator) < 0.3
    valid = torch.arange(72).view(8, 9) >= torch.linspace(0, 71, patches).long().view(-1, 1, 1, 1)
    truth[1] = False  # no groove at all
    return logits, truth, valid


def loss_and_gradient(loss, logits, parts, whole_of=lambda valid: None):
    """The sum over `parts`, slices of the batch, of their losses; and its gradient."""
    logits, truth, valid = logits.clone().requires_grad_(), *uneven()[1:]
    total = sum(loss(logits[p], truth[p], valid[p], whole_of(valid)) for p in parts)
    total.backward()
    return total.item(), logits.grad


def numbers(valid):
    return Whole(int(valid.sum()), len(valid))


def tensors(valid):
    return Whole(valid.sum(), torch.tensor(len(valid)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("cuts", [[0, 7], [0, 4, 7], [0, 1, 7], [0, 3, 3, 7], [*range(8)]])
@pytest.mark.parametrize("whole_of", [numbers, tensors])
def test_the_losses_of_parts_add_up_to_that_of_the_batch(name, cuts, whole_of):
    logits, loss = uneven()[0], LOSSES[name]
    expected, gradient = loss_and_gradient(loss, logits, [slice(None)])
    parts = [slice(*cut) for cut in pairwise(cuts)]
    found, sum_of_gradients = loss_and_gradient(loss, logits, parts, whole_of)
    assert found == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(sum_of_gradients, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_of_the_parts_own_losses_would_be_another(name):
    """Or the test above could not tell them apart."""
    logits, loss = uneven()[0], LOSSES[name]
    expected = loss_and_gradient(loss, logits, [slice(None)])[0]
    assert abs(loss_and_gradient(loss, logits, [slice(0, 4), slice(4, 7)])[0] / 2 - expected) > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_nothing_but_nulls_costs_the_same_in_parts(name):
    logits = torch.zeros(2, 1, 4, 4)
    truth, valid = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    expected = LOSSES[name](logits, truth, valid)
    parts = [LOSSES[name](logits[:1], truth[:1], valid[:1], numbers(valid)) for _ in range(2)]
    assert sum(parts).item() == expected.item()
    assert math.isfinite(expected.item())

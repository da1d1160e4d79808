"""The four losses: parity with the original, nulls, and sums over parts of a batch."""

import json
import math
from itertools import pairwise

import pytest
import torch
from safetensors import safe_open

from geoseg.losses import LOSSES, BatchTotals, bce, bce_weighted, dice, dice_bce


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 8, 9, generator=generator)
    label = torch.rand(3, 2, 8, 9, generator=generator) < 0.3
    valid = torch.rand(3, 2, 8, 9, generator=generator) < 0.8
    return logits, label, valid


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_those_of_the_original(original, name):
    with safe_open(original / "losses_and_metrics.safetensors", "pt") as file:
        expected = json.loads(file.metadata()["expected"])["losses"]
        logits, label = file.get_tensor("logits"), file.get_tensor("labels")
    assert LOSSES[name](logits, label).item() == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_nulls_change_neither_loss_nor_gradient(batch, name):
    logits, label, valid = batch
    loss = LOSSES[name]
    scrambled = torch.where(valid, logits, 50.0)
    assert loss(scrambled, label | ~valid, valid).item() == pytest.approx(
        loss(logits, label, valid).item(), abs=1e-6
    )
    logits = logits.clone().requires_grad_()
    loss(logits, label, valid).backward()
    assert (logits.grad[~valid] == 0).all()
    assert (logits.grad[valid] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
def test_all_valid_equals_no_valid_map(batch, name):
    logits, label, valid = batch
    everywhere = torch.ones_like(valid)
    assert LOSSES[name](logits, label, everywhere).item() == pytest.approx(
        LOSSES[name](logits, label).item()
    )


@pytest.mark.parametrize("name", LOSSES)
def test_loss_without_valid_pixels_is_finite(name):
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = LOSSES[name](logits, torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad.isfinite().all()


def test_losses_by_hand():
    logits = torch.zeros(1, 1, 1, 2)
    label = torch.tensor([[[[1, 0]]]])
    assert bce(logits, label).item() == pytest.approx(math.log(2))
    assert bce_weighted(logits, label).item() == pytest.approx(1.5 * math.log(2))
    assert dice(logits, label).item() == pytest.approx(0.5)
    assert dice_bce(logits, label).item() == pytest.approx(1.5 * math.log(2) + 0.15)


def test_dice_is_the_mean_over_patches():
    logits = torch.full((2, 1, 2, 2), -30.0)
    logits[0, 0, 0, 0] = 30.0
    label = torch.zeros(2, 1, 2, 2)
    label[0, 0, 0, 0] = 1
    assert dice(logits, label).item() == pytest.approx(0.5)


def make_uneven_batch(patches=7):
    """Return logits, labels and valid maps; each patch has more nulls than the one before."""
    generator = torch.Generator().manual_seed(1)
    shape = (patches, 1, 8, 9)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    label = torch.rand(shape, generator=generator) < 0.3
    valid = torch.arange(72).view(8, 9) >= torch.linspace(0, 71, patches).long().view(-1, 1, 1, 1)
    label[1] = False  # no groove at all
    return logits, label, valid


def loss_and_gradient(loss, logits, parts, make_totals=lambda valid: None):
    """Return the sum of the losses of `parts`, slices of the batch, and its gradient."""
    logits, label, valid = logits.clone().requires_grad_(), *make_uneven_batch()[1:]
    total = sum(loss(logits[p], label[p], valid[p], make_totals(valid)) for p in parts)
    total.backward()
    return total.item(), logits.grad


def totals_as_numbers(valid):
    return BatchTotals(int(valid.sum()), len(valid))


def totals_as_tensors(valid):
    return BatchTotals(valid.sum(), torch.tensor(len(valid)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("cuts", [[0, 7], [0, 4, 7], [0, 1, 7], [0, 3, 3, 7], [*range(8)]])
@pytest.mark.parametrize("make_totals", [totals_as_numbers, totals_as_tensors])
def test_losses_of_parts_sum_to_that_of_the_batch(name, cuts, make_totals):
    logits, loss = make_uneven_batch()[0], LOSSES[name]
    expected, gradient = loss_and_gradient(loss, logits, [slice(None)])
    parts = [slice(*cut) for cut in pairwise(cuts)]
    found, sum_of_gradients = loss_and_gradient(loss, logits, parts, make_totals)
    assert found == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(sum_of_gradients, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_mean_of_the_losses_of_parts_differs(name):
    """Otherwise the test above would not need the totals."""
    logits, loss = make_uneven_batch()[0], LOSSES[name]
    expected = loss_and_gradient(loss, logits, [slice(None)])[0]
    assert abs(loss_and_gradient(loss, logits, [slice(0, 4), slice(4, 7)])[0] / 2 - expected) > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_batch_of_nulls_has_the_same_loss_in_parts(name):
    logits = torch.zeros(2, 1, 4, 4)
    label, valid = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    expected = LOSSES[name](logits, label, valid)
    parts = [
        LOSSES[name](logits[:1], label[:1], valid[:1], totals_as_numbers(valid)) for _ in range(2)
    ]
    assert sum(parts).item() == expected.item()
    assert math.isfinite(expected.item())

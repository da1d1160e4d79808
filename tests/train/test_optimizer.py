"""Optimisers: learning rates, Muon on kernels, moving averages, and their saved state."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from geoseg import create_model
from train.experiments import Experiment
from train.optimizer import (
    KernelMuon,
    get_moments,
    load_moments,
    make_averaged_model,
    make_optimizers,
    set_learning_rate,
)
from train.schedules import Linear, learning_rate_factor

LAYOUTS = (torch.contiguous_format, torch.channels_last)
SHAPES = ((6, 4, 3, 3), (4, 6, 1, 5), (8, 3, 1, 1))
RATE = 0.02
ADAM = Experiment(9000, "adam", "unet", {"width": 4}, learning_rate=1e-2)
MUON = replace(ADAM, muon=RATE)
SMALL = {"unet": {"width": 4}, "stacked": {"width": 4}, "vanilla": {"widths": (4, 6)}}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def factors(warmup, steps):
    return [learning_rate_factor(Linear(warmup), step, steps) for step in range(steps)]


def test_rate_rises_during_warmup_then_falls_to_almost_zero():
    rates = factors(0.25, 100)
    assert rates[0] == 1 / 25
    assert rates[24] == max(rates) == 1
    assert rates[-1] == 1 / 75
    assert all(b - a == pytest.approx(1 / 25) for a, b in pairwise(rates[:25]))
    assert all(a - b == pytest.approx(1 / 75) for a, b in pairwise(rates[25:]))


def test_rate_without_warmup_only_falls():
    rates = factors(0.0, 50)
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.03


def test_rate_with_full_warmup_only_rises():
    assert factors(1.0, 4) == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
def test_rate_factor_is_above_zero_and_at_most_one(warmup, steps):
    assert all(0 < factor <= 1 for factor in factors(warmup, steps))
    assert factors(warmup, 1) == [1]


def muon_steps(shape, layout, gradient_layout=None, steps=2):
    """Return a kernel before and after some steps of Muon."""
    kernel = nn.Parameter(random(*shape).to(memory_format=layout))
    before, address = kernel.detach().clone(), kernel.data_ptr()
    optimizer = KernelMuon([kernel], RATE)
    for step in range(steps):
        gradient = random(*shape, seed=step + 1)
        kernel.grad = gradient.contiguous(memory_format=gradient_layout or layout)
        optimizer.step()
    assert kernel.data_ptr() == address
    assert kernel.is_contiguous(memory_format=layout)
    return before, kernel.detach()


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_updates_kernels_in_place_alike_in_both_layouts(shape):
    plain, last = (muon_steps(shape, layout) for layout in LAYOUTS)
    assert torch.equal(plain[0], last[0])
    moved = plain[1] - plain[0]
    # Two steps along nearly orthogonal matrices: each singular value well exceeds one rate.
    assert moved.norm() > RATE * min(shape[0], moved[0].numel()) ** 0.5
    # Muon rounds to bfloat16 and sums in memory order.
    assert (last[1] - plain[1]).norm() < 0.02 * moved.norm()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_muon_accepts_gradients_in_any_layout(shape, layout):
    one, other = (muon_steps(shape, layout, of_gradient)[1] for of_gradient in LAYOUTS)
    assert torch.equal(one, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_equals_torchs_muon_on_the_kernel_as_matrix(shape):
    matrix = nn.Parameter(random(*shape).flatten(1))
    optimizer = torch.optim.Muon([matrix], lr=RATE, weight_decay=0.0)
    for step in range(2):
        matrix.grad = random(*shape, seed=step + 1).flatten(1)
        optimizer.step()
    _, kernel = muon_steps(shape, torch.contiguous_format)
    assert torch.equal(kernel.flatten(1), matrix.detach())


def list_addresses(optimizer):
    return [p.data_ptr() for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_muon_gets_kernels_between_many_channels_and_adam_the_rest(name, layout):
    model = create_model(name, **SMALL[name])
    nn.utils.convert_conv2d_weight_memory_format(model, layout)
    adam, muon = make_optimizers(MUON, model, fused=False, capturable=False)
    wide = {
        layer.weight.data_ptr()
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.in_channels > 1 and layer.out_channels > 1
    }
    everything = {p.data_ptr() for p in model.parameters()}
    assert set(list_addresses(muon)) == wide
    assert set(list_addresses(adam)) == everything - wide
    assert len(list_addresses(muon)) + len(list_addresses(adam)) == len(everything)
    assert wide < everything
    assert (adam.param_groups[0]["lr"], muon.param_groups[0]["lr"]) == (1e-2, RATE)


@pytest.mark.parametrize("name", SMALL)
def test_adam_gets_everything_without_muon(name):
    model = create_model(name, **SMALL[name])
    (adam,) = make_optimizers(ADAM, model, fused=True, capturable=False)
    assert isinstance(adam, torch.optim.Adam)
    assert list_addresses(adam) == [p.data_ptr() for p in model.parameters()]


def test_rate_tensor_is_set_in_place():
    model = create_model("unet", width=4)
    (adam,) = make_optimizers(ADAM, model, fused=False, capturable=True)
    rate = adam.param_groups[0]["lr"]
    set_learning_rate(adam, 0.5)
    assert adam.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_average_follows_the_weights_faster_at_first(decay):
    model = nn.Linear(1, 1, bias=False)
    average = make_averaged_model(model, decay)
    expected = 0.0
    for count in range(300):
        value = 1.0 + (count % 7)
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        current_decay = min(decay, (1 + count) / (10 + count)) if count else 0.0
        expected = current_decay * expected + (1 - current_decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-4)
        assert model.weight.item() == value
    assert abs(expected - 4) < (0.2 if decay > 0.9 else 2.5)


def trained(experiment, layout, fused=True, start=None):
    """Return a model and its optimisers after two steps, or restored from `start`."""
    torch.manual_seed(0)
    model = experiment.create_model()
    nn.utils.convert_conv2d_weight_memory_format(model, layout)
    optimizers = make_optimizers(experiment, model, fused=fused, capturable=False)
    if start:
        model.load_state_dict(start[0].state_dict())
        for old, new in zip(start[1], optimizers, strict=True):
            # As loaded from a file: contiguous.
            saved = {k: v.clone(memory_format=torch.contiguous_format) for k, v in old.items()}
            load_moments(new, saved)
    else:
        for step in range(2):
            take_step(model, optimizers, step)
    return model, optimizers


def take_step(model, optimizers, seed):
    for number, p in enumerate(model.parameters()):
        p.grad = torch.empty_like(p).copy_(random(*p.shape, seed=1000 * seed + number))
    for optimizer in optimizers:
        optimizer.step()


def get_all_moments(optimizers):
    return [get_moments(optimizer) for optimizer in optimizers]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("experiment", [ADAM, MUON], ids=lambda e: "muon" if e.muon else "adam")
def test_loaded_moments_continue_bit_for_bit_in_the_layout_of_the_weights(experiment, layout):
    model, optimizers = trained(experiment, layout)
    again, others = trained(experiment, layout, start=(model, get_all_moments(optimizers)))
    for old, new in zip(get_all_moments(optimizers), get_all_moments(others), strict=True):
        assert old.keys() == new.keys()
        assert all(torch.equal(old[name], new[name]) for name in old)
    adam = others[0]
    for p in adam.param_groups[0]["params"]:
        for kind in ("exp_avg", "exp_avg_sq"):
            assert adam.state[p][kind].stride() == p.stride()
    take_step(model, optimizers, 2)
    take_step(again, others, 2)
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("experiment", [ADAM, MUON], ids=lambda e: "muon" if e.muon else "adam")
def test_moments_saved_in_one_layout_load_in_the_other(experiment):
    model, optimizers = trained(experiment, torch.channels_last)
    again, others = trained(
        experiment, torch.contiguous_format, start=(model, get_all_moments(optimizers))
    )
    before = [p.detach().clone() for p in model.parameters()]
    take_step(model, optimizers, 2)
    take_step(again, others, 2)
    for p, q, start in zip(model.parameters(), again.parameters(), before, strict=True):
        assert (q - p).norm() <= 0.02 * (p - start).norm()  # Muon rounds to bfloat16


def test_moments_are_views_in_the_shape_of_their_weights():
    _, (_, muon) = trained(MUON, torch.channels_last)
    for (name, value), kernel in zip(get_moments(muon).items(), muon.kernels, strict=True):
        assert name.endswith(".momentum_buffer")
        assert value.shape == kernel.shape
        value.zero_()
    assert not any(v.any() for v in get_moments(muon).values())

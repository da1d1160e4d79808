"""Quantisation of weights: the size of its errors; a second quantisation changes nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.quantisation import Quantisation

ALL = [Quantisation(bits) for bits in (16, 8, 4)]
every_width = pytest.mark.parametrize("quantisation", ALL, ids=lambda q: f"{q.bits}")


def round_trip(quantisation, weight):
    weights = {"w": weight}
    stored = quantisation.quantise(weights)
    return stored, quantisation.dequantise(stored, weights)["w"]


@st.composite
def weights(draw):
    """Draw a weight (C, ...) of two to four axes, of almost any magnitude that float32 holds."""
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    values = st.floats(-(2.0**127), 2.0**127, width=32)
    size = torch.Size(shape).numel()
    flat = draw(st.lists(values | st.floats(-1, 1, width=32), min_size=size, max_size=size))
    return torch.tensor(flat).reshape(shape)


@given(weight=weights(), quantisation=st.sampled_from(ALL))
def test_error_is_at_most_half_a_scale(weight, quantisation):
    stored, restored = round_trip(quantisation, weight)
    scale = stored["w.scale"].double()
    assert (scale > 0).all()
    error = (weight.double() - restored.double()).abs().flatten(1)
    # Beside the half, what float32 itself rounds in w / scale and in scale * q.
    rounding = 2**-23 * restored.double().abs().flatten(1)
    assert (error <= scale[:, None] / 2 + rounding).all()
    assert ((restored == 0) | (restored.sign() == weight.sign())).all()


@given(weight=weights(), quantisation=st.sampled_from(ALL))
def test_second_quantisation_changes_no_bit(weight, quantisation):
    stored, restored = round_trip(quantisation, weight)
    for name, value in quantisation.quantise({"w": restored}).items():
        assert value.dtype == stored[name].dtype
        assert value.equal(stored[name])


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_scale_is_restored_exactly_for_every_mantissa(bits):
    mantissas = torch.arange(2**23, 2**24, 61).float()[:, None]
    stored, restored = round_trip(Quantisation(bits), mantissas)
    assert Quantisation(bits).quantise({"w": restored})["w.scale"].equal(stored["w.scale"])


@every_width
def test_multiples_of_the_scale_are_exact(quantisation):
    top = quantisation.max_integer
    integers = torch.tensor([[top, -top, 0, 1], [-top, top, 2, -1]])
    weight = integers * torch.tensor([[0.25], [0.25]])
    stored, restored = round_trip(quantisation, weight)
    assert restored.equal(weight)
    assert (stored["w.scale"] == 0.25).all()


@every_width
def test_zeros_and_constants_are_exact(quantisation):
    for value in (0.0, 1.0, -1.0):
        weight = torch.full((3, 5), value)
        assert round_trip(quantisation, weight)[1].equal(weight)


@every_width
def test_stored_tensors_have_the_documented_dtypes_and_shapes(quantisation):
    weight = torch.randn(3, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    bias = torch.randn(3, generator=torch.Generator().manual_seed(1))
    stored = quantisation.quantise({"a.weight": weight, "a.bias": bias})
    assert set(stored) == {"a.weight", "a.weight.scale", "a.bias"}
    assert stored["a.bias"].equal(bias)
    assert stored["a.weight.scale"].shape == (3,)
    dtype, shape = {
        16: (torch.int16, (3, 5, 1, 1)),
        8: (torch.int8, (3, 5, 1, 1)),
        4: (torch.uint8, (8,)),  # 15 values and one to fill the last byte
    }[quantisation.bits]
    assert stored["a.weight"].dtype == dtype
    assert stored["a.weight"].shape == shape


def test_two_4_bit_values_share_a_byte():
    stored, _ = round_trip(Quantisation(4), torch.tensor([[7.0, -7.0, 0.4]]))
    assert stored["w.scale"].tolist() == [1.0]
    assert stored["w"].tolist() == [0x1F, 0x88]  # 7 + 8 | -7 + 8 << 4; then 0 twice


def test_small_channel_keeps_its_precision_beside_a_large_one():
    weight = torch.tensor([[100.0, -50.0], [0.01, 0.005]])
    _, restored = round_trip(Quantisation(8), weight)
    torch.testing.assert_close(restored[1], weight[1], rtol=0.01, atol=0)


@pytest.mark.parametrize("wrong", [32, "8", 8.0, True])
def test_other_widths_are_refused(wrong):
    with pytest.raises(ValueError, match="choose one of"):
        Quantisation(wrong)

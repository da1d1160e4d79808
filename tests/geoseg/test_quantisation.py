"""Weights in fewer bits: how far they move, and that they move only once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.quantisation import Quantisation

ALL = [Quantisation(bits, per) for bits in (16, 8, 4) for per in ("channel", "layer")]
every = pytest.mark.parametrize("quantisation", ALL, ids=lambda q: f"{q.bits}-{q.per}")


def there_and_back(quantisation, weight):
    weights = {"w": weight}
    stored = quantisation.quantise(weights)
    return stored, quantisation.dequantise(stored, weights)["w"]


@st.composite
def weights(draw):
    """A weight (C, ...) of two to four axes, of almost any magnitude that float32 holds."""
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    values = st.floats(-(2.0**127), 2.0**127, width=32)
    size = torch.Size(shape).numel()
    flat = draw(st.lists(values | st.floats(-1, 1, width=32), min_size=size, max_size=size))
    return torch.tensor(flat).reshape(shape)


@given(weight=weights(), quantisation=st.sampled_from(ALL))
def test_the_error_is_at_most_half_a_scale(weight, quantisation):
    stored, again = there_and_back(quantisation, weight)
    scale = stored["w.scale"].double()
    assert (scale > 0).all()
    error = (weight.double() - again.double()).abs().flatten(1)
    # Beside the half, what float32 itself rounds in w / scale and in scale * q.
    rounding = 2**-23 * again.double().abs().flatten(1)
    assert (error <= scale[:, None] / 2 + rounding).all()
    assert ((again == 0) | (again.sign() == weight.sign())).all()


@given(weight=weights(), quantisation=st.sampled_from(ALL))
def test_quantising_again_changes_no_bit(weight, quantisation):
    stored, again = there_and_back(quantisation, weight)
    for name, value in quantisation.quantise({"w": again}).items():
        assert value.dtype == stored[name].dtype
        assert value.equal(stored[name])


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_every_kind_of_scale_is_found_again(bits):
    mantissas = torch.arange(2**23, 2**24, 61).float()[:, None]
    stored, again = there_and_back(Quantisation(bits), mantissas)
    assert Quantisation(bits).quantise({"w": again})["w.scale"].equal(stored["w.scale"])


@every
def test_multiples_of_the_scale_come_back_exactly(quantisation):
    top = quantisation.top
    integers = torch.tensor([[top, -top, 0, 1], [-top, top, 2, -1]])
    weight = integers * torch.tensor([[0.25], [0.25]])
    stored, again = there_and_back(quantisation, weight)
    assert again.equal(weight)
    assert (stored["w.scale"] == 0.25).all()


@every
def test_zeros_and_constants_come_back_exactly(quantisation):
    for value in (0.0, 1.0, -1.0):
        weight = torch.full((3, 5), value)
        assert there_and_back(quantisation, weight)[1].equal(weight)


@every
def test_what_is_stored(quantisation):
    weight = torch.randn(3, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    bias = torch.randn(3, generator=torch.Generator().manual_seed(1))
    stored = quantisation.quantise({"a.weight": weight, "a.bias": bias})
    assert set(stored) == {"a.weight", "a.weight.scale", "a.bias"}
    assert stored["a.bias"].equal(bias)
    assert stored["a.weight.scale"].shape == ((3,) if quantisation.per == "channel" else (1,))
    dtype, shape = {
        16: (torch.int16, (3, 5, 1, 1)),
        8: (torch.int8, (3, 5, 1, 1)),
        4: (torch.uint8, (8,)),  # 15 values and one to fill the last byte
    }[quantisation.bits]
    assert stored["a.weight"].dtype == dtype
    assert stored["a.weight"].shape == shape


def test_two_values_share_a_byte():
    stored, _ = there_and_back(Quantisation(4, "layer"), torch.tensor([[7.0, -7.0, 0.4]]))
    assert stored["w.scale"].tolist() == [1.0]
    assert stored["w"].tolist() == [0x1F, 0x88]  # 7 + 8 | -7 + 8 << 4; then 0 twice


def test_a_channel_keeps_what_a_loud_neighbour_would_drown():
    weight = torch.tensor([[100.0, -50.0], [0.01, 0.005]])
    layer = there_and_back(Quantisation(8, "layer"), weight)[1]
    channel = there_and_back(Quantisation(8, "channel"), weight)[1]
    assert layer[1].tolist() == [0, 0]
    torch.testing.assert_close(channel[1], weight[1], rtol=0.01, atol=0)


@pytest.mark.parametrize("wrong", [{"bits": 32}, {"bits": "8"}, {"bits": 8, "per": "row"}])
def test_other_choices_are_refused(wrong):
    with pytest.raises(ValueError, match="choose one of"):
        Quantisation(**wrong)

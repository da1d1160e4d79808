"""One contract for every architecture, and parity with the original's golden files."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import conv2d, interpolate, pad

from geoseg import MODELS, create_model
from geoseg.original.names import rename_weights
from tests.helpers.original_models import create_original

# name, arguments, parameters, receptive field (horizontal, vertical) as in the original's table
FULL = [
    ("vanilla", {}, 260_161, (11, 11)),
    ("stacked", {}, 1_904_135, (11, 21)),
    ("unet", {"width": 64}, 775_362, (27, 27)),
    ("ring_unet", {}, 560_617, (89, 92)),
    ("flexible_unet", {"encoders": (2, 1, 1), "decoders": (2, 1, 1)}, 576_721, (73, 73)),
    ("micro", {}, 1_645, (18, 18)),
]
SMALL = [
    ("vanilla", {"widths": (4, 6)}),
    ("vanilla", {"widths": (4,), "kernel_size": 5, "activation": "leaky_relu"}),
    ("stacked", {"width": 4}),
    ("stacked", {"width": 4, "layers": 6, "residual": True, "activation": "relu"}),
    ("stacked", {"width": 4, "layers": 2, "kernel_azimuth": 5, "kernel_depth": 3}),
    ("unet", {"width": 4}),
    ("unet", {"width": 3, "scales": 3, "kernel_down": 5, "kernel_up": 1, "activation": "relu"}),
    ("ring_unet", {"widths": (4, 6, 8)}),
    ("ring_unet", {"widths": (3,), "layers": 1, "activation": "relu"}),
    ("flexible_unet", {"width": 2}),
    ("flexible_unet", {"width": 2, "encoders": (1,), "decoders": (2,), "kernel_size": 5}),
    ("flexible_unet", {"width": 2, "bottleneck": 2, "refinement": 3, "activation": "relu"}),
    ("micro", {}),
    ("micro", {"width": 2, "kernel_size": 5, "activation": "leaky_relu"}),
]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "arguments", "parameters", "field"), FULL)
def test_parameters_and_receptive_field_of_full_sizes(name, arguments, parameters, field):
    model = create_model(name, **arguments)
    assert model.count_parameters() == parameters
    assert model.receptive_field() == field


def test_contract_covers_every_architecture():
    assert {cls.name for cls in MODELS} == {name for name, _ in SMALL} == {row[0] for row in FULL}


@pytest.mark.parametrize(("name", "arguments"), SMALL)
@pytest.mark.parametrize("channels", [(1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(36, 36), (35, 37), (7, 72), (130, 36), (3, 3)])
def test_architecture_keeps_the_contract(name, arguments, channels, size):
    before, after = channels
    model = create_model(name, in_channels=before, out_channels=after, **arguments)
    image = random(2, before, *size)
    logits = model(image)
    assert logits.shape == (2, after, *size)
    assert logits.dtype == torch.float32
    logits.square().mean().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    again = create_model(name, **model.arguments)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(image), logits)
    # The logits of a patch do not depend on the rest of its batch.
    assert torch.allclose(model(image[1:]), logits[1:], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments"), [row for row in SMALL if row[0] in ("stacked", "ring_unet")]
)
@pytest.mark.parametrize("columns", [36, 72, 71, 5, 1])
def test_ring_models_are_equivariant_to_shifts(name, arguments, columns):
    model = create_model(name, **arguments)
    image = random(1, model.arguments["in_channels"], 12, columns)
    logits = model(image)
    for shift in range(columns):
        rolled = model(image.roll(shift, -1))
        assert torch.allclose(rolled, logits.roll(shift, -1), atol=1e-5)


@pytest.mark.parametrize("arguments", [a for _, a in SMALL])
def test_model_stores_its_arguments(arguments):
    name = next(n for n, a in SMALL if a is arguments)
    model = create_model(name, **arguments)
    assert model.arguments.items() >= arguments.items()
    assert model.arguments["in_channels"] == (2 if name == "ring_unet" else 1)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet", {}, "choose one of vanilla, stacked, unet"),
        ("unet", {"depth": 3}, "its arguments are in_channels"),
        ("unet", {"kernel_down": 4}, "kernel size 4"),
        ("unet", {"scales": 0}, "scales is 0; give at least 1"),
        ("vanilla", {"activation": "tanh"}, "choose one of relu, leaky_relu"),
        ("vanilla", {"widths": (4, 0)}, r"widths is \(4, 0\)"),
        ("stacked", {"layers": 1}, "at least 2"),
        ("ring_unet", {"widths": ()}, r"widths is \(\)"),
        ("ring_unet", {"layers": 0}, "layers is 0"),
        ("stacked", {"layers": 5, "residual": True}, "use 6"),
        ("flexible_unet", {"encoders": (1, 1)}, "2 encoders and 3 decoders"),
        ("flexible_unet", {"decoders": (1, 0, 1)}, r"decoders is \(1, 0, 1\)"),
        ("flexible_unet", {"kernel_size": 2}, "kernel size 2"),
        ("micro", {"width": 0}, "width is 0"),
    ],
)
def test_wrong_arguments_raise_value_error(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        create_model(name, **arguments)


def test_receptive_field_does_not_depend_on_the_weights():
    model = create_model("vanilla", widths=(2, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-1.0)
    assert model.receptive_field() == (7, 7)


GOLDEN = ["vanilla", "stacked", "stacked_residual", "unet", "flexible_unet", "micro"]


@pytest.mark.parametrize("golden", GOLDEN)
def test_logits_equal_those_of_the_original(original, golden):
    with safe_open(original / f"{golden}.safetensors", "pt") as file:
        about = file.metadata()
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    model = create_original(about["original_class"], json.loads(about["arguments"]))
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if "weights." in k}
    model.load_state_dict(rename_weights(model, weights))
    difference = (model(tensors["input"]) - tensors["logits"]).abs().max().item()
    assert difference < 1e-5
    assert model.count_parameters() == int(about["parameters"])
    field = json.loads(about["receptive_field_horizontal_vertical"])
    assert model.receptive_field() == tuple(field)


@pytest.mark.parametrize("size", [(36, 36), (35, 72), (600, 4), (1, 1)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_flexible_unet_equals_the_plain_computation(size, kernel):
    """The plain one uses torch's operations on all three copies at every scale."""
    depths = {"encoders": (2, 1), "decoders": (1, 2), "kernel_size": kernel}
    model = create_model("flexible_unet", width=2, **depths).double()
    image = random(2, 1, *size).double()
    rows, columns = size

    def run(stage, x):
        for layer in stage:
            reach = layer.kernel_size[0] // 2
            x = pad(x, (reach,) * 4, mode="replicate") if reach else x
            x = layer.activation(conv2d(x, layer.weight, layer.bias))
        return x

    x, skips = pad(torch.cat([image] * 3, -1), (2,) * 4, mode="replicate"), []
    for encoder in model.encoders:
        skips.append(run(encoder, x))
        x = skips[-1][..., ::2, ::2]
    x = run(model.bottleneck, x)
    for skip, decoder in reversed(list(zip(skips, model.decoders, strict=True))):
        x = interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=True)
        x = run(decoder, torch.cat((x, skip), 1))
    expected = run(model.refinement, x)[..., 2 : 2 + rows, 2 + columns : 2 + 2 * columns]
    assert torch.allclose(model(image), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "joins"), [("flexible_unet", True), ("micro", False)])
def test_only_circular_models_join_the_seam(name, joins):
    model = create_model(name, width=2)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.1)  # every activation is active
    image = torch.ones(1, 1, 12, 36, requires_grad=True)
    model(image)[..., 6, 0].sum().backward()
    assert (image.grad[..., 1] != 0).any()
    assert (image.grad[..., 35] != 0).any() == joins


def test_initial_logits_are_neither_constant_nor_large():
    for name, arguments, _, _ in FULL:
        model = create_model(name, **arguments)
        spread = model(random(1, model.arguments["in_channels"], 36, 36)).std().item()
        assert 0 < spread < 1
        assert math.isfinite(spread)

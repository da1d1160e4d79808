"""Our convolutions and paddings have the values and gradients of torch's own."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate, pad

from geoseg.models import convolutions
from geoseg.models.convolutions import (
    Columns,
    convolve_to_few_channels,
    convolve_upsampled,
    pad_circular,
    pad_replicate,
    upsample,
)
from geoseg.models.stacked import RingConvolution

CLOSE = {torch.float32: 1e-5, torch.float64: 1e-12}
KERNELS = [(1, 1), (3, 3), (5, 5), (5, 1)]
MANY = 64  # channels, enough for the other order to take fewer operations
# Coarse and fine size: factor two, odd, one row or column, other factors, downsampling.
SIZES = [
    ((18, 18), (36, 36)),
    ((3, 5), (5, 9)),
    ((1, 4), (2, 7)),
    ((1, 1), (1, 1)),
    ((2, 3), (11, 4)),
    ((4, 1), (4, 6)),
    ((5, 7), (3, 1)),
]


def random(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_equal(quick, plain, *inputs, close=None):
    """Assert that both functions have the same values and gradients for the same inputs."""
    dtype = inputs[0].dtype
    answers, gradients = [], []
    for function in (quick, plain):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        answers.append(function(*leaves))
        gradients.append(
            torch.autograd.grad(answers[-1], leaves, random(*answers[-1].shape).to(dtype))
        )
    close = CLOSE[dtype] if close is None else close
    assert answers[0].shape == answers[1].shape
    for one, other in zip((answers[0], *gradients[0]), (answers[1], *gradients[1]), strict=True):
        assert one.dtype == dtype
        # Relative to the largest: a gradient by a weight sums over all pixels.
        assert (one - other).abs().max() <= close * other.abs().max().clamp(min=1)


def plain_upsampled(x, weight, size):
    fine = interpolate(x, size, mode="bilinear", align_corners=True)
    return conv2d(fine, weight, padding=(weight.shape[-2] // 2, weight.shape[-1] // 2))


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("channels", [2, MANY])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("coarse", "fine"), SIZES)
def test_convolve_upsampled_equals_torch(coarse, fine, kernel, channels, dtype):
    x = random(2, channels, *coarse, dtype=dtype)
    weight = random(4, channels, *kernel, seed=1, dtype=dtype)
    assert_equal(
        lambda x, w: convolve_upsampled(x, w, fine),
        lambda x, w: plain_upsampled(x, w, fine),
        *(x, weight),
    )


@pytest.mark.parametrize(
    ("coarse", "fine", "channels", "quick"),
    [
        ((18, 18), (36, 36), MANY, True),
        ((3, 5), (5, 9), MANY, True),
        ((18, 18), (36, 36), 2, False),
        ((2000, 18), (4000, 36), MANY, False),  # a whole log
        ((5, 7), (3, 1), MANY, False),
    ],
)
def test_convolve_upsampled_uses_matrices_where_they_take_fewer_operations(
    coarse, fine, channels, quick, monkeypatch
):
    calls = []

    def watch(*arguments):
        calls.append(arguments)
        return convolutions._make_upsampling_matrix(*arguments)

    monkeypatch.setattr(convolutions, "_upsampling_matrix", watch)
    convolve_upsampled(random(1, channels, *coarse), random(1, channels, 3, 3), fine)
    assert bool(calls) == quick


def few(kernel, channels, bias, dtype):
    padding = (kernel[0] // 2, kernel[1] // 2)
    layer = nn.Conv2d(4, channels, kernel, padding=padding, bias=bias, dtype=dtype)
    for number, p in enumerate(layer.parameters()):
        p.data = random(*p.shape, seed=number, dtype=dtype)
    return layer


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(12, 36), (7, 5), (1, 1)])
@pytest.mark.parametrize(("channels", "bias"), [(1, True), (3, False)])
def test_convolve_to_few_channels_equals_torch(size, kernel, channels, bias, dtype):
    layer = few(kernel, channels, bias, dtype)

    def quick(x, *parameters):
        named = zip(dict(layer.named_parameters()), parameters, strict=True)
        return torch.func.functional_call(Few(layer), {f"layer.{k}": v for k, v in named}, x)

    def plain(x, weight, bias=None):
        return conv2d(x, weight, bias, padding=layer.padding)

    assert_equal(quick, plain, random(2, 4, *size, dtype=dtype), *layer.parameters())


class Few(nn.Module):
    """`convolve_to_few_channels` as a module, so that `functional_call` can set its weights."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return convolve_to_few_channels(x, self.layer)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 6, 36])
def test_circular_padding_equals_torch(width):
    for columns in range(min(width, 5) + 1):  # at most once round

        def quick(x, columns=columns):
            return pad_circular(x, columns)

        def plain(x, columns=columns):
            return pad(x, (columns, columns, 0, 0), mode="circular")

        assert_equal(quick, plain, random(2, 3, 4, width, dtype=torch.float64))


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
@pytest.mark.parametrize("height", [1, 2, 3, 36])
def test_row_padding_equals_torch(height, rows):
    assert_equal(
        lambda x: pad_replicate(x, rows),
        lambda x: pad(x, (0, 0, rows, rows), mode="replicate"),
        random(2, 3, height, 4, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x, w: convolve_upsampled(x, w, (3, 5)), [(1, 9, 2, 3), (1, 9, 3, 3)]),
        (lambda x, w: convolve_upsampled(x, w, (1, 2)), [(1, 9, 1, 1), (2, 9, 3, 1)]),
        (lambda x: pad_circular(x, 2), [(1, 1, 2, 5)]),
        (lambda x: pad_replicate(x, 2), [(1, 1, 3, 2)]),
        (
            lambda x: convolve_to_few_channels(x, few((3, 3), 1, True, torch.float64)),
            [(1, 4, 2, 3)],
        ),
    ],
)
def test_gradients_equal_finite_differences(function, shapes):
    inputs = [
        random(*shape, seed=seed, dtype=torch.float64).requires_grad_()
        for seed, shape in enumerate(shapes)
    ]
    assert torch.autograd.gradcheck(function, inputs)


def ring(channels, kernels, dtype=torch.float64):
    layer = RingConvolution(*channels, *kernels).to(dtype)
    for number, p in enumerate(layer.parameters()):
        p.data = random(*p.shape, seed=number, dtype=dtype)
    return layer


def run_ring(layer, image, merges):
    """Return the output, and the gradients with respect to the image and every weight."""
    layer.is_merged = merges
    image = image.clone().requires_grad_()
    y = layer(image)
    return y, *torch.autograd.grad(y.square().sum(), (image, *layer.parameters()))


def plain_ring(layer, image):
    image = image.clone().requires_grad_()
    y = conv2d(
        pad(image, (layer.columns, layer.columns, 0, 0), mode="circular"),
        layer.azimuth.weight,
        layer.azimuth.bias,
    )
    y = pad(y, (0, 0, layer.rows, layer.rows), mode="replicate")
    y = conv2d(y, layer.depth.weight, layer.depth.bias)
    return y, *torch.autograd.grad(y.square().sum(), (image, *layer.parameters()))


@pytest.mark.parametrize("channels", [(1, 4), (4, 4), (4, 1), (2, 3)])
@pytest.mark.parametrize("kernels", [(3, 5), (5, 3), (1, 3), (1, 1)])
@pytest.mark.parametrize("size", [(12, 36), (1, 2)])
def test_merged_and_separate_ring_convolution_are_equal(channels, kernels, size):
    layer = ring(channels, kernels)
    image = random(2, channels[0], *size, seed=9, dtype=torch.float64)
    expected = plain_ring(layer, image)
    for merges in (False, True):
        found = run_ring(layer, image, merges)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-11, atol=1e-11)


def test_ring_convolution_is_merged_where_that_takes_fewer_operations():
    assert RingConvolution(1, 64, 3, 5).is_merged
    assert not RingConvolution(64, 64, 3, 5).is_merged
    assert RingConvolution(64, 64, 1, 1).is_merged


def in_layout(layout):
    """Return the outputs of all functions for inputs and weights in a memory layout."""
    x = random(2, 4, 5, 6).to(memory_format=layout)
    layer = few((3, 3), 2, True, torch.float32)
    circular = ring((4, 4), (3, 5), torch.float32)
    nn.utils.convert_conv2d_weight_memory_format(layer, layout)
    nn.utils.convert_conv2d_weight_memory_format(circular, layout)
    wide = random(2, MANY, 5, 6).to(memory_format=layout)
    weight = random(3, MANY, 3, 3, seed=1).to(memory_format=layout)
    return [
        convolve_upsampled(wide, weight, (9, 12)),
        convolve_upsampled(x, weight[:, :4], (9, 12)),
        convolve_to_few_channels(x, layer),
        pad_circular(x, 2),
        pad_replicate(x, 2),
        *(run_ring(circular, x, merges)[0] for merges in (False, True)),
    ]


def test_channels_last_layout_gives_equal_outputs():
    for last, plain in zip(
        in_layout(torch.channels_last), in_layout(torch.contiguous_format), strict=True
    ):
        assert torch.allclose(last, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_cached_matrix_of_inference_works_in_training(mode):
    convolutions._cached_upsampling_matrix.cache_clear()
    x, weight = random(2, MANY, 4, 4), random(2, MANY, 3, 3, seed=1)
    with mode():
        first = convolve_upsampled(x, weight, (8, 8))
    assert_equal(
        lambda x, w: convolve_upsampled(x, w, (8, 8)),
        lambda x, w: plain_upsampled(x, w, (8, 8)),
        *(x, weight),
    )
    assert convolutions._cached_upsampling_matrix.cache_info().hits
    assert torch.equal(first, convolve_upsampled(x, weight, (8, 8)))


def test_cached_matrix_is_kept_per_dtype():
    convolutions._cached_upsampling_matrix.cache_clear()
    x, weight = (random(1, MANY, 3, 3, seed=seed, dtype=torch.float64) for seed in (0, 1))
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        y = convolve_upsampled(x.to(dtype), weight.to(dtype), (6, 6))
        assert y.dtype == dtype
    assert torch.allclose(y, plain_upsampled(x, weight, (6, 6)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("coarse", "fine"), [*SIZES, ((3, 5), (600, 9)), ((3, 301), (4, 601))])
@pytest.mark.parametrize("first", [0, 0.4])
def test_upsample_computes_only_the_wanted_columns(coarse, fine, first, dtype):
    """From only those columns of the coarse image that `Columns.to_coarse` returns."""
    x = random(2, 3, *coarse, dtype=dtype)
    after = Columns(int(first * fine[1]), max(1, int(0.8 * fine[1])), fine[1])
    before = after.to_coarse(coarse[1])
    assert_equal(
        lambda x: upsample(x[..., before.span], fine[0], before, after),
        lambda x: interpolate(x, fine, mode="bilinear", align_corners=True)[..., after.span],
        x,
    )


@pytest.mark.parametrize("size", [(2, 70_000), (70_000, 2)])
def test_long_image_is_upsampled_without_a_matrix(size, monkeypatch):
    monkeypatch.setattr("geoseg.models.convolutions._upsampling_matrix", None)
    whole = Columns(0, size[1], size[1])
    x = random(1, 1, *(side // 2 for side in size), dtype=torch.float64)
    y = upsample(x, size[0], whole.to_coarse(size[1] // 2), whole)
    assert torch.allclose(y, interpolate(x, size, mode="bilinear", align_corners=True))


def test_columns_are_clipped_to_the_image():
    assert Columns(3, 6, 20).widen(2) == Columns(1, 8, 20)
    assert Columns(3, 6, 7).widen(5) == Columns(0, 7, 7)
    assert Columns(0, 20, 20).to_coarse(10) == Columns(0, 10, 10)
    assert Columns(19, 20, 20).to_coarse(10) == Columns(9, 10, 10)
    assert Columns(0, 1, 1).to_coarse(4) == Columns(0, 1, 4)


@pytest.mark.parametrize("size", [(5, 6), (1, 6), (5, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_edge_padding_equals_torch(size, pixels):
    x = random(2, 3, *size, dtype=torch.float64)
    assert_equal(
        lambda x: pad_replicate(x, pixels, pixels),
        lambda x: pad(x, (pixels,) * 4, mode="replicate"),
        x,
    )

"""Separable convolutions, circular in azimuth."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from geoseg.models.base import Model, make_activation, same_padding
from geoseg.models.convolutions import pad_circular, pad_replicate


class RingConvolution(nn.Module):
    """A circular convolution in azimuth, then one in depth with replicate padding.

    There is no activation in between, so both equal one convolution with the product of their
    kernels, which is used if it takes fewer operations, as from a single channel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_azimuth: int, kernel_depth: int
    ) -> None:
        super().__init__()
        self.azimuth = nn.Conv2d(in_channels, out_channels, (1, kernel_azimuth))
        self.depth = nn.Conv2d(out_channels, out_channels, (kernel_depth, 1))
        self.columns, self.rows = same_padding(kernel_azimuth), same_padding(kernel_depth)
        separate = out_channels * (in_channels * kernel_azimuth + out_channels * kernel_depth)
        merged = out_channels * in_channels * kernel_azimuth * kernel_depth
        self.is_merged = merged < separate

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> (B, out_channels, Z, A)."""
        azimuth, depth = self.azimuth, self.depth
        x = pad_circular(x, self.columns)
        if self.is_merged:
            assert azimuth.bias is not None
            kernel = torch.einsum("omz,mca->ocza", depth.weight[..., 0], azimuth.weight[:, :, 0])
            bias = linear(azimuth.bias, depth.weight.sum((2, 3)), depth.bias)
            return conv2d(pad_replicate(x, self.rows), kernel, bias)
        return depth(pad_replicate(azimuth(x), self.rows))


class Stacked(Model):
    """A stack of ring convolutions at full resolution: exactly equivariant to shifts.

    A shift of the input shifts the logits by the same. Any height and width.

    Args:
        width: channels of every hidden layer.
        layers: number of ring convolutions, including the first and the last; at least 2.
        kernel_azimuth, kernel_depth: odd kernel extents, in pixels.
        activation: "relu" or "leaky_relu".
        residual: add the input of every pair of hidden layers to its output; `layers` is then even.
    """

    name = "stacked"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 256,
        layers: int = 5,
        kernel_azimuth: int = 3,
        kernel_depth: int = 5,
        activation: str = "leaky_relu",
        residual: bool = False,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers is {layers}; the first and the last make at least 2")
        if residual and layers % 2:
            raise ValueError(f"{layers} layers leave one hidden layer unpaired; use {layers + 1}")
        self.residual = residual
        channels = [in_channels] + [width] * (layers - 1) + [out_channels]
        self.layers = nn.ModuleList(
            RingConvolution(before, after, kernel_azimuth, kernel_depth)
            for before, after in pairwise(channels)
        )
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        first, *hidden, last = self.layers
        x = self.activation(first(x))
        step = 2 if self.residual else 1
        for i in range(0, len(hidden), step):
            y = hidden[i](x)
            if self.residual:
                y = x + hidden[i + 1](self.activation(y))
            x = self.activation(y)
        return last(x)

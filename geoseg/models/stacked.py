"""Separable convolutions that know the pipe is round."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from geoseg.models.base import Model, activation_named, check_positive, same_padding


class RingConvolution(nn.Sequential):
    """A convolution round the pipe, circular, then one along it, with its edge rows repeated."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_azimuth: int, kernel_depth: int
    ) -> None:
        super().__init__()
        self.azimuth = nn.Conv2d(
            in_channels,
            out_channels,
            (1, kernel_azimuth),
            padding=(0, same_padding(kernel_azimuth)),
            padding_mode="circular",
        )
        self.depth = nn.Conv2d(
            out_channels,
            out_channels,
            (kernel_depth, 1),
            padding=(same_padding(kernel_depth), 0),
            padding_mode="replicate",
        )


class Stacked(Model):
    """A stack of ring convolutions at full resolution: exactly equivariant to azimuth.

    Rolling the input by any number of columns rolls the logits by the same. Any height; any width
    of at least half of `kernel_azimuth`.

    Args:
        width: channels of every hidden layer.
        layers: ring convolutions in all, the first and the last included; at least 2.
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
        check_positive(in_channels=in_channels, out_channels=out_channels, width=width)
        if layers < 2:
            raise ValueError(f"layers is {layers}; the first and the last make at least 2")
        if residual and layers % 2:
            raise ValueError(f"{layers} layers leave one hidden layer unpaired; take {layers + 1}")
        self.residual = residual
        self.narrowest = same_padding(kernel_azimuth)
        channels = [in_channels] + [width] * (layers - 1) + [out_channels]
        self.layers = nn.ModuleList(
            RingConvolution(before, after, kernel_azimuth, kernel_depth)
            for before, after in pairwise(channels)
        )
        self.activation = activation_named(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A); ValueError for a small A."""
        if x.shape[-1] < self.narrowest:
            raise ValueError(
                f"width {x.shape[-1]} is less than half of kernel_azimuth; "
                f"it must be at least {self.narrowest}"
            )
        first, *hidden, last = self.layers
        x = self.activation(first(x))
        step = 2 if self.residual else 1
        for i in range(0, len(hidden), step):
            y = hidden[i](x)
            if self.residual:
                y = x + hidden[i + 1](self.activation(y))
            x = self.activation(y)
        return last(x)

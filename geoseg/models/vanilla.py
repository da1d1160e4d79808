"""A plain stack of convolutions: the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from geoseg.models.base import Model, make_activation, same_padding
from geoseg.models.convolutions import convolve_to_few_channels


class Vanilla(Model):
    """Square convolutions with zero padding, one activation after each but the last.

    Any height and width. It does not join the seam: column 0 does not see column 35.

    Args:
        widths: channels after each hidden convolution; the last convolution is not included.
        kernel_size: odd side of every kernel, in pixels.
        activation: "relu" or "leaky_relu".
    """

    name = "vanilla"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        widths: Sequence[int] = (64, 64, 128, 128),
        kernel_size: int = 3,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        channels = [in_channels, *widths, out_channels]
        padding = same_padding(kernel_size)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size, padding=padding)
            for before, after in pairwise(channels)
        )
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        *hidden, last = self.convolutions
        for convolution in hidden:
            x = self.activation(convolution(x))
        assert isinstance(last, nn.Conv2d)
        return convolve_to_few_channels(x, last)

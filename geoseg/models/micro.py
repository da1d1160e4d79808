"""A U-Net of one scale with few parameters."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from geoseg.models.base import Model, make_activation, same_padding


class Micro(Model):
    """Two convolutions, max pooling, two at half the size, a transposed convolution.

    The output of the first two is concatenated, then two more and a 1x1 convolution follow; zero
    padding throughout. Any height and width: the last row or column of an odd one is pooled alone.

    Args:
        width: channels at full size; half the size has twice as many.
        kernel_size: odd side of the kernels, in pixels.
        activation: "relu" or "leaky_relu".
    """

    name = "micro"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 4,
        kernel_size: int = 3,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        activate, padding = make_activation(activation), same_padding(kernel_size)

        def make_pair(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(before, after, kernel_size, padding=padding),
                activate,
                nn.Conv2d(after, after, kernel_size, padding=padding),
                activate,
            )

        self.down = make_pair(in_channels, width)
        self.pool: nn.Module = nn.MaxPool2d(2, ceil_mode=True)
        self.bottom = make_pair(width, 2 * width)
        self.rise = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.up = make_pair(2 * width, width)
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        rows, columns = image.shape[-2:]
        skip = self.down(image)
        x = self.rise(self.bottom(self.pool(skip)))
        return self.head(self.up(torch.cat((skip, x[..., :rows, :columns]), 1)))

    def receptive_field(self) -> tuple[int, int]:
        """Return the extent as `Model` does, with mean pooling.

        The gradient of a maximum reaches only one of several equal inputs.
        """
        model = copy.deepcopy(self)
        model.pool = nn.AvgPool2d(2, ceil_mode=True)
        return super(Micro, model).receptive_field()

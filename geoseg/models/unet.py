"""A U-Net with one convolution per stage."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import conv2d

from geoseg.models.base import Model, make_activation, same_padding
from geoseg.models.convolutions import convolve_upsampled


class UNet(Model):
    """Encoder and decoder with skips; the input itself is a skip to the last 1x1 convolution.

    Downsampling keeps one sample of four; upsampling is bilinear with aligned corners, to the size
    of the skip. Any height and width: an odd one is rounded up by downsampling.

    Args:
        width: channels of the first scale; scale i has (i + 1) * width.
        scales: number of times the image is halved.
        kernel_down, kernel_up: odd kernel sides of the encoder with bottleneck, and of the decoder.
        activation: "relu" or "leaky_relu".
    """

    name = "unet"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 24,
        scales: int = 2,
        kernel_down: int = 3,
        kernel_up: int = 3,
        activation: str = "leaky_relu",
    ) -> None:
        super().__init__()
        widths = [width * (i + 1) for i in range(scales + 1)]
        down, up = same_padding(kernel_down), same_padding(kernel_up)
        self.encoders = nn.ModuleList(
            nn.Conv2d(before, after, kernel_down, padding=down)
            for before, after in pairwise((in_channels, *widths[:-1]))
        )
        self.bottleneck = nn.Conv2d(widths[-2], widths[-1], kernel_down, padding=down)
        self.decoders = nn.ModuleList(
            nn.Conv2d(fine + coarse, fine, kernel_up, padding=up)
            for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv2d(width + in_channels, out_channels, 1)
        self.activation = make_activation(activation)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        x = image
        skips = []
        for encoder in self.encoders:
            x = self.activation(encoder(x))
            skips.append(x)
            x = x[..., ::2, ::2]
        x = self.activation(self.bottleneck(x))
        for skip, decoder in zip(reversed(skips), reversed(self.decoders), strict=True):
            assert isinstance(decoder, nn.Conv2d)
            # The sum of two convolutions equals one of the concatenated channels.
            coarse, fine = decoder.weight.split((x.shape[1], skip.shape[1]), 1)
            y = conv2d(skip, fine, decoder.bias, padding=decoder.padding)
            x = self.activation(y + convolve_upsampled(x, coarse, skip.shape[-2:]))
        from_x, from_image = self.head.weight.split((x.shape[1], image.shape[1]), 1)
        return conv2d(x, from_x, self.head.bias) + conv2d(image, from_image)

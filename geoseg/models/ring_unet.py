"""A U-Net that is exactly equivariant to azimuth: it pools in depth only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from geoseg.models.base import Model, activation_named, check_positive
from geoseg.models.convolutions import pad_ring, pad_rows

WIDEST = 1 << 20  # columns, more than any image has
COLUMNS = 36  # of an image whose neighbouring columns are what one step of a kernel's reach means


class RingLayer(nn.Conv2d):
    """A 3x3 convolution, circular and dilated round the pipe, with its edge rows repeated.

    Args:
        reach: steps of 10 degrees between the kernel's taps.
    """

    def __init__(self, in_channels: int, out_channels: int, reach: int) -> None:
        super().__init__(in_channels, out_channels, 3)
        self.reach = reach
        self.ring = COLUMNS

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> (B, out_channels, Z, A)."""
        columns = self.reach * max(1, round(x.shape[-1] / self.ring))
        return conv2d(
            pad_rows(pad_ring(x, columns), 1), self.weight, self.bias, dilation=(1, columns)
        )


class RingUNet(Model):
    """Encoder and decoder joined by sums, at full azimuth resolution throughout.

    Rolling the input by any number of columns rolls the logits by the same: every convolution is
    circular with stride 1 in azimuth, and widens its reach by dilation instead of by pooling. In
    depth a scale averages pairs of rows, so any height will do; the edge rows are repeated. An
    image of about 72 columns is seen as its even and its odd columns in turn, as the data set cuts
    it: 10 degrees are the same to the model in both.

    Args:
        in_channels: 2 with the validity of each pixel, which the model is made for, or 1 without.
        widths: channels of each scale, the finest first; the scales' dilations are 1, 2, 4, ...
        layers: convolutions of a scale on the way down, and again on the way up.
        activation: "relu" or "leaky_relu".
    """

    name = "ring_unet"

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 1,
        widths: Sequence[int] = (24, 48, 96, 96),
        layers: int = 2,
        activation: str = "leaky_relu",
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, out_channels=out_channels, layers=layers)
        check_positive(scales=len(widths), width=min(widths, default=1))
        befores = (in_channels, *widths[:-1])
        self.encoders = nn.ModuleList(
            self._stage(before, width, 2**i, layers)
            for i, (before, width) in enumerate(zip(befores, widths, strict=True))
        )
        self.decoders = nn.ModuleList(
            self._stage(width, width, 2**i, layers) for i, width in enumerate(widths[:-1])
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        self.activation = activation_named(activation)

    @staticmethod
    def _stage(before: int, width: int, reach: int, layers: int) -> nn.ModuleList:
        channels = [before] + [width] * layers
        return nn.ModuleList(RingLayer(a, b, reach) for a, b in pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        skips: list[Tensor] = []
        for encoder in self.encoders:
            if skips:
                x = avg_pool2d(x, (2, 1), ceil_mode=True, count_include_pad=False)
            x = self._run(encoder, x)
            skips.append(x)
        steps = zip(self.narrow, self.decoders, skips[:-1], strict=True)
        for narrow, decoder, skip in reversed(list(steps)):
            rows = narrow(x).repeat_interleave(2, -2)[..., : skip.shape[-2], :]
            x = self._run(decoder, skip + rows)
        return self.head(x)

    def receptive_field(self) -> tuple[int, int]:
        """As for every model, in columns of 10 degrees; the pipe itself has 36."""
        probe = copy.deepcopy(self)
        for layer in probe.modules():
            if isinstance(layer, RingLayer):
                layer.ring = WIDEST  # else a kernel would reach further on a wider image
        return super(RingUNet, probe).receptive_field()

    def _run(self, stage: nn.Module, x: Tensor) -> Tensor:
        for layer in stage.children():
            x = self.activation(layer(x))
        return x

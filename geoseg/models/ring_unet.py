"""A U-Net that is exactly equivariant to shifts: it pools in depth only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from geoseg.models.base import Model, make_activation
from geoseg.models.convolutions import pad_circular, pad_replicate

COLUMNS = 36  # of an image in which one step of dilation is one column
_MANY_COLUMNS = 1 << 20  # more than any image has


class RingLayer(nn.Conv2d):
    """A 3x3 convolution, circular and dilated in azimuth, with replicate padding in depth.

    The taps of the kernel are `step` * 10 degrees of azimuth apart. An activation follows.
    """

    def __init__(
        self, in_channels: int, out_channels: int, step: int, activation: nn.Module
    ) -> None:
        super().__init__(in_channels, out_channels, 3)
        self.step, self.activation = step, activation
        self.reference_columns = COLUMNS

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> (B, out_channels, Z, A)."""
        dilation = self.step * max(1, round(x.shape[-1] / self.reference_columns))
        padded = pad_replicate(pad_circular(x, dilation), 1)
        y = conv2d(padded, self.weight, self.bias, dilation=(1, dilation))
        return self.activation(y)


class RingUNet(Model):
    """Encoder and decoder with additive skips, at full azimuth resolution throughout.

    A shift of the input shifts the logits by the same: every convolution is circular with stride 1
    in azimuth, and dilation instead of pooling widens the receptive field. In depth, each scale
    averages pairs of rows, so any height will do; padding repeats the edge rows. In an image of
    about 72 columns the dilation doubles, so 10 degrees are the same to the model, and the even and
    the odd columns are processed apart, as in the twins of the data set.

    Args:
        in_channels: 2 with the validity of each pixel, as intended, or 1 without.
        widths: channels of each scale, the finest first; the scales' dilations are 1, 2, 4, ...
        layers: convolutions of each encoder stage and of each decoder stage.
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
        activate = make_activation(activation)

        def make_stage(before: int, width: int, step: int) -> nn.Sequential:
            pairs = pairwise([before] + [width] * layers)
            return nn.Sequential(*(RingLayer(*pair, step, activate) for pair in pairs))

        self.encoders = nn.ModuleList(
            make_stage(before, width, 2**i)
            for i, (before, width) in enumerate(pairwise((in_channels, *widths)))
        )
        self.decoders = nn.ModuleList(
            make_stage(width, width, 2**i) for i, width in enumerate(widths[:-1])
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        skips: list[Tensor] = []
        for encoder in self.encoders:
            if skips:
                x = avg_pool2d(x, (2, 1), ceil_mode=True, count_include_pad=False)
            x = encoder(x)
            skips.append(x)
        stages = zip(self.narrow, self.decoders, skips[:-1], strict=True)
        for narrow, decoder, skip in reversed(list(stages)):
            upsampled = narrow(x).repeat_interleave(2, -2)[..., : skip.shape[-2], :]
            x = decoder(skip + upsampled)
        return self.head(x)

    def receptive_field(self) -> tuple[int, int]:
        """Return the extent as `Model` does, in columns of 10 degrees; the pipe itself has 36."""
        model = copy.deepcopy(self)
        for layer in model.modules():
            if isinstance(layer, RingLayer):
                layer.reference_columns = _MANY_COLUMNS  # so that a wide image changes no dilation
        return super(RingUNet, model).receptive_field()

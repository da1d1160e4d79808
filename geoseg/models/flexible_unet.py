"""A U-Net with any number of convolutions per stage, on the image repeated three times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from geoseg.models.base import Model, make_activation, same_padding
from geoseg.models.convolutions import Columns, pad_replicate, upsample


class EdgeConvolution(nn.Conv2d):
    """A square convolution with replicate padding, and an activation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, activation: nn.Module
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> (B, out_channels, Z, A)."""
        padding = self.kernel_size[0] // 2
        output: Tensor = self.activation(super().forward(pad_replicate(input, padding, padding)))
        return output


class FlexibleUNet(Model):
    """Encoder and decoder with skips, over the image repeated three times; the middle is kept.

    So the seam is not an edge: a column sees its neighbours across it. Downsampling keeps one
    sample of four; upsampling is bilinear with aligned corners, to the size of the skip. Any height
    and width: an odd one is rounded up by downsampling. Nearly, but not exactly, equivariant to
    shifts.

    Args:
        width: channels of the first scale; each coarser scale has twice as many.
        encoders: convolutions of every encoder stage, from fine to coarse.
        decoders: convolutions of every decoder stage, from coarse to fine; as many stages.
        bottleneck: convolutions at the coarsest scale.
        refinement: 1x1 convolutions at the end, including the one to the logits.
        kernel_size: odd side of all other kernels, in pixels.
        activation: "relu" or "leaky_relu".
    """

    name = "flexible_unet"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 16,
        encoders: Sequence[int] = (4, 2, 1),
        decoders: Sequence[int] = (1, 2, 4),
        bottleneck: int = 1,
        refinement: int = 1,
        kernel_size: int = 3,
        activation: str = "leaky_relu",
    ) -> None:
        super().__init__()
        self._copies, self._border = 3, 2  # of the image, and pixels of padding
        if len(encoders) != len(decoders):
            raise ValueError(
                f"{len(encoders)} encoders and {len(decoders)} decoders do not pair; "
                "give as many of one as of the other"
            )
        padding = same_padding(kernel_size)
        self._reach = [depth * padding for depth in reversed(decoders)]  # in pixels, by scale
        widths = [width << i for i in range(len(encoders) + 1)]
        activate = make_activation(activation)

        def make_stage(channels: Sequence[int]) -> nn.Sequential:
            pairs = pairwise(channels)
            return nn.Sequential(*(EdgeConvolution(*pair, kernel_size, activate) for pair in pairs))

        self.encoders = nn.ModuleList(
            make_stage([before] + [after] * depth)
            for (before, after), depth in zip(
                pairwise((in_channels, *widths[:-1])), encoders, strict=True
            )
        )
        self.bottleneck = make_stage([widths[-2]] + [widths[-1]] * bottleneck)
        # In the order of the encoders: the first is the last to run.
        self.decoders = nn.ModuleList(
            make_stage([fine + coarse] * depth + [fine])
            for (fine, coarse), depth in zip(pairwise(widths), reversed(decoders), strict=True)
        )
        self.refinement = nn.Sequential(
            *(EdgeConvolution(width, width, 1, activate) for _ in range(refinement - 1)),
            EdgeConvolution(width, out_channels, 1, nn.Identity()),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        rows, columns = image.shape[-2:]
        border, first = self._border, self._border + self._copies // 2 * columns
        x = pad_replicate(image.repeat(1, 1, 1, self._copies), border, border)
        skips = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = x[..., ::2, ::2]
        x = self.bottleneck(x)
        # The columns of each scale on which the kept ones depend, plus the decoders' reach, so that
        # edges that come from cutting do not affect the kept ones.
        before, needed = Columns(first, first + columns, skips[0].shape[-1]), []
        for reach, coarse in zip(self._reach, (*skips[1:], x), strict=True):
            needed.append(before.widen(reach))
            before = needed[-1].to_coarse(coarse.shape[-1])
        x = x[..., before.span]
        for skip, decoder, after in reversed(list(zip(skips, self.decoders, needed, strict=True))):
            x = upsample(x, skip.shape[-2], before, after)
            x = decoder(torch.cat((x, skip[..., after.span]), 1))
            before = after
        first -= before.first
        return self.refinement(x[..., border : border + rows, first : first + columns])

    def receptive_field(self) -> tuple[int, int]:
        """Return the extent as `Model` does, for one copy without a border, as in the original.

        It varies by some pixels with an output's position among the samples of coarser scales. It
        does not depend on the width, so it is computed on the narrowest model.
        """
        model = type(self)(**{**self.arguments, "width": 1})
        model._copies, model._border = 1, 0
        return super(FlexibleUNet, model).receptive_field()

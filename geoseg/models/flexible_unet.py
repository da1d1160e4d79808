"""A U-Net with as many convolutions a stage as asked, on three turns of the pipe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from geoseg.models.base import Model, activation_named, check_positive, same_padding
from geoseg.models.convolutions import Columns, pad_edges, upsample


class EdgeConvolution(nn.Conv2d):
    """A square convolution of an image whose edge pixels are repeated, and an activation."""

    def __init__(self, before: int, after: int, kernel_size: int, activation: nn.Module) -> None:
        super().__init__(before, after, kernel_size)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """(B, before, Z, A) -> (B, after, Z, A)."""
        answer: Tensor = self.activation(super().forward(pad_edges(input, self.reach)))
        return answer

    @property
    def reach(self) -> int:
        """How many pixels away an output still sees its input."""
        return self.kernel_size[0] // 2


class FlexibleUNet(Model):
    """Encoder and decoder joined by skips, over a pipe unrolled three times; the middle is kept.

    So the seam is no edge, and within the receptive field's reach a column sees what is beside it.
    Going down keeps one sample of four; going up is bilinear with aligned corners, to the size of
    the skip. So any height and width will do: an odd one is rounded up on the way down. Near, but
    not exactly, equivariant to azimuth.

    Args:
        width: channels of the first scale; each scale below has twice those of the one above it.
        encoders: convolutions of every stage on the way down, from fine to coarse.
        decoders: of every stage on the way up, from coarse to fine; as many stages as encoders.
        bottleneck: convolutions at the coarsest scale.
        refinement: 1x1 convolutions at the end, the one to the logits included.
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
        self._turns, self._border = 3, 2  # of the pipe, and pixels repeated round them
        check_positive(
            in_channels=in_channels,
            out_channels=out_channels,
            width=width,
            encoders=len(encoders),
            bottleneck=bottleneck,
            refinement=refinement,
            **{f"encoder {i}": depth for i, depth in enumerate(encoders)},
            **{f"decoder {i}": depth for i, depth in enumerate(decoders)},
        )
        if len(encoders) != len(decoders):
            raise ValueError(
                f"{len(encoders)} encoders and {len(decoders)} decoders do not pair; "
                "give as many of one as of the other"
            )
        margin = same_padding(kernel_size)
        self._reach = [depth * margin for depth in reversed(decoders)]
        widths = [width << i for i in range(len(encoders) + 1)]
        activate = activation_named(activation)

        def stage(channels: Sequence[int]) -> nn.Sequential:
            pairs = pairwise(channels)
            return nn.Sequential(*(EdgeConvolution(*pair, kernel_size, activate) for pair in pairs))

        self.encoders = nn.ModuleList(
            stage([before] + [after] * depth)
            for before, after, depth in zip(
                [in_channels, *widths[:-2]], widths[:-1], encoders, strict=True
            )
        )
        self.bottleneck = stage([widths[-2]] + [widths[-1]] * bottleneck)
        # By scale, as the encoders are: the first is the last to run.
        self.decoders = nn.ModuleList(
            stage([fine + coarse] * depth + [fine])
            for (fine, coarse), depth in zip(pairwise(widths), reversed(decoders), strict=True)
        )
        self.refinement = nn.Sequential(
            *(EdgeConvolution(width, width, 1, activate) for _ in range(refinement - 1)),
            EdgeConvolution(width, out_channels, 1, nn.Identity()),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, Z, A) -> logits (B, out_channels, Z, A)."""
        rows, columns = image.shape[-2:]
        border, first = self._border, self._border + self._turns // 2 * columns
        x = pad_edges(image.repeat(1, 1, 1, self._turns), border)
        skips = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = x[..., ::2, ::2]
        x = self.bottleneck(x)
        kept = Columns(first, first + columns, skips[0].shape[-1])
        needed = self._needed(kept, [skip.shape[-1] for skip in skips], x.shape[-1])
        before = needed.pop()
        x = x[..., before.span]
        for skip, decoder, after in reversed(list(zip(skips, self.decoders, needed, strict=True))):
            x = upsample(x, skip.shape[-2], before, after)
            x = decoder(torch.cat((x, skip[..., after.span]), 1))
            before = after
        first -= before.first
        return self.refinement(x[..., border : border + rows, first : first + columns])

    def _needed(self, kept: Columns, totals: Sequence[int], coarsest: int) -> list[Columns]:
        """The columns of each scale, from fine to coarse, on which the kept ones depend.

        Whatever a decoder makes of an edge that is none in the whole image, stays out of `kept`.
        """
        needed = []
        for reach, total in zip(self._reach, (*totals[1:], coarsest), strict=True):
            needed.append(kept.widened(reach))
            kept = needed[-1].coarse(total)
        return [*needed, kept]

    def receptive_field(self) -> tuple[int, int]:
        """As for every model, of one turn without a border, as the original measures it.

        It varies by some pixels with the place of an output among the samples of coarser scales.
        The width changes nothing, so it is found on the thinnest model.
        """
        probe = type(self)(**{**self.arguments, "width": 1})
        probe._turns, probe._border = 1, 0
        return super(FlexibleUNet, probe).receptive_field()

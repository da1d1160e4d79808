"""Quantisation of weights: symmetric integers, and one float32 scale for each channel.

Only weights of two axes or more are quantised; biases stay float32. A quantised weight takes two
tensors of the file: its integers under its own name, and NAME.scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Bits = Literal[16, 8, 4]
_DTYPES = {16: torch.int16, 8: torch.int8, 4: torch.uint8}
_SCALE = ".scale"
# The smallest scale, also that of a channel of zeros: below it, float32 loses digits.
_MIN_SCALE = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Quantisation:
    """How a file stores its weights: w is near scale * q, where q is an integer of `bits` bits.

    `bits` is 16, 8 or 4; two integers of 4 bits share a byte. q is from -`max_integer` to
    `max_integer`: symmetric, so that 0 stays 0 and the lowest integer is never used. A channel is
    an index of a weight's first axis: the output channel of a convolution, the input channel of a
    transposed one.
    """

    bits: Bits

    def __post_init__(self) -> None:
        if type(self.bits) is not int or self.bits not in _DTYPES:
            raise ValueError(f"quantisation: bits is {self.bits!r}; choose one of 16, 8, 4")

    @property
    def max_integer(self) -> int:
        """The largest integer: 32767, 127 or 7."""
        return 2 ** (self.bits - 1) - 1

    def quantise(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors that a file stores in place of `weights` (float32, finite).

        A weight (C, ...) becomes int16 or int8 of that shape, or at 4 bits uint8
        (ceil(values / 2),), and NAME.scale float32 (C,). Its error is at most half a scale plus
        the rounding of float32. Weights that `dequantise` returned become the same tensors again.
        """
        stored = {}
        for name, weight in weights.items():
            if weight.ndim < 2:
                stored[name] = weight
                continue
            # The largest value is read back as top * scale, which divided by top is the same scale
            # again: for these three integers the roundings of float32 cancel. A scale that clips
            # the extremes has smaller errors at 4 bits, but did not score better throughout.
            top = self.max_integer
            scale = (weight.flatten(1).abs().amax(1) / top).clamp(min=_MIN_SCALE)
            codes = (weight / _expand(scale, weight)).round().clamp(-top, top)
            stored[name] = _pack(codes) if self.bits == 4 else codes.to(_DTYPES[self.bits])
            stored[name + _SCALE] = scale
        return stored

    def dequantise(
        self, stored: Mapping[str, Tensor], like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return float32 weights with the names and shapes of `like` from stored tensors.

        Only the shapes of `like` are used, so its tensors may be on the meta device. Raise
        ValueError for a scale that is not above 0 and for an integer below -`max_integer`.
        """
        weights, low = {}, -self.max_integer
        for name, weight in like.items():
            codes = stored[name]
            if name + _SCALE in stored:
                scale = stored[name + _SCALE]
                if not (scale > 0).all():
                    raise ValueError(f"a scale of weight {name!r} is not above 0")
                if self.bits == 4:
                    codes = _unpack(codes, weight.shape)
                if (codes < low).any():
                    raise ValueError(f"weight {name!r} holds {low - 1}, below {low}")
                codes = codes.float() * _expand(scale, codes)
            weights[name] = codes
        return weights


def _expand(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


def _pack(codes: Tensor) -> Tensor:
    """Pack integers from -7 to 7, each plus 8, in pairs into uint8: the first is the low half."""
    flat = codes.flatten()
    nibbles = (torch.nn.functional.pad(flat, (0, flat.numel() % 2)) + 8).to(torch.uint8)
    return nibbles[0::2] | (nibbles[1::2] << 4)


def _unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    """Invert `_pack`: return int8 of `shape`."""
    nibbles = torch.stack([packed & 15, packed >> 4], 1).flatten()[: shape.numel()]
    return (nibbles.to(torch.int8) - 8).reshape(shape)

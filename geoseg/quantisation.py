"""Weights in fewer bits: symmetric integers, and a scale for each layer or channel.

Only weights are rounded, and only those of two axes or more; biases stay float32. A weight that is
stored so is two tensors of the file: its integers under its own name, and NAME.scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Bits = Literal[16, 8, 4]
Per = Literal["channel", "layer"]
_DTYPES = {16: torch.int16, 8: torch.int8, 4: torch.uint8}
_SCALE = ".scale"
# The smallest scale, a channel of zeros' too: below it, float32 loses digits.
_SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Quantisation:
    """How a file stores its weights: w is near scale * q, with q an integer of `bits` bits.

    q is from -`top` to `top`: symmetric, so that 0 stays 0 and the lowest integer is never used.

    Attributes:
        bits: 16, 8 or 4; two of 4 bits share a byte.
        per: what has a scale of its own: every "channel", an index of a weight's first axis (the
            output channel of a convolution, the input channel of a transposed one), or the whole
            "layer".

    Raises ValueError for another value.
    """

    bits: Bits
    per: Per = "channel"

    def __post_init__(self) -> None:
        for name, choices in (("bits", get_args(Bits)), ("per", get_args(Per))):
            value = getattr(self, name)
            if value not in choices or type(value) is not type(choices[0]):
                listed = ", ".join(map(str, choices))
                raise ValueError(f"quantisation: {name} is {value!r}; choose one of {listed}")

    @property
    def top(self) -> int:
        """The largest integer: 32767, 127 or 7."""
        return 2 ** (self.bits - 1) - 1

    def quantise(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that a file stores in place of `weights`, which are float32 and finite.

        A weight of any shape (C, ...) becomes int16 or int8 of that shape, or at 4 bits uint8
        (ceil(values / 2),), and NAME.scale float32, (C,) or (1,). Its error is at most half a
        scale and what float32 rounds. Weights that `dequantise` gave become the same tensors again.
        """
        stored = {}
        for name, weight in weights.items():
            if weight.ndim < 2:
                stored[name] = weight
                continue
            scale = self._scale(weight)
            codes = (weight / _along(scale, weight)).round().clamp(-self.top, self.top)
            stored[name] = _pack(codes) if self.bits == 4 else codes.to(_DTYPES[self.bits])
            stored[name + _SCALE] = scale
        return stored

    def dequantise(
        self, stored: Mapping[str, Tensor], like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The float32 weights, named and shaped `like` these, from what `quantise` made of them.

        Only the shapes of `like` count, so its tensors may be empty ones, of the meta device.
        ValueError for a scale that is not above 0 and for an integer beyond `top`.
        """
        weights = {}
        for name, weight in like.items():
            codes = stored[name]
            if name + _SCALE in stored:
                scale = stored[name + _SCALE]
                if not (scale > 0).all():
                    raise ValueError(f"a scale of weight {name!r} is not above 0")
                if self.bits == 4:
                    codes = _unpack(codes, weight.shape)
                if (codes < -self.top).any():
                    raise ValueError(f"weight {name!r} holds {-self.top - 1}, below -{self.top}")
                codes = codes.float() * _along(scale, codes)
            weights[name] = codes
        return weights

    def _scale(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(1) if self.per == "channel" else weight.reshape(1, -1)
        # By the largest value, which is then read back as top * scale. Over `top`, that is the same
        # scale again: the roundings of float32 cancel for these three `top`, whatever the value. A
        # scale that leaves out the extremes errs less at 4 bits, but scored no better throughout.
        return (rows.abs().amax(1) / self.top).clamp(min=_SMALLEST)


def _along(scale: Tensor, weight: Tensor) -> Tensor:
    """(C,) or (1,) with as many axes as the weight (C, ...)."""
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


def _pack(codes: Tensor) -> Tensor:
    """Integers from -7 to 7, of any shape -> uint8 (ceil(values / 2),); the first is the low half.

    Each is stored as itself plus 8; an odd one out is followed by a zero.
    """
    flat = codes.flatten()
    halves = (torch.nn.functional.pad(flat, (0, flat.numel() % 2)) + 8).to(torch.uint8)
    return halves[0::2] | (halves[1::2] << 4)


def _unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_pack`: int8 of `shape`."""
    halves = torch.stack([packed & 15, packed >> 4], 1).flatten()[: shape.numel()]
    return (halves.to(torch.int8) - 8).reshape(shape)

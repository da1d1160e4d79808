"""Convolutions in an order that takes fewer operations, equal to the plain ones but for rounding.

B batch, C channels in, O channels out, Z depth, A azimuth. A kernel is (O, C, kz, ka) with odd
sides, and what it gives has the size of its input.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold, interpolate, linear, pad

# A longer side makes a matrix that is larger than the work it saves.
_MOST_SAMPLES = 512


class Columns(NamedTuple):
    """The columns from `first` to before `end` of an image of `total` columns."""

    first: int
    end: int
    total: int

    def widened(self, by: int) -> Columns:
        """With `by` columns more on either side, as far as there are any."""
        return Columns(max(self.first - by, 0), min(self.end + by, self.total), self.total)

    def coarse(self, total: int) -> Columns:
        """Those of a coarse image of `total` columns that bilinear upsampling makes these from."""
        if self.total == 1:
            return Columns(0, 1, total)
        last = -(-(self.end - 1) * (total - 1) // (self.total - 1))
        return Columns(self.first * (total - 1) // (self.total - 1), last + 1, total)

    @property
    def span(self) -> slice:
        """For indexing the whole image."""
        return slice(self.first, self.end)


def convolve_to_few(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """What a zero-padded convolution to few channels makes of (B, C, Z, A): (B, O, Z, A).

    One matrix product gives what every pixel adds to each of its neighbours, `fold` adds it up.
    Convolution kernels compute 16 channels where one is wanted.
    """
    weight, bias = convolution.weight, convolution.bias
    sides = weight.shape[-2:]
    # A pixel gives to the neighbour above it what that one's kernel takes from below.
    giving = weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2)
    gifts = linear(x.permute(0, 2, 3, 1), giving).flatten(1, 2).transpose(1, 2)
    gifts = gifts.to(torch.promote_types(gifts.dtype, torch.float32))  # nine of bf16 add up badly
    y = fold(gifts, x.shape[-2:], sides, padding=(sides[0] // 2, sides[1] // 2))
    return y if bias is None else y + bias[:, None, None]


def convolve_upsampled(x: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """A zero-padded convolution of (B, C, z, a) after its bilinear upsampling, (B, O, Z, A).

    The upsampling, with aligned corners to `size` = (Z, A), is not made: channels are mixed at the
    coarse size, once for each tap of the kernel, and what follows is linear along one axis at a
    time. For a patch that takes about a third of the operations. For a whole log it would take
    more, as its rows are too many to be multiplied by a matrix; then it is done in the plain order.
    """
    batch, channels, rows, columns = x.shape
    out, _, high, wide = weight.shape
    plain = size[0] * size[1] * channels * high * wide
    mixing = rows * columns * channels * high * wide
    stretching = rows * size[1] * columns * wide * high + size[0] * size[1] * rows * high
    if mixing + stretching > plain:
        x = interpolate(x, size, mode="bilinear", align_corners=True)
        return conv2d(x, weight, padding=(high // 2, wide // 2))
    mix = weight.permute(3, 2, 0, 1).flatten(0, 2)  # (ka kz O, C)
    y = linear(x.permute(0, 2, 3, 1), mix)  # (B, z, a, ka kz O)
    y = y.reshape(batch * rows, columns * wide, high * out)
    y = _stretch(columns, size[1], wide, y.dtype, y.device) @ y  # (B z, A, kz O)
    y = y.view(batch, rows, size[1], high, out).transpose(2, 3)
    y = y.reshape(batch, rows * high, size[1] * out)
    y = _stretch(rows, size[0], high, y.dtype, y.device) @ y  # (B, Z, A O)
    return y.view(batch, *size, out).permute(0, 3, 1, 2)


def upsample(x: Tensor, rows: int, before: Columns, after: Columns) -> Tensor:
    """Bilinear upsampling with aligned corners of (B, C, z, a) to (B, C, `rows`, A).

    x holds the columns `before` of the coarse image, the answer has those of the fine one that
    `after` says; they must not need others than x holds. By matrices, as the gradient of torch's
    own adds up in any order on a GPU; on a large image in torch's way, which is quicker there, and
    needs no matrix as large as the square of a side.
    """
    if max(rows, after.total) > _MOST_SAMPLES:
        y = _mix_columns(x, before, after)
        return interpolate(y, (rows, y.shape[-1]), mode="bilinear", align_corners=True)
    across = _stretch(before.total, after.total, 1, x.dtype, x.device)[after.span, before.span]
    y = across @ x.permute(0, 2, 3, 1)  # (B, z, A, C)
    along = _stretch(y.shape[1], rows, 1, y.dtype, y.device)
    return (along @ y.flatten(2)).unflatten(2, y.shape[2:]).permute(0, 3, 1, 2)


def _mix_columns(x: Tensor, before: Columns, after: Columns) -> Tensor:
    """(B, C, z, A): each column of `after` from the two of `before` beside it."""
    steps = max(after.total - 1, 1)
    place = torch.arange(after.first, after.end, device=x.device) * (before.total - 1)
    low, share = place // steps - before.first, ((place % steps).double() / steps).to(x.dtype)
    high = low + (share > 0)
    return torch.lerp(x[..., low], x[..., high], share)


def _stretch(
    coarse: int, fine: int, kernel: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(fine, coarse * kernel): what sample c through tap t gives to sample f, zero-padded."""
    make = _make_stretch if torch.compiler.is_compiling() else _cached_stretch
    return make(coarse, fine, kernel, dtype, device)


def _make_stretch(
    coarse: int, fine: int, kernel: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # a cached tensor serves training as well
        line = torch.eye(coarse, dtype=torch.float64, device=device)[None]
        line = interpolate(line, fine, mode="linear", align_corners=True)[0].T
        line = pad(line, (0, 0, kernel // 2, kernel // 2)).unfold(0, kernel, 1)
        return line.flatten(1).to(dtype)


_cached_stretch = lru_cache(maxsize=64)(_make_stretch)


def pad_ring(x: Tensor, columns: int) -> Tensor:
    """(B, C, Z, A) with `columns` more on either side, from across the seam, again and again."""
    if x.shape[-1] < 2 * columns:
        return x[..., torch.arange(-columns, x.shape[-1] + columns, device=x.device) % x.shape[-1]]
    # Splitting first costs one copy in the backward pass, where slices would cost one each.
    head, middle, tail = x.split((columns, x.shape[-1] - 2 * columns, columns), -1)
    return torch.cat((tail, head, middle, tail, head), -1)


def pad_rows(x: Tensor, rows: int) -> Tensor:
    """(B, C, Z, A) with its first and its last row repeated `rows` times more."""
    return _replicate(x, rows, 0)


def pad_edges(x: Tensor, pixels: int) -> Tensor:
    """(B, C, Z, A) with its outermost pixels repeated `pixels` times more on all four sides."""
    return _replicate(x, pixels, pixels)


def _replicate(x: Tensor, rows: int, columns: int) -> Tensor:
    # In one step where no gradient is asked for: that of torch's own padding adds up in any order
    # on a GPU.
    if not torch.is_grad_enabled():
        return pad(x, (columns, columns, rows, rows), mode="replicate")
    return _repeat_ends(_repeat_ends(x, rows, -2), columns, -1)


def _repeat_ends(x: Tensor, times: int, dim: int) -> Tensor:
    length = x.shape[dim]
    if not times:
        return x
    if length == 1:
        return torch.cat([x] * (2 * times + 1), dim)
    first, middle, last = x.split((1, length - 2, 1), dim)
    return torch.cat((*[first] * (times + 1), middle, *[last] * (times + 1)), dim)

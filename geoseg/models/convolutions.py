"""Convolutions and paddings that need fewer operations than torch's, equal except for rounding.

Our own, for three reasons: a decoder can convolve before it upsamples, a convolution to one channel
is mostly wasted in torch's kernels, and gradients of torch's paddings and upsampling are summed in
no fixed order on a GPU. B batch, C channels in, O channels out, Z depth, A azimuth. A kernel is
(O, C, kz, ka) with odd sides; the output has the size of the input.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold, interpolate, linear, pad

# For a longer side, the matrix is larger than the work it saves.
_MAX_SIDE = 512


class Columns(NamedTuple):
    """The columns from `first` up to but not including `end` of an image of `total` columns."""

    first: int
    end: int
    total: int

    def widen(self, by: int) -> Columns:
        """Return `by` more columns on either side, clipped to the image."""
        return Columns(max(self.first - by, 0), min(self.end + by, self.total), self.total)

    def to_coarse(self, total: int) -> Columns:
        """Return the columns of a coarse image, of `total` columns, that these depend on."""
        if self.total == 1:
            return Columns(0, 1, total)
        last = -(-(self.end - 1) * (total - 1) // (self.total - 1))
        return Columns(self.first * (total - 1) // (self.total - 1), last + 1, total)

    @property
    def span(self) -> slice:
        """The slice that selects the columns."""
        return slice(self.first, self.end)


def convolve_to_few_channels(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Apply a zero-padded convolution to few channels to (B, C, Z, A): (B, O, Z, A).

    One matrix product computes the contribution of every pixel to each of its neighbours; `fold`
    sums them. Convolution kernels would compute 16 channels even if only one is needed.
    """
    weight, bias = convolution.weight, convolution.bias
    sides = weight.shape[-2:]
    # Flipped: the contribution to the neighbour above is that of the kernel's tap below.
    matrix = weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2)
    contributions = linear(x.permute(0, 2, 3, 1), matrix).flatten(1, 2).transpose(1, 2)
    # A sum of nine bfloat16 values loses too much precision.
    contributions = contributions.to(torch.promote_types(contributions.dtype, torch.float32))
    y = fold(contributions, x.shape[-2:], sides, padding=(sides[0] // 2, sides[1] // 2))
    return y if bias is None else y + bias[:, None, None]


def convolve_upsampled(x: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample (B, C, z, a) to `size` = (Z, A), then convolve with zero padding: (B, O, Z, A).

    The upsampling is bilinear with aligned corners. Both steps are linear, so channels are mixed
    first, at the coarse size, once for each tap of the kernel; then one matrix per axis upsamples
    and sums the taps. For a patch that takes about a third of the operations. For a whole log it
    would take more, since the matrix grows with the square of the rows; then the plain order is
    used.
    """
    batch, channels, rows, columns = x.shape
    out, _, high, wide = weight.shape
    plain = size[0] * size[1] * channels * high * wide
    mixing = rows * columns * channels * high * wide
    upsampling = rows * size[1] * columns * wide * high + size[0] * size[1] * rows * high
    if mixing + upsampling > plain:
        x = interpolate(x, size, mode="bilinear", align_corners=True)
        return conv2d(x, weight, padding=(high // 2, wide // 2))
    mix = weight.permute(3, 2, 0, 1).flatten(0, 2)  # (ka kz O, C)
    y = linear(x.permute(0, 2, 3, 1), mix)  # (B, z, a, ka kz O)
    y = y.reshape(batch * rows, columns * wide, high * out)
    y = _upsampling_matrix(columns, size[1], wide, y.dtype, y.device) @ y  # (B z, A, kz O)
    y = y.view(batch, rows, size[1], high, out).transpose(2, 3)
    y = y.reshape(batch, rows * high, size[1] * out)
    y = _upsampling_matrix(rows, size[0], high, y.dtype, y.device) @ y  # (B, Z, A O)
    return y.view(batch, *size, out).permute(0, 3, 1, 2)


def upsample(x: Tensor, rows: int, before: Columns, after: Columns) -> Tensor:
    """Upsample (B, C, z, a) to (B, C, `rows`, A), bilinear with aligned corners.

    x holds the columns `before` of the coarse image; the result holds the columns `after` of the
    fine one, which must depend on no other columns. Matrix products, since torch's own gradient is
    summed in no fixed order on a GPU. A large image uses torch's upsampling, which is faster there
    and needs no matrix with the square of a side.
    """
    if max(rows, after.total) > _MAX_SIDE:
        y = _interpolate_columns(x, before, after)
        return interpolate(y, (rows, y.shape[-1]), mode="bilinear", align_corners=True)
    across = _upsampling_matrix(before.total, after.total, 1, x.dtype, x.device)
    y = across[after.span, before.span] @ x.permute(0, 2, 3, 1)  # (B, z, A, C)
    along = _upsampling_matrix(y.shape[1], rows, 1, y.dtype, y.device)
    return (along @ y.flatten(2)).unflatten(2, y.shape[2:]).permute(0, 3, 1, 2)


def _interpolate_columns(x: Tensor, before: Columns, after: Columns) -> Tensor:
    """Interpolate each column of `after` from its two neighbours in `before`: (B, C, z, A)."""
    steps = max(after.total - 1, 1)
    position = torch.arange(after.first, after.end, device=x.device) * (before.total - 1)
    low = position // steps - before.first
    weight = ((position % steps).double() / steps).to(x.dtype)
    return torch.lerp(x[..., low], x[..., low + (weight > 0)], weight)


def _upsampling_matrix(
    coarse: int, fine: int, kernel: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the weights (fine, coarse * kernel) of coarse sample c at kernel tap t in fine f."""
    make = _make_upsampling_matrix if torch.compiler.is_compiling() else _cached_upsampling_matrix
    return make(coarse, fine, kernel, dtype, device)


def _make_upsampling_matrix(
    coarse: int, fine: int, kernel: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # the cached tensor is used in training too
        line = torch.eye(coarse, dtype=torch.float64, device=device)[None]
        line = interpolate(line, fine, mode="linear", align_corners=True)[0].T
        line = pad(line, (0, 0, kernel // 2, kernel // 2)).unfold(0, kernel, 1)
        return line.flatten(1).to(dtype)


_cached_upsampling_matrix = lru_cache(maxsize=64)(_make_upsampling_matrix)


def pad_circular(x: Tensor, columns: int) -> Tensor:
    """Pad (B, C, Z, A) circularly by `columns` on either side, by more than its width if asked."""
    if x.shape[-1] < 2 * columns:
        return x[..., torch.arange(-columns, x.shape[-1] + columns, device=x.device) % x.shape[-1]]
    # A split costs one copy in the backward pass; slices would cost one each.
    head, middle, tail = x.split((columns, x.shape[-1] - 2 * columns, columns), -1)
    return torch.cat((tail, head, middle, tail, head), -1)


def pad_replicate(x: Tensor, rows: int, columns: int = 0) -> Tensor:
    """Repeat the first and last row of (B, C, Z, A) `rows` times more, the columns likewise."""
    # torch's own padding only without gradients, which it sums in no fixed order on a GPU.
    if not torch.is_grad_enabled():
        return pad(x, (columns, columns, rows, rows), mode="replicate")
    return _repeat_ends(_repeat_ends(x, rows, -2), columns, -1)


def _repeat_ends(x: Tensor, times: int, dim: int) -> Tensor:
    if not times:
        return x
    if x.shape[dim] == 1:
        return torch.cat([x] * (2 * times + 1), dim)
    first, middle, last = x.split((1, x.shape[dim] - 2, 1), dim)
    return torch.cat((*[first] * (times + 1), middle, *[last] * (times + 1)), dim)

"""Random numbers for the generator: one explicit stream, smooth paths and intervals of depth.

W well, T track, Z depth, A azimuth, C channel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Intervals:
    """Intervals of depth, one below the other on every track; all tensors are (W, T, Z).

    `index` (int64) is the number of the interval that a row belongs to. `above` and `below` (float)
    are the rows to its first and its last row: both are at least 0 inside it, and `above` is
    negative in the gap before it.
    """

    index: Tensor
    above: Tensor
    below: Tensor

    @property
    def inside(self) -> Tensor:
        """Return the rows that lie in an interval, bool (W, T, Z)."""
        return self.above >= 0

    def pick(self, table: Tensor) -> Tensor:
        """Spread one value per interval (W, T, N) over the rows (W, T, Z)."""
        return table.gather(-1, self.index)


class RandomStream:
    """A seeded stream of random tensors on one device; never touches the global state."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def rand(self, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1), float32."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers, float32."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return uniform numbers in [low, high)."""
        return low + (high - low) * self.rand(*shape)

    def log_uniform(self, low: float | Tensor, high: float | Tensor, *shape: int) -> Tensor:
        """Return numbers whose logarithm is uniform between two positive bounds (or tensors)."""
        bottom, top = (torch.as_tensor(bound, device=self.device).log() for bound in (low, high))
        return (bottom + (top - bottom) * self.rand(*shape)).exp()

    def bernoulli(self, probability: float | Tensor, *shape: int) -> Tensor:
        """Return True with the given probability, bool."""
        return self.rand(*shape) < probability

    def smooth_paths(self, position: Tensor, channels: int) -> Tensor:
        """Return smooth paths of unit variance, float32 (W, Z, C).

        `position` (W, Z), at least 0, counts knots: rows divided by the knot spacing. Paths are
        cubic B-splines through independent normal knots, so a step of 4 or more in `position`
        (a joint) makes the rows below it independent of the rows above.
        """
        knots = self.normal(len(position), int(position.max()) + 4, channels)
        first = position.long()
        t = (position - first)[..., None]
        outer, inner = ((1 - t) ** 3 / 6, (3 * t - 6) * t**2 / 6 + 2 / 3)
        last = t**3 / 6
        weights = (outer, inner, 1 - outer - inner - last, last)
        wells = torch.arange(len(position), device=self.device)[:, None]
        path = torch.zeros(1, device=self.device)
        for i, weight in enumerate(weights):
            path = path + weight * knots[wells, first + i]
        return path / torch.stack(weights).square().sum(0).sqrt()

    def intervals(self, lengths: Tensor, gaps: Tensor, rows: int) -> Intervals:
        """Place intervals of `lengths` rows, each after a gap (W, T, N), on `rows` rows.

        The log begins at a random place of the first gap or interval. `sum(lengths + gaps)` without
        the first gap and interval must be at least `rows`.
        """
        cycles = lengths + gaps
        ends = cycles.cumsum(-1) - cycles[..., :1] * self.rand(*cycles.shape[:-1], 1)
        z = torch.arange(rows, device=self.device, dtype=ends.dtype)
        index = torch.searchsorted(ends, z.expand(*ends.shape[:-1], rows).contiguous(), right=True)
        end, length = ends.gather(-1, index), lengths.gather(-1, index)
        return Intervals(index, z - (end - length), end - z)

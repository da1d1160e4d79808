"""Random numbers for the generator: one explicit stream, and the two shapes all parts are made of.

W well, T track, Z depth, A azimuth, C channel. The two shapes are smooth paths along depth
(`RandomStream.smooth`) and stretches of depth with gaps between them (`RandomStream.runs`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Runs:
    """Stretches of depth, one after the other on every track; all tensors (W, T, Z).

    `index` (int64) numbers the stretch a row belongs to; `above` and `below` are the rows (float)
    to its first and its last row, both at least 0 inside it and `above` negative in the gap
    before it.
    """

    index: Tensor
    above: Tensor
    below: Tensor

    @property
    def inside(self) -> Tensor:
        """Which rows lie in a stretch, bool (W, T, Z)."""
        return self.above >= 0

    def pick(self, table: Tensor) -> Tensor:
        """Spread one value a stretch (W, T, N) over the rows: (W, T, Z)."""
        return table.gather(-1, self.index)


class RandomStream:
    """A seeded stream of random tensors on one device; never touches the global state."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def unit(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, float32."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit(*shape)

    def log_uniform(self, low: float | Tensor, high: float | Tensor, *shape: int) -> Tensor:
        """Uniform in the logarithm between two positive bounds, which may be tensors."""
        bottom, top = (torch.as_tensor(bound, device=self.device).log() for bound in (low, high))
        return (bottom + (top - bottom) * self.unit(*shape)).exp()

    def chance(self, probability: float | Tensor, *shape: int) -> Tensor:
        """True with the given probability, bool."""
        return self.unit(*shape) < probability

    def smooth(self, position: Tensor, channels: int) -> Tensor:
        """Smooth paths of unit variance: float32 (W, Z, C).

        `position` (W, Z), at least 0, counts knots: rows divided by the knot spacing. Paths are
        cubic B-splines through independent normal knots, so a jump of 4 or more in `position`
        (a joint) makes what follows independent of what went before.
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

    def runs(self, lengths: Tensor, gaps: Tensor, rows: int) -> Runs:
        """Lay stretches of `lengths` rows, a gap before each (W, T, N), over `rows` rows.

        The first stretch or gap is entered at random. The cycles must be able to cover the
        rows: `sum(lengths + gaps)` without the first cycle must reach `rows`.
        """
        cycles = lengths + gaps
        ends = cycles.cumsum(-1) - cycles[..., :1] * self.unit(*cycles.shape[:-1], 1)
        z = torch.arange(rows, device=self.device, dtype=ends.dtype)
        index = torch.searchsorted(ends, z.expand(*ends.shape[:-1], rows).contiguous(), right=True)
        end, length = ends.gather(-1, index), lengths.gather(-1, index)
        return Runs(index, z - (end - length), end - z)

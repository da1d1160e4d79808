"""What is not a groove: broad bands, faint streaks, pits, bright and rough patches.

W well, T track, Z depth, A azimuth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.synthetic.grooves import relief, taper
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import WellParameters


class Kind(NamedTuple):
    """Ranges of one kind: extent along depth and azimuth (columns of 10 degrees), and height.

    `dark` is the share that is thinner than the wall; `share` multiplies the well's share of rows;
    `flat` is the flattest, and sharpest edged, cross-section from 0 to 1.
    """

    tracks: int
    rows: tuple[float, float]
    columns: tuple[float, float]
    inches: tuple[float, float]
    dark: float
    share: float
    flat: float = 0.3


BANDS = Kind(1, (30, 900), (5, 16), (0.006, 0.035), dark=0.5, share=1.0, flat=1.0)
STREAKS = Kind(2, (30, 400), (1.5, 5), (0.003, 0.01), dark=0.6, share=1.8)
PITS = Kind(1, (4, 40), (1.5, 7), (0.015, 0.07), dark=0.75, share=0.3)
ROUGH = Kind(1, (20, 250), (2, 9), (0.02, 0.15), dark=0.0, share=0.06)


def lookalikes(draw: RandomStream, character: WellParameters, rows: int, columns: int) -> Tensor:
    """Relief of the bands, streaks and pits, float32 inches (W, Z, A)."""
    kinds = (BANDS, STREAKS, PITS)
    return torch.stack([_scatter(draw, character, kind, rows, columns) for kind in kinds]).sum(0)


def roughness(draw: RandomStream, character: WellParameters, rows: int, columns: int) -> Tensor:
    """Standard deviation (inches) of the noise of patches that echo badly, (W, Z, A)."""
    return _scatter(draw, character, ROUGH, rows, columns)


def _scatter(
    draw: RandomStream, character: WellParameters, kind: Kind, rows: int, columns: int
) -> Tensor:
    each = (len(character.bands), kind.tracks, int(rows / kind.rows[0]) + 3)
    lengths = draw.log_uniform(*kind.rows, *each)
    idle = (1 / (kind.share * character.bands) - 1)[:, None, None]
    runs = draw.runs(lengths, lengths * idle * (0.6 * draw.normal(*each)).exp(), rows)
    sign = 1 - 2 * draw.chance(kind.dark, *each).float()
    rise = taper(runs, runs.pick(lengths * draw.uniform(0.3, 0.5, *each)))
    return relief(
        rise.square() * (3 - 2 * rise) * runs.pick(sign * draw.log_uniform(*kind.inches, *each)),
        runs.pick(draw.uniform(0, 36, *each)),
        runs.pick(draw.log_uniform(*kind.columns, *each)),
        runs.pick(kind.flat * draw.unit(*each)),
        columns,
    )

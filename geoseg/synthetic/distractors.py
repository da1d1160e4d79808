"""Distractors: broad bands, faint streaks, pits and rough patches, which are not grooves.

W well, T track, Z depth, A azimuth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from geoseg.synthetic.grooves import make_relief, make_taper
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import WellParameters


class DistractorType(NamedTuple):
    """Ranges of extent along depth (rows) and azimuth (columns of 10 degrees), and of height.

    `dark` is the share that is thinner than the wall. `share` multiplies the well's share of rows.
    `max_flatness` is the flattest cross-section, from 0 (Gaussian) to 1 (flat, sharp edges).
    """

    tracks: int
    rows: tuple[float, float]
    columns: tuple[float, float]
    inches: tuple[float, float]
    dark: float
    share: float
    max_flatness: float = 0.3


BANDS = DistractorType(1, (30, 900), (5, 16), (0.006, 0.035), dark=0.5, share=1.0, max_flatness=1.0)
STREAKS = DistractorType(2, (30, 400), (1.5, 5), (0.003, 0.01), dark=0.6, share=1.8)
PITS = DistractorType(1, (4, 40), (1.5, 7), (0.015, 0.07), dark=0.75, share=0.3)
ROUGH = DistractorType(1, (20, 250), (2, 9), (0.02, 0.15), dark=0.0, share=0.06)


def make_distractors(random: RandomStream, well: WellParameters, rows: int, columns: int) -> Tensor:
    """Return the relief of bands, streaks and pits, float32 inches (W, Z, A)."""
    types = (BANDS, STREAKS, PITS)
    return torch.stack([_scatter(random, well, kind, rows, columns) for kind in types]).sum(0)


def make_roughness(random: RandomStream, well: WellParameters, rows: int, columns: int) -> Tensor:
    """Return the extra noise of patches with a bad echo, standard deviation in inches (W, Z, A)."""
    return _scatter(random, well, ROUGH, rows, columns)


def _scatter(
    random: RandomStream, well: WellParameters, kind: DistractorType, rows: int, columns: int
) -> Tensor:
    """Place distractors of one type at random, float32 inches (W, Z, A)."""
    shape = (len(well.bands), kind.tracks, int(rows / kind.rows[0]) + 3)
    lengths = random.log_uniform(*kind.rows, *shape)
    gap = (1 / (kind.share * well.bands) - 1)[:, None, None]
    intervals = random.intervals(lengths, lengths * gap * (0.6 * random.normal(*shape)).exp(), rows)
    sign = 1 - 2 * random.bernoulli(kind.dark, *shape).float()
    rise = make_taper(intervals, intervals.pick(lengths * random.uniform(0.3, 0.5, *shape)))
    height = sign * random.log_uniform(*kind.inches, *shape)
    return make_relief(
        rise.square() * (3 - 2 * rise) * intervals.pick(height),
        intervals.pick(random.uniform(0, 36, *shape)),
        intervals.pick(random.log_uniform(*kind.columns, *shape)),
        intervals.pick(kind.max_flatness * random.rand(*shape)),
        columns,
    )

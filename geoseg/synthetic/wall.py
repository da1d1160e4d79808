"""The wall of an intact pipe: eccentricity, texture and lattice, as one Fourier series.

W well, Z depth, K cycles round the pipe. The coefficients change with depth and start anew at each
joint. The series can be evaluated at any number of columns, so that a pipe recorded at 72 columns
is the same pipe as at 36.
"""

from math import pi

import torch
from torch import Tensor

from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import HARMONICS, WellParameters

RIPPLE_HARMONICS = 9  # cycles round the pipe that change from row to row


def make_joints(random: RandomStream, well: WellParameters, rows: int) -> tuple[Tensor, Tensor]:
    """Return each row's joint number (int64) and rows since its collar began (float32), (W, Z)."""
    length = well.joint_rows
    count = int(rows / (0.9 * length.min())) + 3
    lengths = length[:, None] * random.uniform(0.95, 1.05, len(length), count)
    intervals = random.intervals(lengths[:, None], torch.zeros_like(lengths)[:, None], rows)
    return intervals.index[:, 0], intervals.above[:, 0]


def make_wall(random: RandomStream, well: WellParameters, joint: Tensor, columns: int) -> Tensor:
    """Return the wall of a pipe without grooves, float32 inches (W, Z, A)."""
    rows = joint.shape[1]
    cycles = torch.arange(1, HARMONICS + 1, device=random.device)
    coefficients = _make_texture(random, well, joint, cycles)
    coefficients += _make_lattice(random, well, joint, cycles)
    ripple = _to_complex(random.normal(len(joint), rows, 2 * RIPPLE_HARMONICS))
    ripple *= well.ripple[:, None, None] / cycles[:RIPPLE_HARMONICS]
    coefficients[..., :RIPPLE_HARMONICS] += ripple
    angle = 2 * pi / columns * torch.arange(columns, device=random.device)
    waves = cycles[:, None] * angle
    basis = torch.stack((waves.cos(), -waves.sin()), 1).reshape(2 * HARMONICS, columns)
    return torch.view_as_real(coefficients).flatten(2) @ basis


def _to_complex(paths: Tensor) -> Tensor:
    """Combine pairs of real channels (W, Z, 2K) into complex ones of unit power (W, Z, K)."""
    return torch.view_as_complex(paths.unflatten(-1, (-1, 2)).contiguous()) / 2**0.5


def _make_texture(
    random: RandomStream, well: WellParameters, joint: Tensor, cycles: Tensor
) -> Tensor:
    """Return coefficients of a slow part with drifting eccentricity and a drifting fast part."""
    z = torch.arange(joint.shape[1], device=random.device)
    restart = 4 * joint  # makes the paths of two joints independent

    def make_part(period: Tensor, share: Tensor) -> Tensor:
        paths = random.smooth_paths(z / period[:, None] + restart, 2 * HARMONICS)
        return _to_complex(paths) * (share.sqrt()[:, None] * well.spectrum)[:, None]

    def make_drift(rate: Tensor, k: Tensor) -> Tensor:
        wander = random.smooth_paths(z / 300 + restart, 1)[..., 0]
        shift = (rate[:, None] * (1 + 0.5 * wander)).cumsum(1) / 100  # columns
        phase = 2 * pi / 36 * shift[..., None] * k
        return torch.polar(torch.ones_like(phase), phase)

    slow = make_part(well.slow_rows, well.coherence)
    slow[..., :1] *= make_drift(well.eccentricity_drift, cycles[:1])
    fast = make_part(well.fast_rows, 1 - well.coherence)
    level = random.normal(len(joint), int(joint.max()) + 1) * well.joint_variation[:, None]
    fast *= level.exp().gather(1, joint)[..., None]
    return slow + fast * make_drift(well.twist, cycles)


def _make_lattice(
    random: RandomStream, well: WellParameters, joint: Tensor, cycles: Tensor
) -> Tensor:
    """Return coefficients of two crossing helices, constant within a joint, random between."""
    wells, count = len(joint), int(joint.max()) + 1
    z = torch.arange(joint.shape[1], device=random.device)
    present = random.bernoulli(well.lattice_share[:, None], wells, count)
    main = well.lattice_cycles[:, None]
    crossing = 1 + (random.rand(wells, 1) * 4).floor()
    weaker = 0.6 * random.rand(wells, 1)
    result = torch.zeros(*joint.shape, HARMONICS, dtype=torch.complex64, device=random.device)
    for helix, strength, sign in ((main, 1.0, 1.0), (crossing, weaker, -1.0)):
        period = sign * well.lattice_rows[:, None] * random.uniform(0.8, 1.25, wells, count)
        height = strength * well.lattice[:, None] * random.uniform(0.5, 1.3, wells, count)
        start = 2 * pi * random.rand(wells, count)
        phase = 2 * pi * z / period.gather(1, joint) + start.gather(1, joint)
        wave = torch.polar((height * present).gather(1, joint), phase)
        result += wave[..., None] * (cycles == helix)[:, None]
    return result

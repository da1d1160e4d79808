"""The sound pipe: eccentricity, texture and lattice, as one Fourier series round the pipe.

W well, Z depth, K cycles round the pipe. The series' coefficients change with depth and start
anew at each joint; any number of columns can be read from it, so a pipe recorded at 72 columns
is the same pipe as at 36.
"""

from math import pi

import torch
from torch import Tensor

from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import HARMONICS, WellParameters

RIPPLES = 9  # cycles round that may change from row to row


def joints(draw: RandomStream, character: WellParameters, rows: int) -> tuple[Tensor, Tensor]:
    """Joint number (int64) and rows since its collar began (float32) of each row, both (W, Z)."""
    count = int(rows / (0.9 * character.joint.min())) + 3
    lengths = character.joint[:, None] * draw.uniform(0.95, 1.05, len(character.joint), count)
    runs = draw.runs(lengths[:, None], torch.zeros_like(lengths)[:, None], rows)
    return runs.index[:, 0], runs.above[:, 0]


def wall(draw: RandomStream, character: WellParameters, joint: Tensor, columns: int) -> Tensor:
    """The wall of a pipe without grooves, float32 inches (W, Z, A)."""
    rows = joint.shape[1]
    cycles = torch.arange(1, HARMONICS + 1, device=draw.device)
    coefficients = _texture(draw, character, joint, cycles)
    coefficients += _lattice(draw, character, joint, cycles)
    ripple = _complex(draw.normal(len(joint), rows, 2 * RIPPLES))
    coefficients[..., :RIPPLES] += ripple * (character.ripple[:, None, None] / cycles[:RIPPLES])
    angle = 2 * pi / columns * torch.arange(columns, device=draw.device)
    waves = cycles[:, None] * angle
    basis = torch.stack((waves.cos(), -waves.sin()), 1).reshape(2 * HARMONICS, columns)
    return torch.view_as_real(coefficients).flatten(2) @ basis


def _complex(paths: Tensor) -> Tensor:
    """Pair real channels (W, Z, 2K) into unit-power complex ones (W, Z, K)."""
    return torch.view_as_complex(paths.unflatten(-1, (-1, 2)).contiguous()) / 2**0.5


def _texture(
    draw: RandomStream, character: WellParameters, joint: Tensor, cycles: Tensor
) -> Tensor:
    """A slow part whose eccentricity turns, and a quick part that leans; anew at each joint."""
    z = torch.arange(joint.shape[1], device=draw.device)
    anew = 4 * joint

    def part(period: Tensor, share: Tensor) -> Tensor:
        paths = draw.smooth(z / period[:, None] + anew, 2 * HARMONICS)
        return _complex(paths) * (share.sqrt()[:, None] * character.spectrum)[:, None]

    def lean(rate: Tensor, k: Tensor) -> Tensor:
        wander = draw.smooth(z / 300 + anew, 1)[..., 0]
        turned = (rate[:, None] * (1 + 0.5 * wander)).cumsum(1) / 100  # columns
        phase = 2 * pi / 36 * turned[..., None] * k
        return torch.polar(torch.ones_like(phase), phase)

    slow = part(character.slow, character.coherence)
    slow[..., :1] *= lean(character.turn, cycles[:1])
    quick = part(character.quick, 1 - character.coherence)
    mood = draw.normal(len(joint), int(joint.max()) + 1) * character.moods[:, None]
    quick *= mood.exp().gather(1, joint)[..., None]
    return slow + quick * lean(character.twist, cycles)


def _lattice(
    draw: RandomStream, character: WellParameters, joint: Tensor, cycles: Tensor
) -> Tensor:
    """Two crossing helices, constant within a joint, random between joints."""
    wells, count = len(joint), int(joint.max()) + 1
    z = torch.arange(joint.shape[1], device=draw.device)
    carries = draw.chance(character.lattice_share[:, None], wells, count)
    main = character.lattice_cycles[:, None]
    crossing = 1 + (draw.unit(wells, 1) * 4).floor()
    fainter = 0.6 * draw.unit(wells, 1)
    result = torch.zeros(*joint.shape, HARMONICS, dtype=torch.complex64, device=draw.device)
    for helix, strength, hand in ((main, 1.0, 1.0), (crossing, fainter, -1.0)):
        period = hand * character.lattice_rows[:, None] * draw.uniform(0.8, 1.25, wells, count)
        height = strength * character.lattice[:, None] * draw.uniform(0.5, 1.3, wells, count)
        start = 2 * pi * draw.unit(wells, count)
        phase = 2 * pi * z / period.gather(1, joint) + start.gather(1, joint)
        wave = torch.polar((height * carries).gather(1, joint), phase)
        result += wave[..., None] * (cycles == helix)[:, None]
    return result

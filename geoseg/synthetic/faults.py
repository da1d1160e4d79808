"""The faults of the instrument: collars, stray lines, noise, spikes, stuck rows and nulls.

W well, Z depth, A azimuth. The rows of collars are few, so they are computed apart and written
back.
"""

from math import pi

import torch
from torch import Tensor

from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import WellParameters

STEEP_FLANK = 0.03  # inches from column to column at which the echo is lost most often
MAX_NULL_ROWS = 30  # shorter than a patch, so that no patch is null everywhere


def _make_arcs(random: RandomStream, count: int, columns: int) -> Tensor:
    """Return a random arc of the circumference in each of `count` rows, never all: (count, A)."""
    angle = 2 * pi / columns * torch.arange(columns, device=random.device)
    away = (angle - 2 * pi * random.rand(count, 1)).cos()
    return away > random.uniform(-0.9, 0.9, count, 1)


def add_collars(
    random: RandomStream, well: WellParameters, images: Tensor, collar_distance: Tensor
) -> None:
    """Overwrite, in place, the rows of collars and stray lines of `images` (W, Z, A).

    `collar_distance` (W, Z) is the rows since the joint's collar began. Some arcs become NaN.
    """
    wells, rows, columns = images.shape
    in_collar = collar_distance < well.collar[:, None]
    hit = torch.where(in_collar, random.bernoulli(0.65, wells, rows), False)
    hit |= random.bernoulli(well.strays[:, None], wells, rows)
    number, row = hit.nonzero(as_tuple=True)
    count = len(number)
    is_collar = in_collar[number, row, None]
    step = torch.arange(columns, device=random.device) * 36 // columns  # of 10 degrees
    sign = 1 - 2.0 * (step % 2)
    ordered = random.bernoulli(well.collar_order[number, None], count, 1)
    pattern = torch.where(ordered, sign, random.normal(count, 36).sign()[:, step])
    pattern = torch.where(
        _make_arcs(random, count, columns), pattern, random.normal(count, 1).sign()
    )
    pattern = torch.where(
        random.bernoulli(0.5, count, 1), pattern, pattern * random.rand(count, columns)
    )
    height = well.collar_height[number, None] * random.log_uniform(0.25, 1.2, count, 1)
    height = height * torch.where(is_collar, 1.0, 0.3)
    covered = _make_arcs(random, count, columns) | (is_collar & random.bernoulli(0.6, count, 1))
    mark = torch.where(covered, 1.0, 0.0)
    images[number, row] = images[number, row] * (1 - 0.5 * mark) + height * pattern * mark
    null = random.bernoulli(0.02, count, 1) & _make_arcs(random, count, columns)
    images[number, row] = torch.where(null, torch.nan, images[number, row])


def add_disturbances(
    random: RandomStream, images: Tensor, joint: Tensor, collar_distance: Tensor
) -> Tensor:
    """Brighten, in place, one side of the pipe below some collars.

    Return how strongly each pixel is disturbed, 0 to 1, (W, Z, A).
    """
    wells, count, columns = len(joint), int(joint.max()) + 1, images.shape[2]
    strength = random.rand(wells, count) * random.bernoulli(0.3, wells, count)
    reach = random.log_uniform(4.0, 25.0, wells, count)
    decay = strength.gather(1, joint) * (-collar_distance / reach.gather(1, joint)).exp()
    angle = 2 * pi / columns * torch.arange(columns, device=random.device)
    centre = (2 * pi * random.rand(wells, count)).gather(1, joint)
    disturbance = decay[..., None] * (0.5 + 0.5 * (angle - centre[..., None]).cos())
    height = random.uniform(-0.02, 0.08, wells, count)
    images += disturbance * height.gather(1, joint)[..., None]
    return disturbance


def add_noise(
    random: RandomStream,
    well: WellParameters,
    images: Tensor,
    disturbance: Tensor,
    roughness: Tensor,
    grooves: Tensor,
) -> None:
    """Add, in place, white noise, stronger where `roughness` (inches) is, and spikes.

    Both are denser on some azimuths; spikes also where `disturbance` (0 to 1) is and on the steep
    flanks of `grooves` (inches). All tensors are (W, Z, A).
    """
    wells, rows, columns = images.shape
    z = torch.arange(rows, device=random.device) / 200
    paths = random.smooth_paths(z.expand(wells, rows), 4)
    angle = 2 * pi / columns * torch.arange(columns, device=random.device)
    waves = torch.stack((angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()))
    density = (well.patchiness[:, None, None] * (paths @ waves)).exp()
    deviation = well.noise[:, None, None] * density + roughness
    images += deviation * random.normal(wells, rows, columns)
    flank = ((grooves - grooves.roll(1, -1)).abs() / STEEP_FLANK).clamp(max=1)
    rate = well.spikes[:, None, None] * density.square() + 0.1 * disturbance.square()
    rate += well.echo_loss[:, None, None] * flank
    number, row, column = random.bernoulli(rate, *images.shape).nonzero(as_tuple=True)
    height = random.log_uniform(0.03, 0.3, len(number))
    height *= (random.normal(len(number)) + well.spike_sign[number]).sign()
    width = random.log_uniform(0.5, well.spike_width[number], len(number))
    for step in range(4):
        wide = width > step
        images[number[wide], row[wide], (column[wide] + step) % columns] += height[wide]


def repeat_stuck_rows(
    random: RandomStream, well: WellParameters, images: Tensor, label: Tensor
) -> None:
    """Repeat, in place, a row of `images` and `label` (W, Z, A) while the tool stands still."""
    wells, rows, _ = images.shape
    shape = (wells, 1, rows // 15 + 3)
    lengths = random.log_uniform(5.0, 60.0, *shape)
    gaps = lengths * (1 / well.stuck - 1)[:, None, None]
    intervals = random.intervals(lengths, gaps, rows)
    z = torch.arange(rows, device=random.device)
    first = (z - intervals.above.floor()).clamp(min=0)
    source = torch.where(intervals.inside, first, z)[:, 0].long()
    number, row = (source != z).nonzero(as_tuple=True)
    for plane in (images, label):
        plane[number, row] = plane[number, source[number, row]]


def add_nulls(random: RandomStream, well: WellParameters, images: Tensor) -> None:
    """Set, in place, runs of rows, or an arc of them, to NaN."""
    wells, rows, columns = images.shape
    shape = (wells, 1, rows // 9 + 3)
    lengths = random.log_uniform(1.0, float(MAX_NULL_ROWS), *shape)
    gap = (1 / well.nulls - 1)[:, None, None] * random.log_uniform(0.3, 2.0, *shape)
    intervals = random.intervals(lengths, (lengths * gap).clamp(min=8), rows)
    whole = intervals.pick(random.rand(*shape))[:, 0, :] < 0.6
    centre = intervals.pick(random.rand(*shape))
    reach = intervals.pick(random.uniform(0.02, 0.4, *shape))
    azimuth = torch.arange(columns, device=random.device) / columns
    offset = ((azimuth - centre[:, 0, :, None] + 0.5) % 1 - 0.5).abs()
    above, below = intervals.above, intervals.below
    chord = (above * below).clamp(min=0).sqrt() * 2 / (above + below)
    limit = (reach * chord * random.uniform(0.7, 1.3, wells, 1, rows))[:, 0, :, None]
    null = intervals.inside[:, 0, :, None] & (whole[..., None] | (offset < limit))
    images.masked_fill_(null, torch.nan)

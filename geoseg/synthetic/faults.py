"""What the instrument adds: collars, stray lines, noise, spikes and nulls.

W well, Z depth, A azimuth. A collar's rows are few, so they are made apart and written back.
"""

from math import pi

import torch
from torch import Tensor

from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import WellParameters

STEEP = 0.03  # inches from column to column, where a flank begins to lose the echo
LONGEST_NULL = 30  # rows: shorter than a patch, so that no patch is ever wholly null


def _arc(draw: RandomStream, count: int, columns: int) -> Tensor:
    """A random arc of the circumference in each of `count` rows, never the whole: (count, A)."""
    angle = 2 * pi / columns * torch.arange(columns, device=draw.device)
    away = (angle - 2 * pi * draw.unit(count, 1)).cos()
    return away > draw.uniform(-0.9, 0.9, count, 1)


def add_collars(
    draw: RandomStream, character: WellParameters, images: Tensor, since: Tensor
) -> None:
    """Overwrite, in place, the collars' rows and stray lines of `images` (W, Z, A).

    `since` (W, Z): rows since the joint's collar began. Some arcs of them become NaN.
    """
    wells, rows, columns = images.shape
    collar = since < character.collar[:, None]
    hit = torch.where(collar, draw.chance(0.65, wells, rows), False)
    hit |= draw.chance(character.strays[:, None], wells, rows)
    well, row = hit.nonzero(as_tuple=True)
    count = len(well)
    whole = collar[well, row, None]
    step = torch.arange(columns, device=draw.device) * 36 // columns  # of 10 degrees
    sign = 1 - 2.0 * (step % 2)
    order = draw.chance(character.collar_order[well, None], count, 1)
    pattern = torch.where(order, sign, draw.normal(count, 36).sign()[:, step])
    pattern = torch.where(_arc(draw, count, columns), pattern, draw.normal(count, 1).sign())
    pattern = torch.where(draw.chance(0.5, count, 1), pattern, pattern * draw.unit(count, columns))
    height = character.collar_height[well, None] * draw.log_uniform(0.25, 1.2, count, 1)
    height = height * torch.where(whole, 1.0, 0.3)
    mark = torch.where(_arc(draw, count, columns) | (whole & draw.chance(0.6, count, 1)), 1.0, 0.0)
    images[well, row] = images[well, row] * (1 - 0.5 * mark) + height * pattern * mark
    lost = draw.chance(0.02, count, 1) & _arc(draw, count, columns)
    images[well, row] = torch.where(lost, torch.nan, images[well, row])


def add_scars(draw: RandomStream, images: Tensor, joint: Tensor, since: Tensor) -> Tensor:
    """Brighten, in place, the disturbed side below some collars.

    Returns how strongly each pixel is disturbed, 0 to 1, (W, Z, A).
    """
    wells, count, columns = len(joint), int(joint.max()) + 1, images.shape[2]
    strength = draw.unit(wells, count) * draw.chance(0.3, wells, count)
    reach = draw.log_uniform(4.0, 25.0, wells, count)
    fading = strength.gather(1, joint) * (-since / reach.gather(1, joint)).exp()
    angle = 2 * pi / columns * torch.arange(columns, device=draw.device)
    side = (2 * pi * draw.unit(wells, count)).gather(1, joint)
    scar = fading[..., None] * (0.5 + 0.5 * (angle - side[..., None]).cos())
    images += scar * draw.uniform(-0.02, 0.08, wells, count).gather(1, joint)[..., None]
    return scar


def add_noise(
    draw: RandomStream,
    character: WellParameters,
    images: Tensor,
    scar: Tensor,
    rough: Tensor,
    carved: Tensor,
) -> None:
    """Add, in place, white noise, louder where `rough` (inches), and spikes.

    Both crowd on some azimuths, and spikes in `scar` (0 to 1) and on the steep flanks of what is
    `carved` (inches); all (W, Z, A).
    """
    wells, rows, columns = images.shape
    z = torch.arange(rows, device=draw.device) / 200
    paths = draw.smooth(z.expand(wells, rows), 4)
    angle = 2 * pi / columns * torch.arange(columns, device=draw.device)
    waves = torch.stack((angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()))
    crowd = (character.patchiness[:, None, None] * (paths @ waves)).exp()
    loudness = character.noise[:, None, None] * crowd + rough
    images += loudness * draw.normal(wells, rows, columns)
    flank = ((carved - carved.roll(1, -1)).abs() / STEEP).clamp(max=1)
    rate = character.spikes[:, None, None] * crowd.square() + 0.1 * scar.square()
    rate += character.echo[:, None, None] * flank
    well, row, column = draw.chance(rate, *images.shape).nonzero(as_tuple=True)
    height = draw.log_uniform(0.03, 0.3, len(well))
    height *= (draw.normal(len(well)) + character.spike_sign[well]).sign()
    smear = draw.log_uniform(0.5, character.smear[well], len(well))
    for step in range(4):
        kept = smear > step
        images[well[kept], row[kept], (column[kept] + step) % columns] += height[kept]


def hold_still(
    draw: RandomStream, character: WellParameters, images: Tensor, label: Tensor
) -> None:
    """Repeat, in place, a row while the tool stands still, in `images` and `label` (W, Z, A)."""
    wells, rows, _ = images.shape
    each = (wells, 1, rows // 15 + 3)
    lengths = draw.log_uniform(5.0, 60.0, *each)
    runs = draw.runs(lengths, (lengths * (1 / character.stuck - 1)[:, None, None]), rows)
    z = torch.arange(rows, device=draw.device)
    here = torch.where(runs.inside, (z - runs.above.floor()).clamp(min=0), z)[:, 0].long()
    well, row = (here != z).nonzero(as_tuple=True)
    for plane in (images, label):
        plane[well, row] = plane[well, here[well, row]]


def add_nulls(draw: RandomStream, character: WellParameters, images: Tensor) -> None:
    """Set, in place, runs of whole rows or of arcs of them to NaN."""
    wells, rows, columns = images.shape
    each = (wells, 1, rows // 9 + 3)
    lengths = draw.log_uniform(1.0, float(LONGEST_NULL), *each)
    idle = (1 / character.nulls - 1)[:, None, None] * draw.log_uniform(0.3, 2.0, *each)
    runs = draw.runs(lengths, (lengths * idle).clamp(min=8), rows)
    whole = runs.pick(draw.unit(*each))[:, 0, :] < 0.6
    centre, reach = runs.pick(draw.unit(*each)), runs.pick(draw.uniform(0.02, 0.4, *each))
    azimuth = torch.arange(columns, device=draw.device) / columns
    offset = ((azimuth - centre[:, 0, :, None] + 0.5) % 1 - 0.5).abs()
    chord = (runs.above * runs.below).clamp(min=0).sqrt() * 2 / (runs.above + runs.below)
    ragged = (reach * chord * draw.uniform(0.7, 1.3, wells, 1, rows))[:, 0, :, None]
    lost = runs.inside[:, 0, :, None] & (whole[..., None] | (offset < ragged))
    images.masked_fill_(lost, torch.nan)

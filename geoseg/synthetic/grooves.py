"""Grooves and their labels.

W well, T track, Z depth, A azimuth, N number of a stretch on its track. Each track carries one
groove at a time; tracks overlap, cross and so branch. Positions and widths are in columns of
10 degrees.
"""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.synthetic.random import RandomStream, Runs
from geoseg.synthetic.well_parameters import WellParameters

SHORTEST = 20  # rows, of a groove
LEAST_GAP = 45  # rows between grooves of a track: more than a label bridges
DEEPEST = 0.155  # inches, before a groove's roughness
STEEPEST = 0.24  # columns a row
# Width at half depth over width of the label, which takes the flanks in, the more the wider it is:
# 0.89 at 2 columns, 0.83 at 4.
CORE, FLANKS = 0.954, 0.9


def relief(height: Tensor, centre: Tensor, width: Tensor, flat: Tensor, columns: int) -> Tensor:
    """Sum the tracks' cross-sections: float32 inches (W, Z, A).

    All arguments (W, T, Z): `height` in inches, `centre` and `width` (at half height) in columns
    of 10 degrees, `flat` from 0 (Gaussian) to 1 (flat bottom). Rows of no height take no time.
    """
    wells, tracks, rows = height.shape
    azimuth = (torch.arange(columns, device=height.device) + 0.5) * (36 / columns)
    total = torch.zeros(wells * rows, columns, device=height.device)
    for track in range(tracks):
        there = height[:, track].flatten().nonzero()[:, 0]
        h, c, w, f = (x[:, track].flatten()[there, None] for x in (height, centre, width, flat))
        offset = (azimuth - c + 18).remainder(36) - 18
        square = (offset * (2 / w)).square_()
        total.index_add_(0, there, h * ((f - 1 - f * square) * square * log(2)).exp_())
    return total.view(wells, rows, columns)


def taper(runs: Runs, rows: Tensor) -> Tensor:
    """From 0 in the gaps to 1 inside, rising over `rows` (W, T, Z) at both ends."""
    return (torch.minimum(runs.above + 1, runs.below) / rows).clamp(0, 1)


def grooves(
    draw: RandomStream, character: WellParameters, joint: Tensor, columns: int
) -> tuple[Tensor, Tensor]:
    """Relief of the grooves, float32 inches (W, Z, A), at most 0, and their label, bool.

    `joint` (W, Z): the joint's number; a groove runs through collars, but not every joint wears
    alike.
    """
    wells, tracks = character.occupancy.shape
    rows = joint.shape[1]
    each = (wells, tracks, rows // SHORTEST + 3)
    per_well = [x[:, None, None] for x in (character.contrast, character.width, character.longest)]
    contrast, width, longest = per_well
    # The longer of two draws: most of a well's grooves are long ones.
    lengths = torch.maximum(*(draw.log_uniform(float(SHORTEST), longest, *each) for _ in range(2)))
    idle = (1 / character.occupancy - 1)[..., None] * (0.6 * draw.normal(*each)).exp()
    runs = draw.runs(lengths, (lengths * idle).clamp(min=LEAST_GAP), rows)

    def along(period: float) -> Tensor:
        z = torch.arange(rows, device=draw.device) / period
        return draw.smooth(z.expand(wells, rows) + draw.unit(wells, 1), tracks).mT

    depth = runs.pick(contrast * (0.35 * draw.normal(*each)).exp())
    depth = torch.maximum(depth, 1.2 * character.visible[:, None, None])
    wear = draw.normal(wells, tracks, int(joint.max()) + 1) * character.uneven[:, None, None]
    depth = depth * wear.exp().gather(2, joint[:, None].expand(-1, tracks, -1))
    envelope = taper(runs, runs.pick(draw.log_uniform(1.0, 40.0, *each)))
    fade = character.fade[:, None, None] * (along(90) + 0.5 * along(30))
    envelope = envelope * (1 + fade).clamp(0, 2)
    depth = (depth * envelope).clamp(max=DEEPEST)

    path = runs.pick(draw.uniform(0, 36, *each)) + _path(draw, character, rows, columns, tracks)
    spread = runs.pick((width * (0.2 * draw.normal(*each)).exp()).clamp(1.4, 6))
    spread = (spread * (1 + 0.12 * along(120)) * envelope.clamp(0.3, 1.5) ** 0.25).clamp(min=1.4)
    least = character.visible[:, None, None] * (3 / spread).sqrt()
    seen = _label_rows(depth > least)
    rough = (0.18 * along(7)).exp()
    flat = runs.pick(draw.unit(*each) * 0.6)
    core = (CORE * spread**FLANKS).clamp(min=1.3)
    image = relief(-depth * rough, path + 0.12 * along(12), core, flat, columns)
    return image, bands(path, spread, seen, columns)


def _path(
    draw: RandomStream, character: WellParameters, rows: int, columns: int, tracks: int
) -> Tensor:
    """Drift from each groove's own column: the sum of a smooth slope, (W, T, Z) columns."""
    wells = len(character.drift)
    z = torch.arange(rows, device=draw.device)
    slope = draw.smooth((z / 120).expand(wells, rows), tracks).mT
    burst = (0.8 * draw.smooth((z / 250).expand(wells, rows), tracks).mT).exp()
    rate = character.drift[:, None, None] / 100
    steepest = min(STEEPEST, 0.45 * 36 / columns)
    return (1.4 * rate * slope * burst).clamp(-steepest, steepest).cumsum(-1)


def _label_rows(visible: Tensor) -> Tensor:
    """Bridge gaps of up to 36 rows and drop runs of up to 14, as annotators do: bool (W, T, Z)."""

    def grow(rows: Tensor, size: int) -> Tensor:
        return F.max_pool1d(rows, size, 1, size // 2)

    closed = -grow(-grow(visible.float(), 37), 37)
    return grow(-grow(-closed, 15), 15) > 0.5


def bands(path: Tensor, width: Tensor, seen: Tensor, columns: int) -> Tensor:
    """Labels as upright bands, bool (W, Z, A).

    Edges are whole columns. The left one may step at every `hold`-th row and the right one
    half-way between, so that only one edge moves at a time, by one column.
    """
    hold = 2 * max(1, round(72 / columns))
    z = torch.arange(path.shape[-1], device=path.device)
    scale = columns / 36
    left = ((path - width / 2) * scale).round()[..., z // hold * hold]
    later = ((z + hold // 2) // hold * hold - hold // 2).clamp(min=0)
    right = ((path + width / 2) * scale).round()[..., later]
    azimuth = torch.arange(columns, device=path.device)
    label = torch.zeros(1, dtype=torch.bool, device=path.device)
    for track in range(path.shape[1]):
        first, size, rows = (x[:, track, :, None] for x in (left, right - left, seen))
        label = label | (((azimuth - first) % columns < size.clamp(min=1)) & rows)
    return label


def corrupt_labels(masks: Tensor, share: float, seed: int) -> Tensor:
    """Masks (N, Z, A) of which about a `share` of those with a groove are wrong as annotators are.

    A third of them has lost its grooves, a third is a column off and a third is two columns too
    wide. The same seed spoils the same patches. ValueError for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of spoilt labels is {share}; it must be from 0 to 1")
    draw = RandomStream(seed, masks.device)
    kind = (draw.unit(len(masks), 1, 1) / max(share, 1e-9) * 3).floor()
    side = torch.where(draw.chance(0.5, len(masks), 1, 1), masks.roll(1, -1), masks.roll(-1, -1))
    wide = masks | masks.roll(1, -1) | masks.roll(-1, -1)
    spoilt = torch.where(kind == 1, side, torch.where(kind == 2, wide, masks))
    return torch.where(kind == 0, 0, spoilt).to(torch.uint8)

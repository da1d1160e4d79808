"""Grooves and their labels.

W well, T track, Z depth, A azimuth, N number of a groove on its track. Each track carries one
groove at a time; tracks overlap, cross and so branch. Positions and widths are in columns of
10 degrees.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.synthetic.random import Intervals, RandomStream
from geoseg.synthetic.well_parameters import WellParameters

MIN_LENGTH = 20  # rows of a groove
MIN_GAP = 45  # rows between grooves of a track: more than a label bridges
MAX_DEPTH = 0.155  # inches, before the roughness of a groove
MAX_SLOPE = 0.24  # columns per row
# Width at half depth over width of the label, which includes the flanks and the more so the wider
# the groove is: 0.89 at 2 columns, 0.83 at 4.
CORE_FACTOR, CORE_POWER = 0.954, 0.9


class Tracks(NamedTuple):
    """The labelled grooves of each track, all (W, T, Z).

    `number` (int64) counts the grooves of a track, -1 in rows without a label. `depth` (inches)
    is the height of the cross-section; `centre` and `width` (of the label) are in columns of 10
    degrees, and `centre` is not brought back into 0 to 36.
    """

    number: Tensor
    depth: Tensor
    centre: Tensor
    width: Tensor


def make_relief(
    height: Tensor, centre: Tensor, width: Tensor, flatness: Tensor, columns: int
) -> Tensor:
    """Sum the cross-sections of all tracks, float32 inches (W, Z, A).

    All arguments are (W, T, Z): `height` in inches, `centre` and `width` (at half height) in
    columns of 10 degrees, `flatness` from 0 (Gaussian) to 1 (flat bottom). Rows of height 0 are
    skipped.
    """
    wells, tracks, rows = height.shape
    azimuth = (torch.arange(columns, device=height.device) + 0.5) * (36 / columns)
    total = torch.zeros(wells * rows, columns, device=height.device)
    for track in range(tracks):
        present = height[:, track].flatten().nonzero()[:, 0]
        h, c, w, f = (
            x[:, track].flatten()[present, None] for x in (height, centre, width, flatness)
        )
        offset = (azimuth - c + 18).remainder(36) - 18
        square = (offset * (2 / w)).square_()
        total.index_add_(0, present, h * ((f - 1 - f * square) * square * log(2)).exp_())
    return total.view(wells, rows, columns)


def make_taper(intervals: Intervals, rows: Tensor) -> Tensor:
    """Return 0 in the gaps and 1 inside, rising over `rows` (W, T, Z) at both ends."""
    return (torch.minimum(intervals.above + 1, intervals.below) / rows).clamp(0, 1)


def make_grooves(
    random: RandomStream, well: WellParameters, joint: Tensor, columns: int
) -> tuple[Tensor, Tensor, Tracks]:
    """Return the relief of the grooves, float32 inches (W, Z, A), at most 0, the label, bool, and
    the grooves that are labelled.

    `joint` (W, Z) is the number of the joint: grooves continue through collars, but their depth
    differs from joint to joint.
    """
    rows = joint.shape[1]
    shape = (*well.occupancy.shape, rows // MIN_LENGTH + 3)  # (W, T, N)
    longest = well.longest[:, None, None]
    # The longer of two samples: most grooves of a well are long.
    lengths = torch.maximum(
        *(random.log_uniform(float(MIN_LENGTH), longest, *shape) for _ in range(2))
    )
    gap = (1 / well.occupancy - 1)[..., None] * (0.6 * random.normal(*shape)).exp()
    intervals = random.intervals(lengths, (lengths * gap).clamp(min=MIN_GAP), rows)
    depth, envelope = _make_depth(random, well, joint, intervals, shape)
    centre = intervals.pick(random.uniform(0, 36, *shape))
    centre = centre + _make_drift(random, well, rows, columns, shape[1])
    width = well.width[:, None, None] * (0.2 * random.normal(*shape)).exp()
    width = intervals.pick(width.clamp(1.4, 6)) * (1 + 0.12 * _vary(random, intervals, 120))
    width = (width * envelope.clamp(0.3, 1.5) ** 0.25).clamp(min=1.4)
    least = well.min_contrast[:, None, None] * (3 / width).sqrt()
    labelled = _select_label_rows(depth > least)
    roughness = (0.18 * _vary(random, intervals, 7)).exp()
    flatness = intervals.pick(random.rand(*shape) * 0.6)
    core = (CORE_FACTOR * width**CORE_POWER).clamp(min=1.3)
    wobble = 0.12 * _vary(random, intervals, 12)
    image = make_relief(-depth * roughness, centre + wobble, core, flatness, columns)
    number = torch.where(labelled, intervals.index, -1)
    label = make_label_bands(centre, width, labelled, columns)
    return image, label, Tracks(number, depth, centre, width)


def _make_depth(
    random: RandomStream,
    well: WellParameters,
    joint: Tensor,
    intervals: Intervals,
    shape: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Return the depth (inches) and its envelope along each groove, 0 in the gaps, (W, T, Z)."""
    wells, tracks = shape[:2]
    depth = well.contrast[:, None, None] * (0.35 * random.normal(*shape)).exp()
    depth = torch.maximum(intervals.pick(depth), 1.2 * well.min_contrast[:, None, None])
    wear = random.normal(wells, tracks, int(joint.max()) + 1) * well.wear_variation[:, None, None]
    depth = depth * wear.exp().gather(2, joint[:, None].expand(-1, tracks, -1))
    envelope = make_taper(intervals, intervals.pick(random.log_uniform(1.0, 40.0, *shape)))
    fade = _vary(random, intervals, 90) + 0.5 * _vary(random, intervals, 30)
    envelope = envelope * (1 + well.fade[:, None, None] * fade).clamp(0, 2)
    return (depth * envelope).clamp(max=MAX_DEPTH), envelope


def _vary(random: RandomStream, intervals: Intervals, period: float) -> Tensor:
    """Return smooth variation of unit variance over `period` rows along each track, (W, T, Z)."""
    wells, tracks, rows = intervals.index.shape
    z = torch.arange(rows, device=random.device) / period
    return random.smooth_paths(z.expand(wells, rows) + random.rand(wells, 1), tracks).mT


def _make_drift(
    random: RandomStream, well: WellParameters, rows: int, columns: int, tracks: int
) -> Tensor:
    """Return the drift from each groove's first column, the sum of a smooth slope, (W, T, Z)."""
    wells = len(well.drift)
    z = torch.arange(rows, device=random.device)
    slope = random.smooth_paths((z / 120).expand(wells, rows), tracks).mT
    burst = (0.8 * random.smooth_paths((z / 250).expand(wells, rows), tracks).mT).exp()
    rate = well.drift[:, None, None] / 100
    limit = min(MAX_SLOPE, 0.45 * 36 / columns)
    return (1.4 * rate * slope * burst).clamp(-limit, limit).cumsum(-1)


def _select_label_rows(visible: Tensor) -> Tensor:
    """Bridge gaps of up to 36 rows and drop runs of up to 14, as annotators do: bool (W, T, Z)."""

    def dilate(rows: Tensor, size: int) -> Tensor:
        return F.max_pool1d(rows, size, 1, size // 2)

    closed = -dilate(-dilate(visible.float(), 37), 37)
    return dilate(-dilate(-closed, 15), 15) > 0.5


def make_label_bands(centre: Tensor, width: Tensor, labelled: Tensor, columns: int) -> Tensor:
    """Return the labels as bands with edges on whole columns, bool (W, Z, A).

    The left edge may step at every `hold`-th row and the right one half-way between, so that only
    one edge steps at a time, by one column.
    """
    hold = 2 * max(1, round(72 / columns))
    z = torch.arange(centre.shape[-1], device=centre.device)
    scale = columns / 36
    left = ((centre - width / 2) * scale).round()[..., z // hold * hold]
    later = ((z + hold // 2) // hold * hold - hold // 2).clamp(min=0)
    right = ((centre + width / 2) * scale).round()[..., later]
    azimuth = torch.arange(columns, device=centre.device)
    label = torch.zeros(1, dtype=torch.bool, device=centre.device)
    for track in range(centre.shape[1]):
        first, size, rows = (x[:, track, :, None] for x in (left, right - left, labelled))
        label = label | (((azimuth - first) % columns < size.clamp(min=1)) & rows)
    return label


def corrupt_labels(masks: Tensor, share: float, seed: int) -> Tensor:
    """Return masks (N, Z, A) with the label errors of annotators in about a `share` of them.

    Of the corrupted masks, a third loses its grooves, a third is shifted by a column and a third is
    two columns too wide. The same seed corrupts the same masks. Raise ValueError for a share
    outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of corrupted labels is {share}; it must be from 0 to 1")
    random = RandomStream(seed, masks.device)
    kind = (random.rand(len(masks), 1, 1) / max(share, 1e-9) * 3).floor()
    shifts_right = random.bernoulli(0.5, len(masks), 1, 1)
    shifted = torch.where(shifts_right, masks.roll(1, -1), masks.roll(-1, -1))
    wide = masks | masks.roll(1, -1) | masks.roll(-1, -1)
    corrupted = torch.where(kind == 1, shifted, torch.where(kind == 2, wide, masks))
    return torch.where(kind == 0, 0, corrupted).to(torch.uint8)

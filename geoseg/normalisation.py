"""Normalisation: raw measurements to the input of a model.

B batch, Z depth, A azimuth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# The median of |x| is 0.6745 standard deviations of a normal distribution.
_MEDIAN_TO_DEVIATION = 1 / 0.6745
# Of the largest magnitude: a smaller spread is that of a blank patch with single readings far out.
# Real patches have 0.005 and more. Relative, so that no unit matters.
_MIN_SPREAD = 1e-6
_PATCH_ROWS = 36  # rows of a patch in the data set


def _spread(images: Tensor, valid: Tensor) -> Tensor:
    """Return the robust spread of each row of images (B, Z, A), as (B, Z, 1).

    It is interpolated between the spreads of patches of about 36 rows.
    """
    magnitudes = images.abs().where(valid, torch.nan)
    slices = magnitudes.tensor_split(max(1, round(images.shape[1] / _PATCH_ROWS)), 1)
    medians = torch.stack([part.flatten(1).nanmedian(1).values for part in slices], 1)
    # The median of a patch of nulls is NaN: such a patch counts as blank.
    rows = medians.nan_to_num(0.0)
    if len(slices) > 1:  # interpolate between their centres, without those of nulls only
        weighted = torch.stack((medians.nan_to_num(0.0), medians.isfinite().float()), 1)
        total, weight = interpolate(weighted, images.shape[1], mode="linear").unbind(1)
        typical = medians.nanmedian(1, keepdim=True).values.nan_to_num(0.0)
        rows = torch.where(weight > 0, total / weight, typical)
    largest = magnitudes.nan_to_num(0.0).flatten(1).amax(1)[:, None]
    least = torch.where(largest > 0, largest * _MIN_SPREAD, 1.0)
    return torch.maximum(rows * _MEDIAN_TO_DEVIATION, least)[..., None]


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of a checkpoint's input.

    Attributes:
        scale: divisor of the values, in the unit of the images. None takes the robust spread of
            each patch (the median of its absolute values, as a standard deviation), which makes a
            model independent of gain and unit. The spread of a log
            varies with depth: it follows that of patches of 36 rows.
        compress: apply the inverse hyperbolic sine after the division: linear for texture,
            logarithmic for collars and spikes.
        mask: add a second channel, 1 at valid pixels and 0 at nulls.
    """

    scale: float | None = None
    compress: bool = True
    mask: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale <= torch.finfo(torch.float32).max:
            raise ValueError(f"scale is {self.scale}; it must be above 0 and finite, or None")

    @property
    def channels(self) -> int:
        """The number of channels of the inputs, 1 or 2."""
        return 2 if self.mask else 1

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (B, C, Z, A) float32 and valid (B, Z, A) of raw images (B, Z, A).

        Images have NaN at nulls; C is `channels`. Commutes with rolls, and with flips if Z is a
        multiple of 36.
        """
        images = images.float()
        valid = images.isfinite()
        filled = images.where(valid, 0.0)  # the mean of every row
        inputs = filled / (_spread(images, valid) if self.scale is None else self.scale)
        if self.compress:
            inputs = inputs.asinh()
        return torch.stack((inputs, valid.to(inputs)) if self.mask else (inputs,), 1), valid


RAW = Normalisation(scale=1.0, compress=False)
"""The normalisation of the original project: none."""

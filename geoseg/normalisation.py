"""The one place where raw measurements become what a model sees.

B batch, Z depth, A azimuth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# The median of |x| is 0.6745 standard deviations of a normal distribution.
_MEDIAN_TO_DEVIATION = 1 / 0.6745
# A tenth of the smallest noise floor measured on real logs (0.0009 inch): a patch quieter than
# this is blank, and dividing by its spread would only magnify rounding.
_QUIETEST = 1e-4
_SLICE = 36  # rows of a log that make a patch, as the data set cuts it


def fill_nulls(images: Tensor) -> tuple[Tensor, Tensor]:
    """Split images of any shape, NaN at nulls, into (filled, valid).

    `filled` has 0 at nulls, the mean of every row of this signal; `valid` is bool, True elsewhere.
    """
    valid = images.isfinite()
    return torch.where(valid, images, 0.0), valid


def _spread(images: Tensor, valid: Tensor) -> Tensor:
    """The robust spread of each row of images (B, Z, A), (B, Z, 1): that of the slices about it."""
    size = images.abs().where(valid, torch.nan)
    slices = size.tensor_split(max(1, round(images.shape[1] / _SLICE)), 1)
    medians = torch.stack([part.flatten(1).nanmedian(1).values for part in slices], 1)
    # The median of nothing is NaN: a patch without a measurement counts as blank.
    rows = medians.nan_to_num(0.0)
    if len(slices) > 1:  # between the slices' middles, those without a measurement left out
        known = torch.stack((medians.nan_to_num(0.0), medians.isfinite().float()), 1)
        total, weight = interpolate(known, images.shape[1], mode="linear").unbind(1)
        typical = medians.nanmedian(1, keepdim=True).values.nan_to_num(0.0)
        rows = torch.where(weight > 0, total / weight, typical)
    return (rows * _MEDIAN_TO_DEVIATION).clamp(min=_QUIETEST)[..., None]


@dataclass(frozen=True)
class Normalisation:
    """How a checkpoint wants its input.

    Attributes:
        scale: what a value is divided by, in the unit of the images; None takes each patch's own
            robust spread (the median of its absolute values, as a standard deviation), which makes
            a model blind to gain and to unit, as long as the spread is above 1e-4. A log's spread
            changes with depth, as that of its slices of 36 rows does.
        compress: then take the inverse hyperbolic sine, linear for texture and logarithmic for
            collars and spikes, so that these do not drown the rest.
        mask: give the model a second channel, 1 where there is a measurement and 0 at nulls, so
            that it can tell a null from a row's mean.
    """

    scale: float | None = None
    compress: bool = True
    mask: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale <= torch.finfo(torch.float32).max:
            raise ValueError(f"scale is {self.scale}; it must be above 0 and finite, or None")

    @property
    def channels(self) -> int:
        """How many channels the inputs have, 1 or 2."""
        return 2 if self.mask else 1

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw images (B, Z, A), NaN at nulls -> (inputs (B, C, Z, A) float32, valid (B, Z, A)).

        C is `channels`. Commutes with rolls, and with flips where slices are whole.
        """
        images = images.float()
        filled, valid = fill_nulls(images)
        inputs = filled / (_spread(images, valid) if self.scale is None else self.scale)
        if self.compress:
            inputs = inputs.asinh()
        return torch.stack((inputs, valid.to(inputs)) if self.mask else (inputs,), 1), valid


RAW = Normalisation(scale=1.0, compress=False)
"""The original project's choice: values as they come."""

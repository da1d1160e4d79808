"""The one place where raw measurements become what a model sees.

B batch, Z depth, A azimuth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The median of |x| is 0.6745 standard deviations of a normal distribution.
_MEDIAN_TO_DEVIATION = 1 / 0.6745
# A tenth of the smallest noise floor measured on real logs (0.0009 inch): a patch quieter than
# this is blank, and dividing by its spread would only magnify rounding.
_QUIETEST = 1e-4


def fill_nulls(images: Tensor) -> tuple[Tensor, Tensor]:
    """Split images of any shape, NaN at nulls, into (filled, valid).

    `filled` has 0 at nulls, the mean of every row of this signal; `valid` is bool, True elsewhere.
    """
    valid = images.isfinite()
    return torch.where(valid, images, 0.0), valid


@dataclass(frozen=True)
class Normalisation:
    """How a checkpoint wants its input.

    Attributes:
        scale: what a value is divided by, in the unit of the images; None takes each patch's own
            robust spread (the median of its absolute values, as a standard deviation), which makes
            a model blind to gain and to unit.
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

        C is `channels`. Commutes with rolls and flips.
        """
        filled, valid = fill_nulls(images.float())
        if self.scale is None:
            size = torch.where(valid, filled.abs(), torch.nan).flatten(1)
            # The median of nothing is NaN: a patch without a measurement counts as blank.
            median = size.nanmedian(1).values.nan_to_num(0.0)
            spread = (median * _MEDIAN_TO_DEVIATION).clamp(min=_QUIETEST)[:, None, None]
        else:
            spread = torch.tensor(self.scale)
        inputs = filled / spread
        if self.compress:
            inputs = inputs.asinh()
        return torch.stack((inputs, valid.to(inputs)) if self.mask else (inputs,), 1), valid


RAW = Normalisation(scale=1.0, compress=False)
"""The original project's choice: values as they come."""

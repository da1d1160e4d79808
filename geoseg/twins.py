"""Twins: a log of 72 columns as two of 36.

The data set cuts a log of 72 columns (5 degrees each) into its even and its odd columns, so that
each column is 10 degrees, as in every other log. Z depth, A azimuth.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

TWIN_COLUMNS = 72

# The least `twin_correlation` of twins. Over whole wells it is 0.41 and 0.59 in the two real ones
# and 0.34 to 0.83 in synthetic ones; between patches that are not twins it is 0 +- 0.03.
TWIN_CORRELATION = 0.2
_SPIKE = 6  # medians of the absolute steps; larger steps are clipped to it

Value = TypeVar("Value", bound=np.generic)


def is_twin_log(log: NDArray[np.generic]) -> bool:
    """Return whether an array is one log (Z, 72)."""
    return log.ndim == 2 and log.shape[1] == TWIN_COLUMNS


def split_twins(log: NDArray[Value]) -> NDArray[Value]:
    """Return the even and the odd columns of a log (Z, A), A even, as (2, Z, A / 2)."""
    return np.stack([log[:, 0::2], log[:, 1::2]])


def join_twins(twins: NDArray[Value]) -> NDArray[Value]:
    """Return the log (Z, A) whose even and odd columns are `twins` (2, Z, A / 2)."""
    return np.stack(list(twins), axis=-1).reshape(twins.shape[1], -1)


def twin_correlation(even: NDArray[np.float32], odd: NDArray[np.float32]) -> float:
    """Return the correlation of patches (N, Z, A) with their supposed twins.

    Column c of the odd twin lies midway between the columns c and c + 1 of the even one. The steps
    from row to row are compared, since everything else is similar at every depth of a pipe. The
    result is NaN if both have too few valid pixels.
    """
    midway = (even + np.roll(even, -1, axis=2)) / 2
    steps = [np.diff(part.astype(np.float64), axis=1) for part in (odd, midway)]
    valid = ~np.isnan(steps[0] + steps[1])
    if not valid.any():
        return float("nan")
    a, b = (_clip_spikes(step[valid]) for step in steps)
    power = np.sqrt((a * a).mean() * (b * b).mean())
    return float((a * b).mean() / power) if power > 0 else float("nan")


def _clip_spikes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    limit = _SPIKE * np.median(np.abs(values))
    return np.clip(values, -limit, limit)

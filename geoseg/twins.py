"""Logs recorded at twice the columns, as two of the usual width.

The data set cuts a log of 72 columns (5 degrees each) into its even and its odd ones, so that a
model sees 10 degrees a column everywhere. Z depth, A azimuth.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

TWIN_COLUMNS = 72

# From what `twin_correlation` twins are believed. Over whole wells it is 0.41 and 0.59 in the two
# real ones and 0.34 to 0.83 in synthetic ones; between patches that are no twins it is 0 +- 0.03.
TWIN_CORRELATION = 0.2
_SPIKES = 6  # medians: what lies beyond says as much as a spike, and no more

Value = TypeVar("Value", bound=np.generic)


def split_twins(log: NDArray[Value]) -> NDArray[Value]:
    """Even and odd columns of a log (Z, A), A even, as (2, Z, A / 2)."""
    return np.stack([log[:, 0::2], log[:, 1::2]])


def join_twins(twins: NDArray[Value]) -> NDArray[Value]:
    """The log (Z, A) whose even and odd columns are `twins` (2, Z, A / 2)."""
    return np.stack(list(twins), axis=-1).reshape(twins.shape[1], -1)


def twin_correlation(even: NDArray[np.float32], odd: NDArray[np.float32]) -> float:
    """How alike patches (N, Z, A) and their supposed twins are, row by row: a correlation.

    Column c of the odd twin lies midway between the columns c and c + 1 of the even one. Compared
    are the steps from row to row, since all else is much the same at any depth of a pipe. NaN
    where too little was measured in both to tell.
    """
    midway = (even + np.roll(even, -1, axis=2)) / 2
    steps = [np.diff(part.astype(np.float64), axis=1) for part in (odd, midway)]
    known = ~np.isnan(steps[0] + steps[1])
    if not known.any():
        return float("nan")
    a, b = (_without_spikes(step[known]) for step in steps)
    power = np.sqrt((a * a).mean() * (b * b).mean())
    return float((a * b).mean() / power) if power > 0 else float("nan")


def _without_spikes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    most = _SPIKES * np.median(np.abs(values))
    return np.clip(values, -most, most)

"""Logs recorded at twice the columns, as two of the usual width.

The data set cuts a log of 72 columns (5 degrees each) into its even and its odd ones, so that a
model sees 10 degrees a column everywhere. Z depth, A azimuth.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

TWIN_COLUMNS = 72

Value = TypeVar("Value", bound=np.generic)


def split_twins(log: NDArray[Value]) -> NDArray[Value]:
    """Even and odd columns of a log (Z, A), A even, as (2, Z, A / 2)."""
    return np.stack([log[:, 0::2], log[:, 1::2]])


def join_twins(twins: NDArray[Value]) -> NDArray[Value]:
    """The log (Z, A) whose even and odd columns are `twins` (2, Z, A / 2)."""
    return np.stack(list(twins), axis=-1).reshape(twins.shape[1], -1)

"""Robust statistics of valid values: NaN is ignored, and no valid value gives NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

MAD_TO_STD = 1.4826  # for a normal distribution


def quantile(values: Floats, q: float) -> float:
    """Return the quantile `q`, 0 to 1."""
    values = values[np.isfinite(values)]
    return float(np.quantile(values, q)) if values.size else np.nan


def median(values: Floats) -> float:
    """Return the median."""
    return quantile(values, 0.5)


def robust_std(values: Floats) -> float:
    """Return the robust standard deviation: 1.4826 times the median distance from the median."""
    return MAD_TO_STD * median(np.abs(values - median(values)))


def share(chosen: Bools, valid: Bools) -> float:
    """Return the share of `valid` that is `chosen`, 0 to 1."""
    return float((chosen & valid).sum() / valid.sum()) if valid.any() else np.nan

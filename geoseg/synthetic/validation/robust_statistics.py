"""Statistics of what was measured, which may be missing: NaN is left out, and nothing gives NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

MAD = 1.4826  # times the median absolute deviation is the standard deviation of a normal law


def quantile(values: Floats, q: float) -> float:
    """The quantile `q`, 0 to 1."""
    values = values[np.isfinite(values)]
    return float(np.quantile(values, q)) if values.size else np.nan


def median(values: Floats) -> float:
    """The median."""
    return quantile(values, 0.5)


def deviation(values: Floats) -> float:
    """The robust standard deviation: 1.4826 times the median distance from the median."""
    return MAD * median(np.abs(values - median(values)))


def share(chosen: Bools, among: Bools) -> float:
    """How many are chosen, of how many: 0 to 1."""
    return float((chosen & among).sum() / among.sum()) if among.any() else np.nan

"""What an array measures: nulls, unit, row means, sign, axes; and what was assumed, in words.

Every way in ends here: the page, REST, MCP, Python, every command, and training data. Z depth,
A azimuth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.null_codes import find_null_codes
from geoseg.patches import AllNullError, PatchError, Source, read_arrays

COLUMNS = 36  # of a patch in the data set, 10 degrees each
MIN_COLUMNS, MAX_COLUMNS = 24, 360  # of an image round the pipe

# Inches in one unit.
UNITS = {"inch": 1.0, "mil": 1e-3, "mm": 1 / 25.4, "um": 1 / 25400, "m": 1 / 0.0254}
_NAMES = {"inch": "inches", "mil": "mils", "mm": "millimetres", "um": "micrometres", "m": "metres"}
# The spread of 36 rows of nine real logs is 0.005 to 0.055 inch, so that the ranges of the units do
# not overlap: each unit up to the geometric mean of its largest and the next unit's least spread.
_SPREADS = {"m": 0.0027, "inch": 0.085, "mm": 2.7, "mil": 85.0, "um": 4000.0}
_LEAST_SPREAD = 5e-5  # a hundredth of the least: a blank image
_TYPICAL_SPREAD = 0.0135  # inch

# Typical means of rows and columns, in spreads. Real twins, whose means were removed from both
# together, have row means up to 0.07, those of a well with a stuck sensor 0.4; joints whose walls
# differ by 3% have 0.5, thickness about 27. Columns have at least 0.08.
_MEAN_LIMIT = 0.2
_LOG_ROWS = 144  # an image of as many is a log, not a patch
_TRANSPOSED_ROWS, _TRANSPOSED_COLUMNS = 0.12, 0.07


@dataclass(frozen=True)
class MeasurementOptions:
    """What the user says of the measurements, instead of what is found.

    Attributes:
        losses: the sign of wall losses in the file, "negative" (thickness) or "positive" (radius).
        unit: of the values, one of UNITS; "auto" finds the one that suits the wall's texture.
        nulls: null codes; "auto" finds them, and an empty collection leaves NaN and infinities.
    """

    losses: Literal["negative", "positive"] = "negative"
    unit: str = "auto"
    nulls: Collection[float] | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.losses not in ("negative", "positive"):
            raise ValueError(f"losses are {self.losses!r}; choose negative or positive")
        if self.unit != "auto" and self.unit not in UNITS:
            raise ValueError(f"unknown unit {self.unit!r}; choose auto, {', '.join(UNITS)}")


DEFAULT = MeasurementOptions()


@dataclass(frozen=True, eq=False)
class Log:
    """One log, or one patch: a log of 36 rows.

    Attributes:
        image: float32 (Z, A), wall thickness minus its row mean in inches: losses are negative,
            nulls NaN.
        name: of the file, without its folder; "" for bytes and arrays.
        assumptions: what was assumed or changed, a sentence by the kind of the assumption:
            "nulls", "unit", "row means", "sign", "azimuth".
        unit: the unit of the file's values, one of UNITS, or "unknown".
        inches: inches in one unit of the file's values.
        depth: float64 (Z,), the depth of each row in `depth_unit`; None if the file has none.
        depth_unit: such as "ft" or "m"; "" if it is not known.
        channel: the name of the image in its file; "" if it has none.
        nominal, diameter: nominal wall and outer diameter in inches, where the file says so.
    """

    image: NDArray[np.float32]
    name: str = ""
    assumptions: Mapping[str, str] = field(default_factory=dict)
    unit: str = "inch"
    inches: float = 1.0
    depth: NDArray[np.float64] | None = None
    depth_unit: str = ""
    channel: str = ""
    nominal: float | None = None
    diameter: float | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed or changed, in plain sentences; () if nothing was."""
        return tuple(self.assumptions.values())


def read_npy_log(source: Source, options: MeasurementOptions = DEFAULT) -> Log:
    """Read the log, or the patch, of a `.npy` file: its path or its bytes.

    Raise PatchError if the file is missing, damaged, of another kind, a stack of several patches,
    transposed, or null everywhere.
    """
    logs = read_logs(source, options)
    if len(logs) != 1:
        name = logs[0].name.removesuffix(" [0]")
        raise PatchError(
            f"{name} is a stack of {len(logs):,} patches; lay it out with python -m geoseg.dataset "
            "import."
        )
    return logs[0]


def read_logs(source: Source, options: MeasurementOptions = DEFAULT) -> list[Log]:
    """Read the logs of a `.npy` file: one of (Z, A), or those of a stack (N, Z, A) or (N, Z, A, 1).

    Raise PatchError as `read_npy_log`; the first unusable patch of a stack is named.
    """
    name, arrays = read_arrays(source)
    if len(arrays) == 1:
        return [interpret(arrays[0], options, name)]
    return [interpret(array, options, f"{name} [{i}]") for i, array in enumerate(arrays)]


def read_patch(source: Source, options: MeasurementOptions = DEFAULT) -> NDArray[np.float32]:
    """Return the image of `read_npy_log`: float32 (Z, A) in inches, NaN at nulls."""
    return read_npy_log(source, options).image


def interpret(
    array: NDArray[np.generic], options: MeasurementOptions = DEFAULT, name: str = ""
) -> Log:
    """Return the log that an array (Z, A) of real numbers measures.

    An array without null codes, in inches, whose row means are 0, comes back bit for bit: so does
    the image of any Log. Raise AllNullError if nothing is measured, PatchError if the array is
    transposed or is a mask.
    """
    subject = name or "The array"
    _check_width(array.shape, subject)
    with np.errstate(all="ignore"):  # a file may hold any value
        return _interpret(array, options, name, subject)


def _interpret(
    array: NDArray[np.generic], options: MeasurementOptions, name: str, subject: str
) -> Log:
    assumptions: dict[str, str] = {}
    values = _remove_nulls(array, options.nulls, assumptions)
    if np.isnan(values).all():
        raise AllNullError(f"{subject} holds no measurement, only nulls; choose another patch.")
    _refuse_mask(values, subject)
    if options.losses == "positive":
        values = -values
        assumptions["sign"] = "Losses are positive in the file; the values were negated."
    values = _remove_row_means(values, subject, assumptions)
    values, unit, inches = _convert(values, options.unit, assumptions)
    if note := describe_columns(values.shape[1]):
        assumptions["azimuth"] = note
    return Log(values.astype(np.float32, copy=False), name, assumptions, unit, inches)


def summarise_assumptions(logs: Iterable[Log]) -> tuple[str, ...]:
    """Return what was assumed of several logs: for each kind how many, and the first sentence."""
    number = 0
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for log in logs:
        number += 1
        counts.update(log.assumptions.keys())
        first = {**log.assumptions, **first}
    return tuple(
        f"{kind.capitalize()}: {count:,} of {number:,} patches; the first: {first[kind]}"
        for kind, count in sorted(counts.items())
    )


def describe_columns(columns: int) -> str:
    """Return what the segmenter does with so many columns, in a sentence; "" for 36."""
    if columns == COLUMNS:
        return ""
    if columns % COLUMNS == 0:
        parts = columns // COLUMNS
        return (
            f"The {columns} columns are segmented as {parts} sets of {COLUMNS}, every "
            f"{'second' if parts == 2 else f'{parts}th'} column, as the models were trained."
        )
    few = "" if columns >= MIN_COLUMNS else "; grooves narrower than a column cannot be seen"
    return (
        f"The {columns} columns are interpolated to {COLUMNS} of 10 degrees for the models, and "
        f"the probabilities belong to the {columns} columns{few}."
    )


def _check_width(shape: tuple[int, ...], subject: str) -> None:
    rows, columns = shape
    if columns <= MAX_COLUMNS:
        return
    if MIN_COLUMNS <= rows <= MAX_COLUMNS:
        raise PatchError(
            f"{subject} looks transposed: it has {rows} rows and {columns:,} columns, but columns "
            f"go round the pipe; save array.T."
        )
    raise PatchError(
        f"{subject} has {columns:,} columns; geoseg takes up to {MAX_COLUMNS} columns round the "
        "pipe, in the order (depth, azimuth)."
    )


def _remove_nulls(
    array: NDArray[np.generic],
    nulls: Collection[float] | Literal["auto"],
    assumptions: dict[str, str],
) -> NDArray[np.floating]:
    """Return the values as float32 or float64, whichever keeps them, with NaN at nulls."""
    codes = np.array([*(find_null_codes(array) if nulls == "auto" else nulls)], np.float64)
    if array.dtype.kind == "f":
        codes = codes.astype(array.dtype)  # float32 holds -999.99 only nearly
    kept = array.dtype.itemsize < 4 or array.dtype == np.float32
    values: NDArray[np.floating] = array.astype(np.float32 if kept else np.float64, order="C")
    null = ~(np.abs(values) <= np.finfo(np.float32).max)  # NaN compares false
    null |= np.isin(array, codes)
    codes = codes[np.isin(codes, array)]
    values[null] = np.nan
    if count := int(null.sum()):
        listed = ", ".join(f"{code:.7g}" for code in codes[:4])
        more = f" and {len(codes) - 4:,} others" if len(codes) > 4 else ""
        named = f" (code {listed}{more})" if len(codes) else ""
        assumptions["nulls"] = (
            f"{count:,} of {null.size:,} pixels are nulls{named}; their mask is 0 and their "
            "probability NaN."
        )
    return values


def _refuse_mask(values: NDArray[np.floating], subject: str) -> None:
    most = np.nanmax(values)
    if most in (1, 255) and np.isin(values, (0, most)).all() and (values == 0).any():
        raise PatchError(
            f"{subject} holds only 0 and {most:g}: it is a mask, not measurements; choose the "
            "image."
        )


def _measure_spread(values: NDArray[np.floating]) -> float:
    return float(np.nanmedian(np.abs(values))) / 0.6745


def _remove_row_means(
    values: NDArray[np.floating], subject: str, assumptions: dict[str, str]
) -> NDArray[np.floating]:
    """Subtract the mean of each row (Z, A) if the means are not about 0."""
    valid = np.isfinite(values)
    counts = valid.sum(1)
    means = values.sum(1, dtype=np.float64, where=valid) / np.maximum(counts, 1)
    whole = counts >= 0.9 * counts.max()  # rows without many nulls, whose means are reliable
    typical = float(np.median(np.abs(means[whole])))
    relative = values - means[:, None].astype(values.dtype)
    rounding = np.abs(relative) <= np.finfo(np.float32).eps * np.abs(means[:, None])
    relative[rounding] = 0
    spread = _measure_spread(relative)
    # Means of independent values are about 0.67 spreads divided by the root of their number.
    limit = max(_TRANSPOSED_ROWS, 1 / values.shape[1] ** 0.5) * spread
    if MIN_COLUMNS <= len(values) <= MAX_COLUMNS and typical > limit:
        columns = values.sum(0, dtype=np.float64, where=valid) / np.maximum(valid.sum(0), 1)
        if np.median(np.abs(columns)) < _TRANSPOSED_COLUMNS * spread:
            raise PatchError(
                f"{subject} looks transposed: its columns, not its rows, have the mean 0; save "
                "array.T."
            )
    # A heavier section may be a part of a log alone; in a patch a few rows of nulls are a quarter.
    usual = float(np.quantile(np.abs(means[whole]), 0.75 if len(values) >= _LOG_ROWS else 0.5))
    if usual <= max(_MEAN_LIMIT * spread, 1e-6 * float(np.nanmax(np.abs(values)))):
        return values
    assumptions["row means"] = (
        f"The rows have means of about {usual:.4g}, not 0; each row's mean was subtracted."
    )
    return relative


def _convert(
    values: NDArray[np.floating], unit: str, assumptions: dict[str, str]
) -> tuple[NDArray[np.floating], str, float]:
    """Return the values in inches, their unit and its inches."""
    spread = _measure_spread(values)
    found = unit if unit != "auto" else _find_unit(spread)
    inches = UNITS[found] if found in UNITS else _TYPICAL_SPREAD / spread
    if inches == 1:
        return values, found, 1.0
    if found in UNITS:
        taken = "are" if unit != "auto" else f"(spread {spread:.3g}) are taken for"
        text = f"The values {taken} {_NAMES[found]} and were converted to inches."
    else:
        text = (
            f"The unit of the values (spread {spread:.3g}) is unknown; they were scaled to inches."
        )
    assumptions["unit"] = text
    return values * values.dtype.type(inches), found, inches


def _find_unit(spread: float) -> str:
    if spread < _LEAST_SPREAD:
        return "inch"  # blank
    return next((unit for unit, limit in _SPREADS.items() if spread < limit), "unknown")

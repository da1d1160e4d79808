"""The options of every command that reads measurements: --losses, --unit and --nulls."""

from __future__ import annotations

import argparse
from typing import Any

from geoseg.measurements import DEFAULT, UNITS, MeasurementOptions


def add_measurement_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what measurements are, instead of what is found of them."""
    add = parser.add_argument_group("measurements").add_argument
    add(
        "--losses",
        choices=("negative", "positive"),
        default=DEFAULT.losses,
        help="sign of wall losses in the files: negative in thickness, positive in radius "
        "(default: %(default)s; a known channel of a LAS or DLIS file decides for itself)",
    )
    add(
        "--unit",
        choices=("auto", *UNITS),
        default=DEFAULT.unit,
        help="unit of the values; auto finds the one that suits the wall's texture (default: "
        "%(default)s)",
    )
    add(
        "--nulls",
        nargs="*",
        type=float,
        metavar="CODE",
        help="values that stand for no measurement, beside NaN and infinities; none after --nulls "
        "leaves these alone (default: found)",
    )


def take_measurement_options(values: dict[str, Any]) -> MeasurementOptions:
    """Remove the three options from `vars` of parsed arguments and return them as one."""
    losses, unit, nulls = (values.pop(name) for name in ("losses", "unit", "nulls"))
    return MeasurementOptions(losses, unit, DEFAULT.nulls if nulls is None else nulls)

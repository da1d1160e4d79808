"""The options of commands that read measurements."""

import argparse

import pytest

from geoseg.measurement_options import add_measurement_options, take_measurement_options
from geoseg.measurements import DEFAULT, MeasurementOptions


def parse(*words: str) -> tuple[MeasurementOptions, dict[str, object]]:
    """Return the options of a command line, and what is left of the others."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--other", default=1)
    add_measurement_options(parser)
    values = vars(parser.parse_args(words))
    return take_measurement_options(values), values


def test_nothing_said_is_the_default():
    assert parse() == (DEFAULT, {"other": 1})


def test_what_is_said_counts():
    options, _ = parse(
        "--losses", "positive", "--unit", "mm", "--nulls", "-999.25", "0", "--other", "2"
    )
    assert options == MeasurementOptions("positive", "mm", [-999.25, 0])
    assert parse("--nulls")[0].nulls == []


@pytest.mark.parametrize("words", [("--unit", "furlong"), ("--losses", "up"), ("--nulls", "x")])
def test_anything_else_is_a_mistake(words, capsys):
    with pytest.raises(SystemExit):
        parse(*words)
    assert words[0] in capsys.readouterr().err

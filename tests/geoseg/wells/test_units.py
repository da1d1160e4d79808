"""Lengths from text, and the tables of a well."""

import csv
import math

import numpy as np
import pytest

from geoseg.measurements import Log
from geoseg.wells.grooves import Groove
from geoseg.wells.joints import Collar, Joint, Joints
from geoseg.wells.tables import write_grooves, write_joints
from geoseg.wells.units import WellGeometry, parse_length

NAN = math.nan
GROOVE = Groove(
    10, 109, 4, 6, 5, 2, 3.0, 4, 0.05, 0.08, 0.045, 0.07, joint_first=1, joint_last=2,
    probability=0.9, coverage=0.95,
)  # fmt: skip
JOINTS = Joints((Collar(60, 64, True),), (Joint(1, 0, 59, False), Joint(2, 60, 199, False)), 60)
LOG = Log(np.zeros((8000, 36), np.float32))
KNOWN = WellGeometry(pitch=1.5, diameter=9.625, nominal=0.5)


@pytest.mark.parametrize(
    ("text", "inches"),
    [("1.5in", 1.5), ("38.1mm", 1.5), ("0.125 ft", 1.5), (" 3.81 CM ", 1.5), ('9.625"', 9.625),
     ("0.0381m", 1.5), (".5 inch", 0.5), ("2 inches", 2), ("1foot", 12), ("3feet", 36)],
)  # fmt: skip
def test_lengths(text, inches):
    assert parse_length(text) == pytest.approx(inches, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["1 1/2 in", "1/2in", "1.5", "in", "", "-1in", "nan in", "1,5in", "1e400m", "1.5 ells"]
)
def test_other_lengths_are_refused_with_the_remedy(text):
    with pytest.raises(ValueError, match="is not a length; write a decimal number and a unit"):
        parse_length(text)


@pytest.mark.parametrize("text", ["0in", "0.0 mm", f"1{'0' * 400}in"])
def test_lengths_must_be_above_zero(text):
    with pytest.raises(ValueError, match="is not a length above 0"):
        parse_length(text)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_groove_table(tmp_path):
    write_grooves(tmp_path / "grooves.csv", [GROOVE], LOG, KNOWN)
    (line,) = read(tmp_path / "grooves.csv")
    values = {name: float(value) for name, value in line.items() if "depth" not in name[:12]}
    values |= {name: float(value) for name, value in line.items() if "relative" in name}
    assert (line["top_depth"], line["bottom_depth"], line["depth_unit"]) == ("", "", "")
    assert values["length_m"] == pytest.approx(3.81)
    assert values["top_m"] == pytest.approx(0.381)
    assert values["width_median_mm"] == pytest.approx(3 / 36 * math.pi * 9.625 * 25.4, rel=1e-3)
    assert values["relative_depth_median_percent"] == pytest.approx(10)
    assert values["relative_depth_most_percent"] == pytest.approx(16)
    assert values["azimuth_mean_degrees"] == 50
    assert values["marked_share"] == 0.95


def test_unknown_geometry_leaves_cells_empty(tmp_path):
    write_grooves(tmp_path / "grooves.csv", [GROOVE], LOG, WellGeometry())
    write_joints(tmp_path / "joints.csv", JOINTS, [GROOVE], LOG, WellGeometry())
    for file in ("grooves.csv", "joints.csv"):
        for line in read(tmp_path / file):
            for name, value in line.items():
                if name.endswith(("_m", "_mm", "_percent")):
                    assert value == "", name


def test_joint_table(tmp_path):
    shallow = Groove(100, 129, 1, 1, 1, 0, 2, 2, NAN, NAN, NAN, NAN, 2, 2, None, 1)
    write_joints(tmp_path / "joints.csv", JOINTS, [GROOVE, shallow], LOG, KNOWN)
    first, second = read(tmp_path / "joints.csv")
    assert (first["collar_rows"], second["collar_rows"]) == ("", "5")
    assert (first["grooves"], second["grooves"]) == ("1", "2")
    assert float(first["grooved_share"]) == pytest.approx(50 / 60, rel=1e-4)
    assert float(second["grooved_share"]) == pytest.approx(70 / 140)
    assert second["deepest_groove"] == "1"
    assert float(second["deepest_groove_relative_depth_median_percent"]) == 10


def test_tables_without_lines_have_their_headers(tmp_path):
    write_grooves(tmp_path / "grooves.csv", [], LOG, KNOWN)
    write_grooves(tmp_path / "one.csv", [GROOVE], LOG, KNOWN)
    empty, one = ((tmp_path / name).read_text() for name in ("grooves.csv", "one.csv"))
    assert empty.splitlines() == one.splitlines()[:1]
    write_joints(tmp_path / "joints.csv", Joints((), (), NAN, "none"), [], LOG, KNOWN)
    assert (tmp_path / "joints.csv").read_text().startswith("joint,top_row,")

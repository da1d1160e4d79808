"""Pictures: their colours are those of the page."""

import re

from geoseg import pictures
from tests.helpers import ROOT


def test_colours_equal_those_of_the_page():
    text = (ROOT / "geoseg" / "page" / "static" / "colours.js").read_text()
    classic = re.search(r"classic: \{(.*?)\n  \},", text, re.DOTALL)
    colours = {
        name: tuple(map(int, rgb.split(",")))
        for name, rgb in re.findall(r"\[(\w+)\]: \[([\d, ]+)\]", classic[1])
    }
    assert colours == {
        "TN": pictures.BACKGROUND,
        "TP": pictures.CORRECT,
        "FN": pictures.MISSED,
        "FP": pictures.ALARM,
        "NULL": pictures.NULL,
        "FOUND": pictures.FOUND,
    }

"""The tab Help lists the keys that the viewer has."""

import re

from geoseg.page import help_tab
from geoseg.page.viewer import STATIC


def test_the_keys_are_those_of_the_viewer():
    table = (STATIC / "keys.js").read_text().partition("export const KEYS = [")[2]
    table = table.partition("];\n")[0]
    lists = re.findall(r"\[\[([^]]+)\], '\w+'\]", table)
    bound = [key for keys in lists for key in re.findall(r"'([^']+)'", keys)]
    assert len(bound) > 30
    assert [key for keys, _ in help_tab.KEYS for key in keys.split()] == bound


def test_keys_are_named_as_on_a_keyboard():
    shown = help_tab.list_keys()
    for text in ("- `\u2190` `\u2192` previous", "- `Page Up` `Page Down`", "- `E` errors"):
        assert text in shown
    assert "`Shift+\u2191`" in shown
    assert "- `+` `=` `-` `0` zoom" in shown


def test_limits_are_told():
    assert re.search(r"512 \.npy files of 1 MB each", help_tab.describe_limits())
    assert "4 hours" in help_tab.describe_limits()

"""Patches of several widths in one set, in Chromium: the shift goes round each width."""

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import MODELS, make_patch

pytestmark = pytest.mark.browser
NAMES = list(MODELS)
WIDE = np.hstack([make_patch(3), make_patch(4)])


@pytest.fixture(scope="module")
def url(large_set_url) -> str:
    """Return the address of the page of the large set."""
    return large_set_url


@pytest.fixture
def screen(screen, url) -> Screen:
    """Show z2.npy, of 72 columns, between z1.npy of 144 and z3.npy of 36."""
    screen.page.evaluate("location.hash = 'patch=z2.npy'")
    screen.page.wait_for_function("geoseg.scene.name === 'z2.npy' && geoseg.settled")
    return screen


def slider(screen: Screen) -> tuple[str, str]:
    """Return value and maximum of the shift slider."""
    shift = screen.page.locator("#control-shift input[type=range]")
    expected = screen.page.evaluate("String(geoseg.scene.columns - 1)")
    screen.page.wait_for_function(
        "most => document.querySelector('#control-shift input[type=range]').max === most",
        arg=expected,
    )
    return shift.input_value(), shift.get_attribute("max")


def go(screen: Screen, way: str) -> None:
    """Go to the "Next" or "Previous" patch."""
    screen.page.get_by_label(f"{way} patch").click()
    screen.settle()


def test_a_wide_patch_can_be_shifted_by_its_whole_width(screen):
    before = screen.array("patch"), screen.array("probability", NAMES[0])
    screen.slide("shift", 71)
    assert slider(screen) == ("71", "71")
    np.testing.assert_array_equal(screen.array("patch"), np.roll(before[0], 71, 1))
    turned = screen.array("probability", NAMES[0])
    np.testing.assert_allclose(turned, np.roll(before[1], 71, 1), atol=1e-4)
    screen.page.wait_for_function("/shift=71/.test(location.hash)")


def test_the_shift_wraps_around_on_a_narrower_patch(screen):
    screen.slide("shift", 50)
    go(screen, "Next")
    assert screen.name == "z3.npy"
    assert slider(screen) == ("14", "35")
    assert screen.state("shift") == 14
    np.testing.assert_array_equal(screen.array("patch"), np.roll(make_patch(1), 14, 1))
    go(screen, "Next")
    assert slider(screen) == ("14", "143")


def test_a_link_restores_every_valid_shift(open_page, url):
    linked = open_page(link=f"{url}/#patch=z4.npy&shift=140")
    assert slider(linked) == ("140", "143")
    assert open_page(link=f"{url}/#patch=z3.npy&shift=140").state("shift") == 140 % 36
    linked.page.evaluate("location.hash = 'patch=z2.npy&shift=70'")
    linked.page.wait_for_function("geoseg.scene.name === 'z2.npy' && geoseg.settled")
    assert slider(linked) == ("70", "71")
    np.testing.assert_array_equal(linked.array("patch"), np.roll(WIDE, 70, 1))

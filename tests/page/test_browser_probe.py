"""The tab Probe in Chromium."""

import re

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import MODELS

pytestmark = pytest.mark.browser
NAMES = list(MODELS)
PROBES = ("shift", "noise", "gain", "nulls")
# Of every line that is drawn, how many points it has.
LINES = """name => [...document.querySelectorAll(
    `#probe-${name} .mark-line path[role=graphics-symbol]`)].map(
    path => (path.getAttribute('d').match(/[ML]/g) || []).length)"""


def open_tab(screen: Screen) -> None:
    screen.press("i")
    screen.page.locator("#probe-start").wait_for()


def probe(screen: Screen) -> None:
    """Open the tab, and probe the patch that is shown."""
    open_tab(screen)
    screen.page.locator("#probe-start").click()
    wait_for_curves(screen)


def wait_for_curves(screen: Screen) -> None:
    screen.page.locator("#probe-cancel").wait_for(state="attached")
    screen.page.locator("#probe-cancel").wait_for(state="hidden")
    screen.page.locator("#probe-nulls svg").wait_for()


def subject(screen: Screen) -> str:
    return screen.page.locator("#probe-subject textarea").input_value()


def words(screen: Screen) -> str:
    return screen.page.locator("#probe-words").inner_text()


def wait_for_words(screen: Screen, text: str) -> None:
    screen.page.locator("#probe-words").get_by_text(text).first.wait_for()


def test_every_model_has_its_curves_and_its_results(screen):
    probe(screen)
    assert subject(screen) == "well_9_patch_0.npy: threshold as trained"
    for name, steps in zip(PROBES, (36, 11, 9, 7), strict=True):
        screen.page.wait_for_function(
            f"({LINES})('{name}').filter(points => points >= {steps}).length === 3"
        )
    told = words(screen)
    assert told.startswith("Lowest IoU with the truth:")
    assert all(model in told for model in NAMES)
    assert re.search(rf"{NAMES[2]} 0\.\d\d at shift \d+, 0\.\d\d at noise 0", told)


def test_curves_compare_with_the_truth_or_with_the_model_itself(screen):
    probe(screen)
    screen.page.get_by_label("Agreement with its own mask").check()
    wait_for_words(screen, "Lowest agreement with itself:")
    assert f"{NAMES[0]} turns exactly" in words(screen)
    assert re.search(rf"{NAMES[2]} 0\.\d\d at shift \d+", words(screen))
    screen.press("ArrowLeft")  # to a patch without labels
    assert screen.name == "well_9_patch_20.npy"
    assert subject(screen).startswith("well_9_patch_0.npy")  # curves stay until the next ones
    screen.page.get_by_label("IoU with the truth").check()
    probe(screen)
    assert subject(screen).startswith("well_9_patch_20.npy")
    assert screen.page.get_by_label("IoU with the truth").count() == 0
    assert words(screen).startswith("Lowest agreement with itself:")


def test_curves_are_of_the_settings_and_models_in_force(screen):
    open_tab(screen)
    screen.slide("shift", 5)
    screen.slide("noise", 0.002)
    screen.slide("seed", 3)
    screen.slide("threshold", 0.4)
    screen.page.get_by_role("checkbox", name=NAMES[1]).uncheck()
    screen.settle()
    probe(screen)
    assert subject(screen) == (
        "well_9_patch_0.npy: shift 5, noise 0.0020 of seed 3, threshold 0.40"
    )
    assert NAMES[1] not in words(screen)
    screen.page.get_by_role("checkbox", name=NAMES[1]).check()
    screen.settle()
    screen.page.locator("#probe-start").click()
    wait_for_words(screen, NAMES[1])


def test_buttons_go_to_the_lowest_shift_and_noise(screen):
    probe(screen)
    before = screen.array("patch")
    screen.page.locator("#probe-shift-lowest").click()
    screen.page.wait_for_function("geoseg.state.shift > 0")
    screen.settle()
    shift = screen.state("shift")
    assert f"at shift {shift}" in words(screen)
    np.testing.assert_array_equal(screen.array("patch"), np.roll(before, shift, 1))
    screen.page.locator("#probe-noise-lowest").click()
    screen.page.wait_for_function("geoseg.state.noise > 0")
    assert f"at noise {screen.state('noise'):g}" in words(screen)


def test_curves_are_kept_while_another_tab_is_open(screen):
    probe(screen)
    told = words(screen)
    screen.press("w")
    screen.page.locator("#save-picture").wait_for()
    screen.press("i")
    screen.page.locator("#probe-shift svg").wait_for()
    assert words(screen) == told
    assert screen.page.locator("#probe-shift svg").bounding_box()["width"] > 200


def test_a_run_can_be_cancelled_and_the_next_one_completes(screen):
    open_tab(screen)
    # Small models finish before a click from here arrives.
    screen.page.evaluate("""() => {
        const watch = new MutationObserver(() => {
            const cancel = document.getElementById('probe-cancel');
            if (!cancel || !cancel.checkVisibility()) return;
            watch.disconnect();
            cancel.click();
            window.cancelled = true;
        });
        watch.observe(document.body, { subtree: true, childList: true, attributes: true });
    }""")
    screen.page.locator("#probe-start").click()
    screen.page.wait_for_function("window.cancelled")
    screen.page.locator("#probe-cancel").wait_for(state="hidden")
    screen.page.locator("#probe-start").click()
    wait_for_curves(screen)
    assert all(model in words(screen) for model in NAMES)


def test_without_a_model_the_page_says_what_to_do(screen):
    open_tab(screen)
    for name in NAMES:
        screen.page.get_by_role("checkbox", name=name).uncheck()
    screen.settle()
    screen.page.locator("#probe-start").click()
    screen.page.get_by_text("No model is ticked; tick one below the panels.").first.wait_for()
    assert screen.page.locator("#probe-cancel").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tab_fits_a_phone(open_page, scheme):
    screen = open_page(360, 800, scheme)
    probe(screen)
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = [screen.page.locator(f"#probe-{name} svg").bounding_box() for name in PROBES]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)


def test_files_that_are_gone_are_told(screen):
    open_tab(screen)
    screen.page.evaluate("geoseg.state.source = 'uploads'")  # of which the server has none
    screen.page.locator("#probe-start").click()
    screen.page.get_by_text("Your files are not on the server any more").first.wait_for()
    screen.page.locator("#probe-cancel").wait_for(state="hidden")
    screen.press("w")
    screen.page.locator("#save-masks").click()
    screen.page.get_by_text("Your files are not on the server any more").nth(1).wait_for()

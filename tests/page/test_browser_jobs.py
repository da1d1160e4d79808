"""Slow work in Chromium: cancelled, waiting, and ended when the browser is gone."""

import time
from collections.abc import Iterator

import pytest

from benchmarks.browser import Screen, screens
from benchmarks.server import free_port
from geoseg.checkpoint import find_checkpoints
from geoseg.page import PatchSet, build, launch, load_set
from geoseg.segmenter import Segmenter

pytestmark = [
    pytest.mark.browser,
    # Gradio sums up its calls at an error, in a server of this process too.
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
]


class Slow(Segmenter):
    """A segmenter that takes a tenth of a second a batch, and counts them."""

    asked = 0

    def probabilities(self, images, names=None, *, interpret=True):
        self.asked += len(images) > 1  # live answers have one
        time.sleep(0.1)
        return super().probabilities(images, names, interpret=interpret)


@pytest.fixture(scope="module")
def slow(browser, images, checkpoints) -> Iterator[tuple[Slow, str]]:
    made = Slow(find_checkpoints(checkpoints), "cpu")
    entries = load_set([str(images)], "").entries * 64
    demo = build(made, PatchSet("", entries))
    yield made, launch(demo, "127.0.0.1", free_port()).rstrip("/")
    demo.close(verbose=False)


@pytest.fixture
def open_slow(browser, slow):
    with screens(browser, slow[1]) as open_one:
        yield open_one


def start(screen: Screen, segmenter: Slow) -> None:
    before = segmenter.asked
    screen.page.locator("#score-set").click()
    deadline = time.monotonic() + 20
    while segmenter.asked < before + 2:
        assert time.monotonic() < deadline, "the work does not start"
        time.sleep(0.05)


def stands_still(segmenter: Slow) -> bool:
    before = segmenter.asked
    time.sleep(0.5)
    return segmenter.asked == before


def wait_until_still(segmenter: Slow) -> None:
    deadline = time.monotonic() + 20
    while not stands_still(segmenter):
        assert time.monotonic() < deadline, "it continues without a client"


def test_work_can_be_cancelled_and_started_again(open_slow, slow):
    screen, (segmenter, _) = open_slow(), slow
    screen.press("s")
    for _ in range(2):
        start(screen, segmenter)
        screen.press("ArrowRight")  # the page still answers
        screen.page.locator("#score-cancel").click()
        screen.page.locator("#score-cancel").wait_for(state="hidden")
        wait_until_still(segmenter)
    screen.page.locator("[name=sort]").select_option("disagreement")
    screen.page.locator("#score-cancel").click()
    screen.page.wait_for_function("document.querySelector('[name=sort]').value === 'file'")


def test_one_set_is_scored_at_a_time_until_its_browser_is_closed(open_slow, slow):
    first, second, (segmenter, _) = open_slow(), open_slow(), slow
    first.press("s")
    start(first, segmenter)
    second.press("s")
    second.page.locator("#score-set").click()
    first.page.close()
    time.sleep(0.5)
    second.page.close()
    wait_until_still(segmenter)

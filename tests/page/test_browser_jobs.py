"""Jobs on a set in Chromium: cancelled, waiting, and ended when the browser is gone."""

import re
import time
from collections.abc import Iterator

import pytest

from benchmarks.browser import Screen, screens
from benchmarks.server import free_port
from geoseg.checkpoint import find_checkpoints
from geoseg.page import PatchSet, build, launch, load_set
from geoseg.segmenter import Segmenter

pytestmark = pytest.mark.browser


class Slow(Segmenter):
    """A segmenter that takes a tenth of a second a batch, and counts them."""

    asked = 0

    def probabilities(self, images, names=None, *, interpret=True):
        self.asked += 1
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


def start(screen: Screen) -> None:
    screen.page.locator(".gs-main").click()
    screen.page.wait_for_function("document.querySelector('.gs-run progress').value > 0")


def stands_still(segmenter: Slow) -> bool:
    before = segmenter.asked
    time.sleep(0.5)
    return segmenter.asked == before


def test_a_job_can_be_cancelled_and_started_again(open_slow, slow):
    screen, (segmenter, _) = open_slow(), slow
    screen.press("s")
    for _ in range(2):
        start(screen)
        assert re.search(r"\d+ of 1,216", screen.page.locator(".gs-run p").inner_text())
        screen.press("ArrowRight")  # the page still answers
        screen.page.get_by_role("button", name="Cancel").click()
        time.sleep(0.3)
        assert stands_still(segmenter)
        assert screen.page.locator(".gs-main").is_visible()
    screen.page.locator("[name=sort]").select_option("disagreement")
    screen.page.get_by_role("button", name="Cancel").click()
    assert screen.page.locator("[name=sort]").input_value() == "file"


def test_one_job_runs_at_a_time_and_stops_when_its_browser_is_closed(open_slow, slow):
    first, second, (segmenter, _) = open_slow(), open_slow(), slow
    first.press("s")
    start(first)
    second.press("s")
    for _ in range(2):  # a waiting job can be cancelled too
        second.page.locator(".gs-main").click()
        time.sleep(0.5)
        assert "Waiting for a free turn" in second.page.locator(".gs-run").inner_text()
        second.page.get_by_role("button", name="Cancel").click()
    second.page.locator(".gs-main").click()
    first.page.close()
    second.page.wait_for_function("document.querySelector('.gs-run progress').value > 0")
    second.page.close()
    deadline = time.monotonic() + 20
    while not stands_still(segmenter):
        assert time.monotonic() < deadline, "it continues without a client"

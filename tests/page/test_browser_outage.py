"""The page in Chromium while its server is down, busy or refuses."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import free_port, make_patch
from geoseg.page import build, launch, load_set
from tests.helpers.requests import send_files

pytestmark = pytest.mark.browser
CALLS = "**/gradio_api/component_server/"


def called(route, name: str) -> bool:
    """Whether a request calls that function of the viewer."""
    return route.request.post_data_json["fn_name"] == name


@pytest.fixture
def screen(browser, url) -> Iterator[Screen]:
    """Open a page whose faults are not checked: the browser reports every failed request.

    Routing starts with the context: after a later start, Chromium may let a first request pass.
    """
    context = browser.new_context()
    context.route(CALLS, lambda route: route.continue_())
    yield Screen(context.new_page(), url)
    context.close()


def notice(screen: Screen) -> str:
    return screen.page.locator(".gs-notice-text").inner_text()


def test_the_page_continues_when_the_server_restarts(browser, segmenter, images, tmp_path):
    file = tmp_path / "mine.npy"
    np.save(file, make_patch(9))
    port, patches = free_port(), load_set([str(images)], "")
    context = browser.new_context()
    first = build(segmenter, patches)
    screen = Screen(context.new_page(), launch(first, "127.0.0.1", port))
    screen.upload(file)
    screen.page.evaluate("window.mark = 'same page'")
    first.close(verbose=False)
    screen.page.locator("#control-shift input[type=range]").fill("5")
    screen.page.wait_for_timeout(1500)
    assert not screen.page.evaluate("geoseg.settled")
    second = build(segmenter, patches)
    launch(second, "127.0.0.1", port)
    screen.settle()
    assert screen.page.evaluate("mark") == "same page"
    assert (screen.name, screen.state("shift")) == ("well_9_patch_0.npy", 5)
    assert "the server was started anew" in notice(screen)
    context.close()
    second.close(verbose=False)


@pytest.mark.parametrize("status", [429, 503, "gone"])
def test_a_request_that_cannot_be_answered_now_is_repeated(screen, status):
    refused = []

    def refuse(route) -> None:
        if not called(route, "look"):
            return route.continue_()
        refused.append(route)
        if len(refused) > 2:
            return route.continue_()
        if status == "gone":
            return route.abort()
        return route.fulfill(status=status, body=json.dumps({"detail": "Later."}))

    screen.page.route(CALLS, refuse)
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_5.npy"
    assert len(refused) == 3


def test_a_refused_request_shows_the_reason_and_the_next_is_answered(screen):
    screen.page.route(CALLS, lambda route: route.fulfill(json={"error": "Not this one."}))
    screen.page.keyboard.press("ArrowRight")
    screen.page.wait_for_function("!document.querySelector('.gs-notice').hidden")
    assert notice(screen) == "Not this one."
    assert screen.page.locator(".gs").get_attribute("data-busy") == "false"
    screen.page.unroute(CALLS)
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_10.npy"


def test_a_refused_list_of_patches_is_requested_again(screen):
    screen.page.route(
        CALLS,
        lambda route: (
            route.fulfill(json={"error": "Not now."})
            if called(route, "browse")
            else route.continue_()
        ),
    )
    screen.page.reload()
    screen.settle()
    screen.page.wait_for_function("!document.querySelector('.gs-notice').hidden")
    assert notice(screen) == "Not now."
    assert screen.page.locator(".gs-cell").count() == 0
    screen.page.unroute(CALLS)
    screen.press("ArrowRight")
    screen.page.wait_for_function("document.querySelectorAll('.gs-cell').length === 5")


def test_expired_uploads_are_not_replaced_by_other_patches(screen, url, tmp_path):
    np.save(tmp_path / "mine.npy", make_patch(9))
    screen.upload(tmp_path / "mine.npy")
    screen.press("w")
    screen.page.wait_for_load_state("networkidle")  # only the next request may find out
    send_files(
        url, screen.page.evaluate("sessionStorage.geosegUser"), []
    )  # the server deletes them
    screen.page.locator("#save-masks").click()
    screen.page.wait_for_function("geoseg.state.source === 'start' && geoseg.settled")
    assert "Your files are not here" in notice(screen)
    assert screen.page.locator("#save-zip").is_hidden()
    assert screen.name == "well_9_patch_0.npy"

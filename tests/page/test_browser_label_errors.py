"""The sheet "Doubts" in Chromium: labels are reviewed, and the decisions are kept."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.browser import Screen
from benchmarks.server import free_port
from geoseg.evaluation.label_errors import find_label_errors
from geoseg.page import PatchSet, build, launch
from tests.helpers.sheets import EMPTIED, SHIFTED, SHIPPED, download, order

pytestmark = pytest.mark.browser
NAMES = SHIPPED


@pytest.fixture(scope="module")
def url(shipped, spoilt_patches) -> Iterator[str]:
    """Run the page on the spoilt set in this process."""
    demo = build(shipped, spoilt_patches, NAMES)
    yield launch(demo, "127.0.0.1", free_port()).rstrip("/")
    demo.close(verbose=False)


@pytest.fixture
def doubted(spoilt_patches, spoilt_probabilities, shipped):
    labelled = [i for i, e in enumerate(spoilt_patches.entries) if e.truth is not None]
    found = find_label_errors(
        torch.stack([torch.from_numpy(spoilt_probabilities[name][labelled]) for name in NAMES]),
        [shipped.cards[name].threshold for name in NAMES],
        torch.from_numpy(np.stack([spoilt_patches.entry(i).truth for i in labelled])) == 1,
    )
    return [s._replace(patch=labelled[s.patch]) for s in found]


def rows_of(screen: Screen) -> list[str]:
    return screen.page.locator(".gs-suspects strong").all_inner_texts()


def review(screen: Screen) -> None:
    screen.press("l")
    screen.page.locator(".gs-doubts .gs-main").click()
    screen.page.locator(".gs-suspects li").first.wait_for()


def marked(screen: Screen) -> list[str]:
    return screen.page.locator(".gs-suspects em").all_inner_texts()


def test_labels_are_reviewed_with_two_keys(screen, spoilt_patches, doubted, tmp_path):
    names = [spoilt_patches.entry(s.patch).name for s in doubted]
    assert len(names) > 1
    assert {EMPTIED, SHIFTED} <= set(names)
    screen.press("k")  # without an open sheet the key does nothing
    review(screen)
    assert rows_of(screen) == names
    text = screen.page.locator(".gs-suspects li").nth(names.index(EMPTIED)).inner_text()
    assert "a groove is missing from the label" in text
    assert f"doubt {doubted[names.index(EMPTIED)].doubt:.2f}" in text
    assert "3 columns further left" in screen.page.locator(".gs-suspects").inner_text()
    screen.page.locator(".gs-suspects button").first.click()
    screen.settle()
    assert screen.name == names[0]
    screen.press("x")
    assert screen.name == names[1], "the next one is shown"
    screen.press("ArrowLeft")
    assert screen.name == names[0], "arrow keys follow the list"
    assert marked(screen)[0] == "doubted"
    screen.press("x")
    assert (screen.name, marked(screen)[0]) == (names[0], "")
    screen.page.get_by_role("button", name="Keep").click()
    screen.settle()
    assert marked(screen)[0] == "kept"
    screen.press("x")
    assert marked(screen)[:2] == ["kept", "doubted"]
    assert f"2 of {len(names)} labels decided" in screen.page.locator(".gs-tally").inner_text()
    decisions = dict(zip(names, ["keep", "doubt"] + [""] * len(names), strict=False))
    screen.page.wait_for_function("location.hash.includes('sort=doubt')")
    screen.page.reload()  # the link sorts by doubt, so the scores are requested again
    screen.page.locator(".gs-suspects li").first.wait_for()
    assert marked(screen)[:2] == ["kept", "doubted"]
    rows = download(screen, ".gs-doubts", tmp_path)
    for row, suspect in zip(rows, doubted, strict=True):
        name = row["name"].removeprefix("'")
        assert name == spoilt_patches.entry(suspect.patch).name
        assert (row["kind"], row["shift"]) == (suspect.kind, str(suspect.shift))
        assert row["decision"] == decisions[name]
        for key in ("doubt", "agreement", "iou"):
            assert float(row[key]) == pytest.approx(getattr(suspect, key), abs=1e-5)


def test_review_starts_at_the_first_label_and_restores_the_order(screen, spoilt_patches, doubted):
    names = [spoilt_patches.entry(s.patch).name for s in doubted]
    by = f"iou {NAMES[1]}"
    screen.page.locator("[name=sort]").select_option(by)
    screen.page.wait_for_function("geoseg.state.order")
    before = order(screen)
    screen.press("l")
    assert screen.name == names[0]
    assert order(screen)[: len(names)] == names
    screen.press("k", "l")
    assert screen.page.locator("[name=sort]").input_value() == by
    assert order(screen) == before
    screen.press("r", "l")
    assert screen.name == names[1]
    screen.press("l")
    assert screen.page.locator("[name=sort]").input_value() == "file"
    # The selected well stays; its first label error is shown.
    screen.page.get_by_label("Wells that are shown").select_option("Well 2")
    screen.press("l")
    assert screen.name == next(name for name in names if name.startswith("well_2"))
    assert screen.state("well") == "2"


def test_toy_labels_have_decisions_of_their_own(screen):
    review(screen)
    screen.press("x")
    assert "1 of" in screen.page.locator(".gs-tally").inner_text()
    screen.page.evaluate("geoseg.state.toy = 'easy'; geoseg.paint()")
    screen.press("ArrowRight")  # sorting another set requests its scores
    screen.page.wait_for_function("geoseg.strip.list.labelled === 8")
    screen.page.locator(".gs-suspects li").first.wait_for()
    assert "0 of" in screen.page.locator(".gs-tally").inner_text()
    assert set(marked(screen)) == {""}


def test_label_errors_need_two_models(screen):
    screen.page.get_by_role("checkbox").nth(1).uncheck()
    screen.press("l")
    assert "two models" in screen.page.locator(".gs-doubts").inner_text()
    screen.page.locator("[name=sort]").select_option("doubt")
    assert "two models" in screen.page.locator(".gs-notice").inner_text()
    assert screen.page.locator("[name=sort]").input_value() == "file"


def test_folders_do_not_share_decisions(browser, spoilt_patches, shipped):
    """Started one after the other at one address, as on one's own machine."""
    port, tallies = free_port(), []
    context = browser.new_context()
    for entries in (spoilt_patches.entries, spoilt_patches.entries[:-1], spoilt_patches.entries):
        demo = build(shipped, PatchSet("", entries), NAMES)
        screen = Screen(context.new_page(), launch(demo, "127.0.0.1", port).rstrip("/"))
        screen.page.wait_for_selector(".gs-cell")
        review(screen)
        tallies.append(screen.page.locator(".gs-tally").inner_text()[0])
        screen.press("k")
        screen.page.close()
        demo.close(verbose=False)
    context.close()
    assert tallies == ["0", "0", "1"]

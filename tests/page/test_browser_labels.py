"""The tab Labels in Chromium: labels are reviewed, and the decisions are kept."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import make_patch, serve
from tests.helpers.tabs import EMPTIED, ROW, SHIFTED, SHIPPED, cells, order

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(spoilt_set) -> Iterator[str]:
    """Run the page on the spoilt set with two shipped checkpoints."""
    with serve(["-i", str(spoilt_set), "-e", *SHIPPED]) as address:
        yield address


def review(screen: Screen) -> list[str]:
    """Search the set for labels to review; return the names of their patches, worst first."""
    screen.press("l")
    screen.page.locator("#labels-start").click()
    screen.page.locator(f"#labels-table {ROW}").first.wait_for()
    screen.page.locator("#labels-cancel").wait_for(state="hidden")
    screen.settle()
    return [row[1] for row in cells(screen, "#labels-table")]


def wait_for(screen: Screen, text: str) -> None:
    """Wait until the tally holds a text."""
    screen.page.wait_for_function(
        "text => [...document.querySelectorAll('#labels-tally :is(input, textarea)')]"
        ".some(box => box.value.includes(text))",
        arg=text,
    )


def decisions(screen: Screen) -> list[str]:
    return [row[4] for row in cells(screen, "#labels-table")]


def test_labels_are_reviewed_with_two_keys_and_kept(screen, tmp_path: Path):
    names = review(screen)
    assert len(names) > 1
    assert {EMPTIED, SHIFTED} <= set(names)
    assert screen.name == names[0], "the review begins with the first label"
    assert order(screen)[: len(names)] == names
    wait_for(screen, f"0 of {len(names)} labels decided")
    screen.press("x")
    assert screen.name == names[1], "the next one is shown"
    wait_for(screen, "0 kept, 1 doubted")
    screen.press("ArrowLeft")
    assert screen.name == names[0], "arrow keys follow the list"
    screen.press("x")  # again, to undo
    wait_for(screen, f"0 of {len(names)}")
    assert screen.name == names[0]
    screen.page.locator("#keep-label").click()
    wait_for(screen, "1 kept, 0 doubted")
    screen.page.locator(f"#labels-table [data-testid=cell-{1}-1]").click()
    screen.page.wait_for_function(f"geoseg.scene.name === '{names[1]}' && geoseg.settled")
    screen.press("x")
    wait_for(screen, "1 kept, 1 doubted")
    assert decisions(screen)[:2] == ["kept", "doubted"]
    screen.page.locator("#labels-csv").click()
    with screen.page.expect_download() as event:
        screen.page.locator("#labels-file").click()
    event.value.save_as(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert [row["name"].removeprefix("'") for row in rows] == names
    assert [row["decision"] for row in rows][:2] == ["keep", "doubt"]
    screen.page.reload()
    screen.settle()
    assert review(screen) == names
    assert decisions(screen)[:2] == ["kept", "doubted"]
    if len(names) > 2:
        assert screen.name == names[2], "the review goes on where it was left"


def test_quick_presses_meet_one_label_each(screen):
    names = review(screen)
    for _ in names:
        screen.page.keyboard.press("k")
    wait_for(screen, f"{len(names)} of {len(names)} labels decided: {len(names)} kept")


def test_letters_have_decisions_of_their_own(screen):
    review(screen)
    screen.press("x")
    wait_for(screen, "1 doubted")
    screen.page.evaluate("geoseg.set({ letters: 'easy' })")
    screen.page.wait_for_function("geoseg.strip.list.labelled === 8")
    review(screen)
    wait_for(screen, "0 of")
    assert set(decisions(screen)) == {""}


def test_a_decision_is_refused_on_another_set(screen, tmp_path):
    review(screen)
    for i in range(9):
        np.save(tmp_path / f"mine_{i}.npy", make_patch(i))
    index = screen.state("index")
    screen.upload(*sorted(tmp_path.glob("mine_*.npy")))
    screen.page.evaluate(f"geoseg.jump({index})")
    screen.settle()
    screen.press("x")
    assert screen.state("index") == index, "it does not go on to a label of the other set"
    screen.page.evaluate("geoseg.set({ source: 'start' })")
    screen.page.evaluate(f"geoseg.jump({index})")
    screen.settle()
    screen.press("k")
    wait_for(screen, "1 kept, 0 doubted")


def test_label_errors_need_two_models(screen):
    screen.page.get_by_role("checkbox", name=SHIPPED[1]).uncheck()
    screen.press("l")
    screen.page.locator("#labels-start").click()
    screen.page.get_by_text("It takes two models").wait_for()
    screen.page.locator("[name=sort]").select_option("doubt")
    assert "two models" in screen.page.locator(".gs-notice").inner_text()
    assert screen.page.locator("[name=sort]").input_value() == "file"

"""The tab Set in Chromium: a set is scored, sorted, filtered and exported."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import make_patch, serve
from geoseg.metrics import scores
from tests.helpers.tabs import FORMULA, ROW, SHIPPED, cells, choose, order

pytestmark = pytest.mark.browser
NAMES = SHIPPED


@pytest.fixture(scope="module")
def url(spoilt_set) -> Iterator[str]:
    """Run the page on the spoilt set with two shipped checkpoints."""
    with serve(["-i", str(spoilt_set), "-e", *NAMES]) as address:
        yield address


def score_set(screen: Screen) -> None:
    screen.press("s")
    screen.page.locator("#score-set").click()
    screen.page.locator(f"#score-averages {ROW}").first.wait_for()
    screen.page.locator("#score-cancel").wait_for(state="hidden")


@pytest.fixture
def ious(spoilt_patches, spoilt_probabilities, shipped) -> dict[str, list[float]]:
    """IoU of each patch of the set, by model; NaN without a label."""
    return {
        name: [
            np.nan
            if entry.truth is None
            else scores(
                spoilt_probabilities[name][i],
                entry.truth,
                threshold=shipped.cards[name].threshold,
            )["iou"]
            for i, entry in enumerate(spoilt_patches.entries)
        ]
        for name in NAMES
    }


def test_the_set_is_scored_and_a_click_shows_a_patch(screen, spoilt_patches, ious):
    score_set(screen)
    subject = screen.page.locator("#score-subject textarea, #score-subject input").first
    assert "8 patches, 7 with labels" in subject.input_value()
    averages = cells(screen, "#score-averages")
    assert [row[0] for row in averages] == NAMES
    assert [float(row[1]) for row in averages] == [
        pytest.approx(np.nanmean(ious[name]), abs=6e-4) for name in NAMES
    ]
    screen.page.get_by_label("All pixels pooled").check()
    screen.page.wait_for_function(
        "v => document.querySelector('#score-averages [data-testid=cell-0-1]').innerText.trim() !== v",
        arg=averages[0][1],
    )
    rows = cells(screen, "#score-patches")
    assert [row[1] for row in rows] == [entry.name for entry in spoilt_patches.entries]
    assert screen.page.locator("#score-patches img").count() == 0
    place = int(np.nanargmin(ious[NAMES[0]]))
    screen.page.locator(f"#score-patches [data-testid=cell-{place}-1]").click()
    screen.page.wait_for_function(f"geoseg.state.index === {place} && geoseg.settled")
    shown = screen.page.evaluate("geoseg.scene.models[0].scores.iou")
    assert shown == pytest.approx(np.nanmin(ious[NAMES[0]]))


def test_a_well_filters_the_tables(screen, spoilt_patches):
    score_set(screen)
    choose(screen, "#score-well", "Well 2")
    screen.page.wait_for_function(f"document.querySelectorAll('#score-patches {ROW}').length === 4")
    assert all(row[1].startswith("well_2") for row in cells(screen, "#score-patches"))
    screen.page.locator("#score-patches [data-testid=cell-3-1]").click()
    screen.page.wait_for_function("geoseg.scene.name === 'well_2_patch_8.npy'")
    assert screen.page.locator("#score-wells canvas, #score-wells svg").count() > 0


def test_patches_are_ordered_and_a_click_shows_the_right_one(screen, spoilt_patches, ious):
    score_set(screen)
    choose(screen, "#score-order", f"{NAMES[1]}, lowest first")
    by = sorted(range(8), key=lambda i: 2 if np.isnan(ious[NAMES[1]][i]) else ious[NAMES[1]][i])
    screen.page.locator("#score-patches [data-testid=cell-0-0]").get_by_text(
        str(by[0] + 1), exact=True
    ).wait_for()
    names = [row[1] for row in cells(screen, "#score-patches")]
    assert names == [spoilt_patches.entry(i).name for i in by]
    screen.page.locator("#score-patches [data-testid=cell-2-1]").click()
    screen.page.wait_for_function(f"geoseg.state.index === {by[2]} && geoseg.settled")


def test_the_histogram_is_of_the_focused_model(screen):
    score_set(screen)
    for name, score in zip(NAMES, ("Dice", "Recall"), strict=True):
        choose(screen, "#score-metric", score)
        title = f"{score} of every patch, {name}"
        screen.page.locator("#score-spread").get_by_text(title, exact=True).wait_for()
        screen.press("PageDown")


def test_exported_scores_escape_formulas(screen, spoilt_patches, tmp_path: Path):
    score_set(screen)
    with screen.page.expect_download() as event:
        screen.page.locator("#score-csv").click()
    event.value.save_as(tmp_path / "table.csv")
    assert event.value.suggested_filename == "geoseg-scores.csv"
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, strict=True))
    names = [entry.name for entry in spoilt_patches.entries]
    assert FORMULA in names
    assert [row["name"] for row in rows] == [f"'{n}" if n[0] == "=" else n for n in names]


def test_sorting_by_a_score_computes_the_scores(screen, spoilt_patches, ious):
    sort = screen.page.locator("[name=sort]")
    assert screen.page.locator("[name=sort] .gs-unknown").count() == 2 + 2 * 6
    sort.select_option(f"iou {NAMES[1]}")
    screen.page.wait_for_function("geoseg.state.order")
    assert screen.page.locator("[name=sort] .gs-unknown").count() == 0
    by = sorted(range(8), key=lambda i: 2 if np.isnan(ious[NAMES[1]][i]) else ious[NAMES[1]][i])
    assert order(screen) == [spoilt_patches.entry(i).name for i in by]
    screen.page.locator("[name=well]").select_option("Well 2")
    assert all(name.startswith("well_2") for name in order(screen))
    screen.press("r")
    assert sort.input_value() == "file"


def test_thumbnails_are_coloured_by_the_iou_of_the_focused_model(screen, ious):
    def marks() -> list[str]:
        return screen.page.locator(".gs-cell i").evaluate_all(
            "all => all.map(i => getComputedStyle(i).backgroundColor)"
        )

    assert set(marks()) == {"rgba(0, 0, 0, 0)"}
    score_set(screen)
    markers = "import(new URL('page/static/orders.js', document.baseURI))"
    for name in NAMES:
        wanted = [
            "rgba(0, 0, 0, 0)"
            if np.isnan(value)
            else screen.page.evaluate(f"v => {markers}.then(m => m.markColour(v))", value)
            for value in ious[name]
        ]
        assert marks() == [
            c if c.startswith("rgba") else f"rgb({', '.join(re.findall('[0-9]+', c))})"
            for c in wanted
        ]
        assert len(set(marks())) > 3
        screen.press("PageDown")


def test_uploads_without_labels_can_be_compared(screen, tmp_path):
    for i in range(3):
        np.save(tmp_path / f"mine_{i}.npy", make_patch(20 + i))
    score_set(screen)
    screen.upload(*sorted(tmp_path.glob("mine_*.npy")))
    # The table is still that of the first set: a click says so.
    screen.page.locator(f"#score-patches [data-testid=cell-{1}-1]").click()
    screen.page.locator(".gs-notice", has_text="is in another set").wait_for()
    screen.page.locator("#score-set").click()
    screen.page.wait_for_function(f"document.querySelectorAll('#score-patches {ROW}').length === 3")
    ways = screen.page.locator("[name=sort] option").evaluate_all("all => all.map(o => o.value)")
    assert ways == ["file", "disagreement", *(f"share {name}" for name in NAMES)]
    screen.press("l")
    screen.page.locator("#labels-start").click()
    screen.page.get_by_text("This set has no labels to review.").wait_for()


def test_synthetic_pipes_cannot_be_scored(screen):
    screen.page.evaluate("geoseg.set({ source: 'synthetic', index: 0 })")
    screen.settle()
    screen.press("s")
    screen.page.locator("#score-set").click()
    screen.page.get_by_text("Synthetic pipes have no end").wait_for()


@pytest.mark.parametrize(("key", "start"), [("s", "#score-set"), ("l", "#labels-start")])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1366, 768)])
def test_the_tabs_fit(open_page, width, height, key, start):
    screen = open_page(width, height, "dark")
    screen.press(key)
    screen.page.locator(start).click()
    screen.page.locator(f"#score-averages {ROW}, #labels-table {ROW}").first.wait_for()
    across = screen.page.evaluate("document.documentElement.scrollWidth")
    assert across <= width

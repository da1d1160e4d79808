"""The sheet "Set" in Chromium: a set is scored, sorted, filtered and exported."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.browser import Screen
from benchmarks.server import make_patch, serve
from geoseg.metrics import METRICS, scores
from tests.helpers.sheets import FORMULA, SHIPPED, download, order

pytestmark = pytest.mark.browser
NAMES = SHIPPED


@pytest.fixture(scope="module")
def url(spoilt_set) -> Iterator[str]:
    """Run the page on the spoilt set with two shipped checkpoints."""
    with serve(["-i", str(spoilt_set), "-e", *NAMES]) as address:
        yield address


def score_set(screen: Screen) -> None:
    screen.press("s")
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table").wait_for()


def table(screen: Screen) -> list[list[str]]:
    return [r.split("\t") for r in screen.page.locator(".gs-table tbody").inner_text().split("\n")]


def expected_scores(spoilt_patches, spoilt_probabilities, shipped, wells=None, average="macro"):
    chosen = [
        i
        for i, e in enumerate(spoilt_patches.entries)
        if e.truth is not None and (wells is None or e.name.startswith(wells))
    ]
    truth = np.stack([spoilt_patches.entry(i).truth for i in chosen])
    return [
        [
            f"{value:.3f}"
            for value in scores(
                spoilt_probabilities[name][chosen],
                truth,
                threshold=shipped.cards[name].threshold,
                average=average,
            ).values()
        ]
        for name in NAMES
    ]


def test_the_table_shows_the_scores_of_the_library(
    screen, spoilt_patches, spoilt_probabilities, shipped
):
    screen.press("s")
    assert screen.page.locator(".gs-main").inner_text() == "Score 8 patches with 2 models"
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table").wait_for()
    assert screen.page.locator(".gs-main").is_hidden()
    rows = table(screen)
    assert [row[0] for row in rows] == NAMES
    assert [row[1:] for row in rows] == expected_scores(
        spoilt_patches, spoilt_probabilities, shipped
    )
    screen.page.get_by_role("button", name="All pixels pooled").click()
    pooled = expected_scores(spoilt_patches, spoilt_probabilities, shipped, average="micro")
    assert [row[1:] for row in table(screen)] == pooled
    bold = screen.page.locator(".gs-table td").evaluate_all("all => all.map(c => c.className)")
    for column, values in enumerate(zip(*pooled, strict=True)):
        best = {value for value, name in zip(values, bold[column::5], strict=True) if name}
        assert best == {max(values)}
    assert screen.page.locator(".gs-table img").count() == 0


def test_selecting_a_well_filters_the_strip_and_the_table(
    screen, spoilt_patches, spoilt_probabilities, shipped
):
    score_set(screen)
    bars = screen.page.locator(".gs-bars")
    names = [name.split(",")[0] for name in bars.evaluate_all("all => all.map(b => b.ariaLabel)")]
    assert names == ["Well 1", "Well 2", "Without a well"]
    wanted = expected_scores(spoilt_patches, spoilt_probabilities, shipped, "well_2")
    assert f"{NAMES[0]} {wanted[0][4]}" in bars.nth(1).get_attribute("aria-label")
    bars.nth(1).focus()
    screen.press("Enter")
    assert screen.page.locator("[name=well]").input_value() == "2"
    assert all(name.startswith("well_2") for name in order(screen))
    assert screen.name == "well_2_patch_5.npy"
    assert [row[1:] for row in table(screen)] == wanted
    caption = screen.page.locator(".gs-table caption").inner_text()
    assert caption == "Well 2, 3 of 4 patches with labels"
    screen.press("Enter")  # the bar still has the focus
    assert screen.page.locator("[name=well]").input_value() == "all"
    screen.page.locator(".gs-bin").first.click()
    screen.settle()
    ious = [row[f"{NAMES[0]} iou"] for row in csv_of(spoilt_patches, spoilt_probabilities, shipped)]
    lowest = min(value for value in ious if value != "")
    assert screen.page.evaluate("geoseg.scene.models[0].scores.iou") == pytest.approx(lowest)


def csv_of(spoilt_patches, spoilt_probabilities, shipped) -> list[dict[str, str]]:
    """Return the table of scores that the file must hold, as text or numbers."""
    rows = []
    masks = {n: spoilt_probabilities[n] > shipped.cards[n].threshold for n in NAMES}
    for i, entry in enumerate(spoilt_patches.entries):
        well = re.search(r"well_(\d+)", entry.name)
        row = {"name": entry.name, "well": well[1] if well else "", "position": str(i + 1)}
        for name in NAMES:
            found = dict.fromkeys(METRICS, "")
            if entry.truth is not None:
                limit = shipped.cards[name].threshold
                found = scores(spoilt_probabilities[name][i], entry.truth, threshold=limit)
            row |= {f"{name} {metric}": found[metric] for metric in METRICS}
            valid = ~np.isnan(spoilt_probabilities[name][i])
            row[f"{name} marked share"] = masks[name][i].sum() / valid.sum()
        row["disagreement"] = 1 - scores(masks[NAMES[0]][i], masks[NAMES[1]][i])["iou"]
        row["notes"] = " ".join(entry.notes)
        rows.append(row)
    return rows


def test_exported_scores_are_complete_and_escape_formulas(
    screen, spoilt_patches, spoilt_probabilities, shipped, tmp_path
):
    score_set(screen)
    rows = download(screen, ".gs-ranks", tmp_path)
    expected = csv_of(spoilt_patches, spoilt_probabilities, shipped)
    assert FORMULA in [row["name"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert list(row) == list(wanted)
        for key, value in wanted.items():
            if key == "name":
                assert row[key] == ("'" + value if value.startswith("=") else value)
            elif isinstance(value, str):
                assert row[key] == value
            else:
                assert float(row[key]) == pytest.approx(value, abs=1e-5)


def test_sorting_by_a_score_computes_the_scores(
    screen, spoilt_patches, spoilt_probabilities, shipped
):
    rows = csv_of(spoilt_patches, spoilt_probabilities, shipped)
    grey = screen.page.locator("[name=sort] .gs-unknown")
    assert grey.count() == 2 + 2 * 6
    screen.page.locator("[name=sort]").select_option(f"iou {NAMES[1]}")
    screen.page.wait_for_function("geoseg.state.order")
    assert grey.count() == 0
    by = sorted(rows, key=lambda r: 2 if r[f"{NAMES[1]} iou"] == "" else r[f"{NAMES[1]} iou"])
    assert order(screen) == [row["name"] for row in by]
    screen.page.locator("[name=sort]").select_option("disagreement")
    by = sorted(rows, key=lambda r: -np.float32(r["disagreement"]))
    assert order(screen) == [row["name"] for row in by]
    screen.press("r")
    assert screen.page.locator("[name=sort]").input_value() == "file"


def test_thumbnails_are_coloured_by_the_iou_of_the_focused_model(
    screen, spoilt_patches, spoilt_probabilities, shipped
):
    def marks() -> list[str]:
        return screen.page.locator(".gs-cell i").evaluate_all(
            "all => all.map(i => getComputedStyle(i).backgroundColor)"
        )

    assert set(marks()) == {"rgba(0, 0, 0, 0)"}
    score_set(screen)
    for name in NAMES:
        colours = {
            row["name"]: (
                "rgba(0, 0, 0, 0)"
                if row[f"{name} iou"] == ""
                else screen.page.evaluate("v => geoseg.markColour(v)", row[f"{name} iou"])
            )
            for row in csv_of(spoilt_patches, spoilt_probabilities, shipped)
        }
        assert marks() == [
            c if c.startswith("rgba") else f"rgb({', '.join(re.findall('[0-9]+', c))})"
            for c in colours.values()
        ]
        assert len(set(marks())) > 3
        screen.press("PageDown")


def test_stale_scores_are_reported(screen):
    screen.page.get_by_role("checkbox").nth(1).uncheck()
    score_set(screen)
    assert len(table(screen)) == 1
    screen.page.get_by_role("checkbox").nth(1).check()
    screen.settle()
    assert "Other models are ticked" in screen.page.locator(".gs-run").inner_text()
    screen.page.locator(".gs-main").click()
    screen.page.wait_for_function("document.querySelectorAll('.gs-table tbody tr').length === 2")
    assert screen.page.locator(".gs-run").is_hidden()


def test_uploads_without_labels_can_be_compared(screen, tmp_path):
    for i in range(3):
        np.save(tmp_path / f"mine_{i}.npy", make_patch(20 + i))
    score_set(screen)
    screen.upload(*tmp_path.glob("mine_*.npy"))
    assert screen.page.locator(".gs-table").count() == 0
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table").wait_for()
    assert screen.page.locator(".gs-table th[scope=col]").all_inner_texts() == ["Model", "Marked"]
    ways = screen.page.locator("[name=sort] option").evaluate_all("all => all.map(o => o.value)")
    assert ways == ["file", "disagreement", *(f"share {name}" for name in NAMES)]
    screen.press("l")
    assert "no labels to doubt" in screen.page.locator(".gs-doubts").inner_text()


def test_leaving_the_pipes_restores_order_and_well(screen):
    sort, well = screen.page.locator("[name=sort]"), screen.page.locator("[name=well]")
    sort.select_option(f"iou {NAMES[1]}")
    screen.page.wait_for_function("geoseg.state.order")
    well.select_option("Well 2")
    screen.press("ArrowRight")
    name, before = screen.name, order(screen)
    screen.press("y")
    screen.page.get_by_role("button", name="Show synthetic pipes").click()
    screen.settle()
    screen.page.wait_for_function("geoseg.strip.list.count === 10000")
    assert (sort.input_value(), well.is_hidden()) == ("file", True)
    screen.page.locator("[data-do=back]").click()
    screen.page.wait_for_function("geoseg.state.order && geoseg.state.order.length === 4")
    screen.settle()
    assert (sort.input_value(), well.input_value()) == (f"iou {NAMES[1]}", "2")
    assert (screen.name, order(screen)) == (name, before)


@pytest.mark.parametrize("key", ["s", "l"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1366, 768)])
def test_the_sheets_fit(open_page, width, height, key):
    screen = open_page(width, height, "dark")
    screen.press(key)
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table, .gs-suspects li").first.wait_for()
    across = screen.page.evaluate("""Math.max(...[...document.querySelectorAll('.gs-drawer *')]
        .map(element => element.getBoundingClientRect().right))""")
    assert across <= width
    unnamed = screen.page.evaluate("""[...document.querySelectorAll(
        '.gs-drawer :is(button, select, progress, [tabindex])')].filter(
        part => !(part.ariaLabel || part.textContent.trim())).length""")
    assert unnamed == 0

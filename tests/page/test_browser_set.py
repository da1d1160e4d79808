"""The sheets "Set" and "Doubts" in Chromium: scored, sorted, filtered, reviewed, taken away."""

import csv
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.browser import Screen, screens
from benchmarks.server import ROOT, free_port, make_checkpoints, make_patch, serve
from geoseg.checkpoint import find_checkpoints
from geoseg.evaluation.label_errors import find_label_errors
from geoseg.metrics import METRICS, scores
from geoseg.page import PatchSet, build, launch, load_set
from geoseg.segmenter import Segmenter

pytestmark = pytest.mark.browser
NAMES = ["1004-flexible-unet", "1004-flexible-unet-8bit"]
HOSTILE = '=HYPERLINK("x"),<img src=x onerror=alert(1)>.npy'
EMPTIED, SHIFTED = "well_1_patch_2.npy", "well_2_patch_5.npy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two wells of the samples: two labels spoilt, one missing, one file with a hostile name."""
    root, samples = tmp_path_factory.mktemp("set"), ROOT / "geoseg" / "samples" / "validation"
    names = [f"well_{well}_patch_{k}.npy" for well, k in [(1, 2), (1, 3), (1, 5), (2, 5), (2, 6)]]
    names += ["well_2_patch_7.npy", "well_2_patch_8.npy"]
    for kind in ("images", "labels"):
        (root / kind).mkdir()
        for name in names:
            shutil.copy(samples / kind / name, root / kind / name)
        shutil.copy(samples / kind / "well_3_patch_12.npy", root / kind / HOSTILE)
    label = np.load(root / "labels" / EMPTIED)
    assert label.any()
    np.save(root / "labels" / EMPTIED, np.zeros_like(label))
    np.save(root / "labels" / SHIFTED, np.roll(np.load(root / "labels" / SHIFTED), 3, 1))
    (root / "labels" / "well_2_patch_8.npy").unlink()
    return root / "images"


@pytest.fixture(scope="module")
def patches(folder) -> PatchSet:
    return load_set([str(folder)], "")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    files = find_checkpoints(ROOT / "checkpoints")
    return Segmenter([f for f in files if f.stem in NAMES], "cpu")


@pytest.fixture(scope="module")
def probabilities(patches, segmenter) -> dict[str, np.ndarray]:
    return segmenter.probabilities(np.stack([e.patch for e in patches.entries]), NAMES)


@pytest.fixture(scope="module")
def url(browser, folder) -> Iterator[str]:
    with serve(["-i", str(folder), "-e", *NAMES]) as address:
        yield address


def score_set(screen: Screen) -> None:
    screen.press("s")
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table").wait_for()


def table(screen: Screen) -> list[list[str]]:
    return [r.split("\t") for r in screen.page.locator(".gs-table tbody").inner_text().split("\n")]


def order(screen: Screen) -> list[str]:
    return screen.page.evaluate("geoseg.state.order.map(i => geoseg.strip.list.names[i])")


def download(screen: Screen, sheet: str, tmp_path: Path) -> list[dict[str, str]]:
    with screen.page.expect_download() as event:
        screen.page.locator(f"{sheet} button", has_text="Export CSV").click()
    event.value.save_as(tmp_path / "table.csv")
    assert b"\r\n" in (tmp_path / "table.csv").read_bytes()
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, strict=True))


def expected_scores(patches, probabilities, segmenter, wells=None, average="macro"):
    chosen = [
        i
        for i, e in enumerate(patches.entries)
        if e.truth is not None and (wells is None or e.name.startswith(wells))
    ]
    truth = np.stack([patches.entry(i).truth for i in chosen])
    return [
        [
            f"{value:.3f}"
            for value in scores(
                probabilities[name][chosen],
                truth,
                threshold=segmenter.cards[name].threshold,
                average=average,
            ).values()
        ]
        for name in NAMES
    ]


def test_the_table_holds_the_librarys_numbers(screen, patches, probabilities, segmenter):
    screen.press("s")
    assert screen.page.locator(".gs-main").inner_text() == "Score 8 patches with 2 models"
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table").wait_for()
    assert screen.page.locator(".gs-main").is_hidden()
    rows = table(screen)
    assert [row[0] for row in rows] == NAMES
    assert [row[1:] for row in rows] == expected_scores(patches, probabilities, segmenter)
    screen.page.get_by_role("button", name="All pixels pooled").click()
    pooled = expected_scores(patches, probabilities, segmenter, average="micro")
    assert [row[1:] for row in table(screen)] == pooled
    bold = screen.page.locator(".gs-table td").evaluate_all("all => all.map(c => c.className)")
    for column, values in enumerate(zip(*pooled, strict=True)):
        best = {value for value, name in zip(values, bold[column::5], strict=True) if name}
        assert best == {max(values)}
    assert screen.page.locator(".gs-table img").count() == 0


def test_a_well_of_the_chart_filters_the_strip_and_the_table(
    screen, patches, probabilities, segmenter
):
    score_set(screen)
    bars = screen.page.locator(".gs-bars")
    names = [name.split(",")[0] for name in bars.evaluate_all("all => all.map(b => b.ariaLabel)")]
    assert names == ["Well 1", "Well 2", "Without a well"]
    wanted = expected_scores(patches, probabilities, segmenter, "well_2")
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
    ious = [row[f"{NAMES[0]} iou"] for row in csv_of(patches, probabilities, segmenter)]
    lowest = min(value for value in ious if value != "")
    assert screen.page.evaluate("geoseg.scene.models[0].scores.iou") == pytest.approx(lowest)


def csv_of(patches, probabilities, segmenter) -> list[dict[str, str]]:
    """The table of scores as it must be in the file, as text or numbers."""
    rows = []
    masks = {n: probabilities[n] > segmenter.cards[n].threshold for n in NAMES}
    for i, entry in enumerate(patches.entries):
        well = re.search(r"well_(\d+)", entry.name)
        row = {"name": entry.name, "well": well[1] if well else "", "position": str(i + 1)}
        for name in NAMES:
            found = dict.fromkeys(METRICS, "")
            if entry.truth is not None:
                limit = segmenter.cards[name].threshold
                found = scores(probabilities[name][i], entry.truth, threshold=limit)
            row |= {f"{name} {metric}": found[metric] for metric in METRICS}
            valid = ~np.isnan(probabilities[name][i])
            row[f"{name} marked share"] = masks[name][i].sum() / valid.sum()
        row["disagreement"] = 1 - scores(masks[NAMES[0]][i], masks[NAMES[1]][i])["iou"]
        rows.append(row)
    return rows


def test_the_scores_are_exported_and_no_name_is_a_formula(
    screen, patches, probabilities, segmenter, tmp_path
):
    score_set(screen)
    rows = download(screen, ".gs-ranks", tmp_path)
    expected = csv_of(patches, probabilities, segmenter)
    assert HOSTILE in [row["name"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert list(row) == list(wanted)
        for key, value in wanted.items():
            if key == "name":
                assert row[key] == ("'" + value if value.startswith("=") else value)
            elif isinstance(value, str):
                assert row[key] == value
            else:
                assert float(row[key]) == pytest.approx(value, abs=1e-5)


def test_choosing_a_way_to_sort_scores_first(screen, patches, probabilities, segmenter):
    rows = csv_of(patches, probabilities, segmenter)
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


def test_small_pictures_are_marked_by_the_focused_models_iou(
    screen, patches, probabilities, segmenter
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
            for row in csv_of(patches, probabilities, segmenter)
        }
        assert marks() == [
            c if c.startswith("rgba") else f"rgb({', '.join(re.findall('[0-9]+', c))})"
            for c in colours.values()
        ]
        assert len(set(marks())) > 3
        screen.press("PageDown")


def test_what_is_stale_is_said(screen):
    screen.page.get_by_role("checkbox").nth(1).uncheck()
    score_set(screen)
    assert len(table(screen)) == 1
    screen.page.get_by_role("checkbox").nth(1).check()
    screen.settle()
    assert "Other models are ticked" in screen.page.locator(".gs-run").inner_text()
    screen.page.locator(".gs-main").click()
    screen.page.wait_for_function("document.querySelectorAll('.gs-table tbody tr').length === 2")
    assert screen.page.locator(".gs-run").is_hidden()


def test_uploads_have_no_truth_but_can_be_compared(screen, tmp_path):
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


@pytest.fixture
def doubted(patches, probabilities, segmenter):
    labelled = [i for i, e in enumerate(patches.entries) if e.truth is not None]
    found = find_label_errors(
        torch.stack([torch.from_numpy(probabilities[name][labelled]) for name in NAMES]),
        [segmenter.cards[name].threshold for name in NAMES],
        torch.from_numpy(np.stack([patches.entry(i).truth for i in labelled])) == 1,
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


def test_labels_are_reviewed_with_two_keys(screen, patches, doubted, tmp_path):
    names = [patches.entry(s.patch).name for s in doubted]
    assert len(names) > 1
    assert {EMPTIED, SHIFTED} <= set(names)
    screen.press("k")  # no sheet is open: the key does nothing
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
    assert screen.name == names[1], "it goes on to the next"
    screen.press("ArrowLeft")
    assert screen.name == names[0], "arrows walk the list"
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
    screen.page.reload()  # the link says sorted by doubt: the scores are asked for again
    screen.page.locator(".gs-suspects li").first.wait_for()
    assert marked(screen)[:2] == ["kept", "doubted"]
    rows = download(screen, ".gs-doubts", tmp_path)
    for row, suspect in zip(rows, doubted, strict=True):
        name = row["name"].removeprefix("'")
        assert name == patches.entry(suspect.patch).name
        assert (row["kind"], row["shift"]) == (suspect.kind, str(suspect.shift))
        assert row["decision"] == decisions[name]
        for key in ("doubt", "agreement", "iou"):
            assert float(row[key]) == pytest.approx(getattr(suspect, key), abs=1e-5)


def test_the_first_label_to_judge_is_shown_and_the_order_comes_back(screen, patches, doubted):
    names = [patches.entry(s.patch).name for s in doubted]
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
    # A well that was chosen stays: its first label is shown, or none.
    screen.page.get_by_label("Wells that are shown").select_option("Well 2")
    screen.press("l")
    assert screen.name == next(name for name in names if name.startswith("well_2"))
    assert screen.state("well") == "2"


def test_from_the_pipes_back_to_the_same_order_and_well(screen):
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


def test_letters_have_decisions_of_their_own(screen):
    review(screen)
    screen.press("x")
    assert "1 of" in screen.page.locator(".gs-tally").inner_text()
    screen.page.evaluate("geoseg.state.toy = 'easy'; geoseg.paint()")
    screen.press("ArrowRight")  # another set, whose scores are asked for, as it is sorted by them
    screen.page.wait_for_function("geoseg.strip.list.labelled === 8")
    screen.page.locator(".gs-suspects li").first.wait_for()
    assert "0 of" in screen.page.locator(".gs-tally").inner_text()
    assert set(marked(screen)) == {""}


def test_one_model_doubts_nothing(screen):
    screen.page.get_by_role("checkbox").nth(1).uncheck()
    screen.press("l")
    assert "two models" in screen.page.locator(".gs-doubts").inner_text()
    screen.page.locator("[name=sort]").select_option("doubt")
    assert "two models" in screen.page.locator(".gs-notice").inner_text()
    assert screen.page.locator("[name=sort]").input_value() == "file"


class Slow(Segmenter):
    """A tenth of a second a batch."""

    asked = 0

    def probabilities(self, patches, names=None):
        self.asked += 1
        time.sleep(0.1)
        return super().probabilities(patches, names)


@pytest.fixture(scope="module")
def slow(browser, folder, tmp_path_factory) -> Iterator[tuple[Slow, str]]:
    made = Slow(find_checkpoints(make_checkpoints(tmp_path_factory.mktemp("models"))), "cpu")
    entries = load_set([str(folder)], "").entries * 40
    demo = build(made, PatchSet("", entries))
    yield made, launch(demo, "127.0.0.1", free_port()).rstrip("/")
    demo.close(verbose=False)


def test_folders_do_not_share_decisions(browser, patches, segmenter):
    """Started one after the other at one address, as on one's own machine."""
    port, tallies = free_port(), []
    context = browser.new_context()
    for entries in (patches.entries, patches.entries[:-1], patches.entries):
        demo = build(segmenter, PatchSet("", entries), NAMES)
        screen = Screen(context.new_page(), launch(demo, "127.0.0.1", port).rstrip("/"))
        screen.page.wait_for_selector(".gs-cell")
        review(screen)
        tallies.append(screen.page.locator(".gs-tally").inner_text()[0])
        screen.press("k")
        screen.page.close()
        demo.close(verbose=False)
    context.close()
    assert tallies == ["0", "0", "1"]


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


def test_a_job_can_be_cancelled_and_begun_again(open_slow, slow):
    screen, (segmenter, _) = open_slow(), slow
    screen.press("s")
    for _ in range(2):
        start(screen)
        assert re.search(r"\d+ of 1,240", screen.page.locator(".gs-run p").inner_text())
        screen.press("ArrowRight")  # the page stays live
        screen.page.get_by_role("button", name="Cancel").click()
        time.sleep(0.3)
        assert stands_still(segmenter)
        assert screen.page.locator(".gs-main").is_visible()
    screen.page.locator("[name=sort]").select_option("disagreement")
    screen.page.get_by_role("button", name="Cancel").click()
    assert screen.page.locator("[name=sort]").input_value() == "file"


def test_one_job_at_a_time_and_none_for_a_browser_that_is_gone(open_slow, slow):
    first, second, (segmenter, _) = open_slow(), open_slow(), slow
    first.press("s")
    start(first)
    second.press("s")
    for _ in range(2):  # also one who waits may think better of it, and again
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
        assert time.monotonic() < deadline, "it goes on for nobody"


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

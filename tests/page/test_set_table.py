"""The tables of a scored set: equal to the library's scores, and harmless in a spreadsheet."""

import csv
import io
import re
import threading

import numpy as np
import pytest
import torch

from geoseg.evaluation.label_errors import find_label_errors
from geoseg.metrics import METRICS, scores
from geoseg.page import PatchSet
from geoseg.page.batches import Work
from geoseg.page.browse import Entry
from geoseg.page.labels_tab import decide, make_review, read_decisions
from geoseg.page.set_scores import SetScorer
from geoseg.page.set_table import EVERY_WELL, SCORES, SetTable, tabulate
from tests.helpers.tabs import EMPTIED, FORMULA, SHIFTED, SHIPPED

NAMES = SHIPPED


@pytest.fixture(scope="module")
def table(shipped, spoilt_patches) -> SetTable:
    *_, found = SetScorer(Work(shipped, threading.Lock())).score(spoilt_patches, NAMES)
    return tabulate(spoilt_patches, found)


def expected_scores(patches, probabilities, shipped, name, wells=None, average="macro"):
    chosen = [
        i
        for i, e in enumerate(patches.entries)
        if e.truth is not None and (wells is None or e.name.startswith(wells))
    ]
    truth = np.stack([patches.entry(i).truth for i in chosen])
    limit = shipped.cards[name].threshold
    return scores(probabilities[name][chosen], truth, threshold=limit, average=average)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("well", "start"), [(EVERY_WELL, None), ("Well 2", "well_2")])
def test_averages_are_those_of_the_library(
    table, spoilt_patches, spoilt_probabilities, shipped, pooled, well, start
):
    frame = table.averages(well, pooled).set_index("Model")
    for name in NAMES:
        average = "micro" if pooled else "macro"
        wanted = expected_scores(
            spoilt_patches, spoilt_probabilities, shipped, name, start, average
        )
        for title, key in SCORES.items():
            if key != "share":
                assert frame.loc[name, title] == pytest.approx(wanted[key], abs=5.1e-4)
                value = table.average(name, title, pooled, table.choose(well))
                assert value == pytest.approx(wanted[key], abs=1e-12)


def test_wells_come_in_order_and_hold_their_patches(table):
    frame = table.by_well("IoU", pooled=False)
    assert list(dict.fromkeys(frame["Well"])) == ["Well 1", "Well 2", "Without a well"]
    assert table.patches("IoU", "Well 2")["Patch"].str.startswith("well_2").all()
    assert len(table.patches("IoU", EVERY_WELL)) == 8
    assert table.spread("IoU", NAMES[0], EVERY_WELL)["Patches"].sum() == table.labelled.sum()


def test_patches_are_ordered_and_those_without_a_value_are_last(table):
    assert table.orders == ["No.", *NAMES, "Disagreement"]
    assert list(table.patches("IoU", EVERY_WELL)["No."]) == list(range(1, 9))
    for name in NAMES:
        ordered = table.patches("IoU", EVERY_WELL, name)[name]
        assert ordered[:7].is_monotonic_increasing
        assert np.isnan(ordered[7])
    assert table.patches("IoU", "Well 2", "Disagreement")["Disagreement"].is_monotonic_decreasing


def test_the_file_has_every_score_and_no_formula(
    table, spoilt_patches, spoilt_probabilities, shipped
):
    text = table.csv()
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text[1:], newline=""), strict=True))
    masks = {n: spoilt_probabilities[n] > shipped.cards[n].threshold for n in NAMES}
    assert FORMULA in [entry.name for entry in spoilt_patches.entries]
    for i, (row, entry) in enumerate(zip(rows, spoilt_patches.entries, strict=True)):
        well = re.search(r"well_(\d+)", entry.name)
        escaped = "'" + entry.name if entry.name.startswith("=") else entry.name
        assert (row["name"], row["well"]) == (escaped, well[1] if well else "")
        assert (row["position"], row["notes"]) == (str(i + 1), " ".join(entry.notes))
        for name in NAMES:
            valid = ~np.isnan(spoilt_probabilities[name][i])
            share = masks[name][i].sum() / valid.sum()
            assert float(row[f"{name} marked share"]) == pytest.approx(share, abs=1e-5)
            for metric in METRICS:
                if entry.truth is None:
                    assert row[f"{name} {metric}"] == ""
                    continue
                limit = shipped.cards[name].threshold
                found = scores(spoilt_probabilities[name][i], entry.truth, threshold=limit)
                assert float(row[f"{name} {metric}"]) == pytest.approx(found[metric], abs=1e-5)
        differ = 1 - scores(masks[NAMES[0]][i], masks[NAMES[1]][i])["iou"]
        assert float(row["disagreement"]) == pytest.approx(differ, abs=1e-5)


def test_a_set_without_labels_has_the_marked_share_alone(shipped, spoilt_patches):
    bare = PatchSet("", tuple(Entry(e.name, e.patch) for e in spoilt_patches.entries))
    *_, found = SetScorer(Work(shipped, threading.Lock())).score(bare, NAMES)
    table = tabulate(bare, found)
    assert table.score_names == ["Marked"]
    assert list(table.averages(EVERY_WELL, pooled=False)) == ["Model", "Marked"]
    assert table.suspects == []


def test_labels_to_review_have_decisions_that_can_be_undone(table, spoilt_patches):
    review = make_review(table, {"letters": "none"})
    frame = review.rows({})
    names = list(frame["Patch"])
    assert {EMPTIED, SHIFTED} <= set(names)
    wrong = dict(zip(names, frame["What seems wrong"], strict=True))
    assert wrong[EMPTIED] == "a groove is missing from the label"
    assert wrong[SHIFTED] == "the label would fit 3 columns further left"
    shown = {"index": table.suspects[0].patch, "letters": "none"}
    known, listed = decide(review, {}, shown, decision="doubt")
    assert listed
    assert review.decided(known)[:2] == ["doubt", ""]
    assert review.tally(known).startswith(f"1 of {len(names)} labels decided: 0 kept, 1 doubted")
    rows = list(csv.DictReader(io.StringIO(review.csv(known)[1:], newline="")))
    assert [row["decision"] for row in rows] == review.decided(known)
    again, _ = decide(review, known, shown, decision="doubt")
    assert set(review.decided(again)) == {""}
    for other in ({"index": 10**6}, {"source": "uploads", "uploads": 1}, {"letters": "easy"}):
        assert decide(review, known, {**shown, **other}, decision="keep") == (known, False)
    assert decide(None, known, "x", decision="keep") == (known, False)


def test_sets_do_not_share_decisions(table, shipped, spoilt_patches):
    fewer = PatchSet("", spoilt_patches.entries[:-1])
    *_, found = SetScorer(Work(shipped, threading.Lock())).score(fewer, NAMES)
    marks = {
        make_review(table, {"letters": "none"}).mark,
        make_review(table, {"letters": "easy"}).mark,
        make_review(tabulate(fewer, found), {"letters": "none"}).mark,
    }
    assert len(marks) == 3
    assert (
        make_review(table, {"letters": "none"}).mark == make_review(table, {"letters": "none"}).mark
    )


def test_what_the_browser_stored_is_checked():
    stored = {"a": {"x.npy": "keep", "y.npy": "<img>"}, "b": 3}
    assert read_decisions(stored) == {"a": {"x.npy": "keep"}, "b": {}}
    assert read_decisions("x") == {}


def test_labels_are_those_of_the_library(table, spoilt_patches, spoilt_probabilities, shipped):
    labelled = [i for i, e in enumerate(spoilt_patches.entries) if e.truth is not None]
    found = find_label_errors(
        torch.stack([torch.from_numpy(spoilt_probabilities[name][labelled]) for name in NAMES]),
        [shipped.cards[name].threshold for name in NAMES],
        torch.from_numpy(np.stack([spoilt_patches.entry(i).truth for i in labelled])) == 1,
    )
    assert [labelled[s.patch] for s in found] == [s.patch for s in table.suspects]

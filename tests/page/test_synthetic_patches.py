"""Synthetic pipes of the page: reproducible, and each slider changes its property."""

import json
import math

import numpy as np
import pytest
import torch

from benchmarks.server import make_patch
from geoseg.page.browse import Entry, PatchSet
from geoseg.page.catalogue import catalogue
from geoseg.page.live import view
from geoseg.page.synthetic_patches import (
    COUNT,
    KNOBS,
    LetteredPatches,
    SyntheticPatches,
    with_letters,
)
from geoseg.synthetic import synthesize
from geoseg.synthetic.toy_labels import MODES, stamp_toy_labels

SEEDS = 24


def entries(**knobs) -> list[Entry]:
    pipes = SyntheticPatches.parse({"knobs": knobs})
    return [pipes.entry(index) for index in range(SEEDS)]


def mean(values) -> float:
    return float(np.nanmean([value for value in values if value is not None]))


def width(entry: Entry) -> float | None:
    """Return the columns of a labelled row; None unless there is exactly one groove."""
    rows = entry.truth.sum(1)
    rows = rows[(np.diff(entry.truth, axis=1, append=entry.truth[:, :1]) == 1).sum(1) == 1]
    return rows.mean() if len(rows) else None


def contrast(entry: Entry) -> float | None:
    groove, known = entry.truth == 1, np.isfinite(entry.patch)
    if not (groove & known).any():
        return None
    return entry.patch[groove].mean() - entry.patch[~groove & known].mean()


def lean(entry: Entry) -> float | None:
    """Return the columns between first and last labelled row, if no groove crosses the seam."""
    rows = np.flatnonzero(entry.truth.any(1))
    if len(rows) < 30 or entry.truth[:, [0, -1]].any():
        return None
    first, last = (np.flatnonzero(entry.truth[row]).mean() for row in rows[[0, -1]])
    return abs(last - first)


def steps(entry: Entry) -> float:
    """Return the largest mean step between columns of a row: a collar's checkerboard."""
    return np.nan_to_num(np.abs(np.diff(entry.patch, axis=1))).mean(1).max()


def waves(entry: Entry) -> float:
    """Return the highest peak of waves of 1 to 8 cycles around and 8 to 36 rows along the pipe."""
    return np.abs(np.fft.fft2(np.nan_to_num(entry.patch)))[1:5, 1:9].max()


def grain(entry: Entry) -> float:
    """Estimate white noise by second differences along both axes, robust to spikes."""
    both = np.diff(np.diff(entry.patch, 2, axis=0), 2, axis=1) / 6
    return float(np.nanmedian(np.abs(both)) / 0.6745)


def lost(entry: Entry) -> float:
    return np.isnan(entry.patch).mean()


@pytest.mark.parametrize(
    ("knob", "low", "high", "measure", "least"),
    [
        ("width", 1.5, 6.0, width, 2.5),
        ("contrast", 0.02, 0.15, lambda e: -(contrast(e) or math.nan), 0.05),
        ("drift", 0.0, 20.0, lean, 3),
        ("collar", 0.0, 0.3, steps, 0.05),
        ("lattice", 0.0, 0.03, waves, 5),
        ("noise", 0.0, 0.01, grain, 0.005),
        ("nulls", 0.0, 0.5, lost, 0.2),
    ],
)
def test_each_slider_changes_the_property_in_its_name(knob, low, high, measure, least):
    few, many = (mean(map(measure, entries(**{knob: value}))) for value in (low, high))
    assert many - few > least


def test_a_pipe_with_a_chosen_groove_shape_has_a_groove():
    assert sum(entry.truth.any() for entry in entries()) < 0.8 * SEEDS
    assert sum(entry.truth.any() for entry in entries(width=4)) > 0.9 * SEEDS


def test_the_collar_slider_adds_a_collar():
    for without, within in zip(entries(collar=0), entries(collar=0.3), strict=True):
        loud = np.abs(np.diff(within.patch - without.patch, axis=1)).max(1) > 0.05
        assert 1 <= loud.sum() <= 12


def test_a_slider_leaves_the_rest_of_the_pipe_unchanged():
    soft, hard = (entries(noise=noise)[3] for noise in (0, 0.0002))
    assert np.nanstd(soft.patch - hard.patch) < 0.001
    np.testing.assert_array_equal(soft.truth, hard.truth)


def test_the_same_seed_and_sliders_make_the_same_patch():
    pipes = SyntheticPatches.parse({"knobs": {"width": 3.0}})
    again = SyntheticPatches.parse({"knobs": {"width": 3.00001}})  # beyond the digits that are kept
    for index in (0, 16, COUNT - 1):
        entry = pipes.entry(index)
        assert entry.name == f"synthetic {index + 1}"
        np.testing.assert_array_equal(entry.patch, again.entry(index).patch)
    assert not np.array_equal(pipes.entry(0).patch, pipes.entry(1).patch)
    images, masks = synthesize(1, 36, seed=17)
    plain = SyntheticPatches().entry(16)
    np.testing.assert_array_equal(plain.patch, images[0])
    np.testing.assert_array_equal(plain.truth, masks[0])


def test_a_pipe_reports_the_values_it_drew():
    drawn = entries(width=4)[5].facts["drawn"]
    assert set(drawn) == set(KNOBS)
    assert drawn == entries()[5].facts["drawn"]
    assert all(
        entry.facts["drawn"]["lattice"] in (0, pytest.approx(0.008, abs=0.006))
        for entry in entries()
    )
    assert drawn["width"] != 4


def test_a_pipe_is_found_by_its_seed():
    pipes = SyntheticPatches()
    assert len(pipes) == COUNT
    assert pipes.find("synthetic 17", 3) == 16
    for name in ("", "synthetic 0", "synthetic 10001", "synthetic 1x", "synthetic -4", "17"):
        assert pipes.find(name, COUNT + 3) == 3
    with pytest.raises(IndexError):
        pipes.entry(COUNT)


@pytest.mark.parametrize(
    "knobs",
    [
        None,
        [],
        {"width": "4", "depth": 3, "__class__": 1},
        {"width": math.nan, "contrast": math.inf, "drift": True, "collar": -1, "lattice": 10**400},
        dict.fromkeys(KNOBS, 1e308),
        dict.fromkeys(KNOBS, -1e308),
        {"nulls": [0.5], "noise": {}},
    ],
)
def test_any_message_makes_a_usable_pipe(knobs):
    pipes = SyntheticPatches.parse({"knobs": knobs})
    for name, value in pipes.knobs:
        assert KNOBS[name].low <= value <= KNOBS[name].high
    entry = pipes.entry(2)
    assert entry.patch.shape == entry.truth.shape == (36, 36)
    assert np.isfinite(entry.patch).any()
    json.dumps(dict(entry.facts), allow_nan=False)


def test_fixed_parameters_must_have_known_names():
    with pytest.raises(ValueError, match="has no depth"):
        synthesize(1, 36, fixed={"depth": 1.0})


def test_the_list_of_pipes_holds_only_their_number():
    listed = catalogue(SyntheticPatches(), {})
    assert listed.pop("label") == "Synthetic pipes"
    assert listed == {"count": COUNT, "names": [], "notes": [], "wells": [], "labelled": COUNT}
    shown = catalogue(SyntheticPatches(), {"indices": [0, 5, COUNT, -1]})
    assert shown["indices"] == [0, 5]


def test_toy_labels_do_not_change_the_list_of_a_set():
    plain = PatchSet("Mine", (Entry("well_2_patch_1.npy", make_patch(2)),))
    before, after = catalogue(plain, {}), catalogue(LetteredPatches(plain, "easy"), {})
    assert after == {**before, "labelled": 1}
    assert after["wells"] == [2]
    assert before["labelled"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_toy_labels_replace_the_label_of_any_patch(mode):
    patch = make_patch(1)
    patch[3] = np.nan
    plain = PatchSet(
        "Mine", (Entry("a", make_patch(2)), Entry("b", patch, np.ones((36, 36), np.uint8)))
    )
    toys = with_letters(plain, {"letters": mode})
    assert (len(toys), toys.label, toys.find("b", 0)) == (2, "Mine", 1)
    entry = toys.entry(1)
    images, masks = stamp_toy_labels(torch.from_numpy(patch)[None], mode, seed=1)
    np.testing.assert_array_equal(entry.patch, images[0])
    np.testing.assert_array_equal(entry.truth, masks[0])
    assert entry.truth.any()
    assert not entry.truth[3].any()
    np.testing.assert_array_equal(toys.entry(1).truth, entry.truth)
    assert toys.entry(0).truth is not None
    turned = view(entry, 5, 0.0, 0)
    np.testing.assert_array_equal(turned.truth, np.roll(entry.truth, 5, 1))


@pytest.mark.parametrize("letters", ["none", None, "hard", 3, ["easy"], {}])
def test_invalid_letters_leave_the_set_unchanged(letters):
    pipes = SyntheticPatches()
    assert with_letters(pipes, {"letters": letters}) is pipes


def test_a_patch_too_small_for_a_letter_is_shown_with_a_note():
    truth = np.ones((6, 36), np.uint8)
    entry = LetteredPatches(
        PatchSet("", (Entry("a", np.zeros((6, 36), np.float32), truth),)), "easy"
    ).entry(0)
    np.testing.assert_array_equal(entry.truth, truth)
    assert "6 rows and 36 columns hold no letter" in entry.facts["note"]
    assert view(entry, 1, 0.001, 0).facts == entry.facts

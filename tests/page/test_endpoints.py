"""The endpoints as functions: masks, scores, and every mistake in a sentence."""

import asyncio
import json
import math
import time
import uuid
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from benchmarks.server import MODELS, make_patch
from geoseg.masks import interpret_mask
from geoseg.measurements import MeasurementOptions, interpret
from geoseg.metrics import scores
from geoseg.page import choose
from geoseg.page.api import MAX_WAITING, _Line, endpoints
from geoseg.page.given import MAX_CALL_FILES
from geoseg.page.uploads import inbox
from geoseg.segmenter import Segmenter

NAMES = tuple(MODELS)


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    inbox().mkdir(parents=True)
    return inbox()


def put(folder: Path, array: np.ndarray, name: str = "a.npy") -> dict:
    path = folder / uuid.uuid4().hex / "some.npy"
    path.parent.mkdir()
    np.save(path, array)
    return {"path": str(path), "orig_name": name}


def run(segmenter: Segmenter, name: str, *data, **options):
    return asyncio.run(endpoints(segmenter)[name](*data, **options))


def test_experiments_are_selected_by_id_name_or_both():
    assert choose(NAMES, "200") == ["200-stacked"]
    assert choose(NAMES, "unet") == ["402-unet"]
    assert choose(NAMES, "300-vanilla") == ["300-vanilla"]
    assert choose(NAMES, "20") == choose(NAMES, "") == []
    assert choose(("201-stacked", *NAMES), "stacked") == ["201-stacked", "200-stacked"]


def test_a_patch_is_shifted_and_segmented_and_its_nulls_stay_null(segmenter, uploads):
    patch = make_patch(3)
    patch[0, 0] = np.nan
    plain = run(segmenter, "segment", put(uploads, patch))
    assert list(plain["models"]) == list(NAMES)
    turned = run(segmenter, "segment", put(uploads, patch), ["stacked"], -5, probabilities=True)
    turned, straight = turned["models"]["200-stacked"], plain["models"]["200-stacked"]
    np.testing.assert_array_equal(np.array(turned["mask"]), np.roll(straight["mask"], -5, 1))
    assert turned["probability"][0][31] is None
    assert "probability" not in straight
    all_above_0 = run(segmenter, "segment", put(uploads, patch), ["200"], threshold=0.0)
    assert np.sum(all_above_0["models"]["200-stacked"]["mask"]) == patch.size - 1
    json.dumps(plain, allow_nan=False)


def test_patches_of_a_list_are_segmented_as_each_alone(segmenter, uploads):
    arrays = [make_patch(1), np.tile(make_patch(2), (3, 1))]
    options = {"models": ["unet", "stacked"], "shift": 4, "noise": 0.002, "seed": 3}
    files = [put(uploads, array, f"{i}.npy") for i, array in enumerate(arrays)]
    answer = run(segmenter, "segment", files, **options)["patches"]
    assert [(one["name"], one["shape"]) for one in answer] == [
        ("0.npy", [36, 36]),
        ("1.npy", [108, 36]),
    ]
    for array, found in zip(arrays, answer, strict=True):
        alone = run(segmenter, "segment", put(uploads, array), **options)
        assert list(alone["models"]) == list(found["models"]) == ["402-unet", "200-stacked"]
        for name, model in alone["models"].items():
            assert model["mask"] == found["models"][name]["mask"]


def test_scores_are_those_of_the_library(segmenter, uploads):
    patches = [make_patch(i) for i in (1, 2, 3)]
    patches[1][4:9] = np.nan
    truths = [(patch < -0.02).astype(np.uint8) for patch in patches]
    truths[2][:] = 0  # no groove: every marked pixel is a false positive
    files = [[put(uploads, array) for array in arrays] for arrays in (patches, truths)]
    answer = run(segmenter, "evaluate", *files, threshold=0.4)
    assert answer["patches"] == ["a.npy"] * 3
    for name, found in answer["models"].items():
        probability = segmenter.probabilities(np.stack(patches), [name])[name]
        for average in ("macro", "micro"):
            expected = scores(probability, np.stack(truths), threshold=0.4, average=average)
            assert found[average] == pytest.approx(expected)
        for i, row in enumerate(found["patches"]):
            assert row == pytest.approx(scores(probability[i], truths[i], threshold=0.4))
        assert found["threshold"] == 0.4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": ["999"]}, "there are 200-stacked"),
        ({"models": 7}, "No model 7"),
        ({"unit": "furlong"}, "unknown unit 'furlong'; choose auto, inch"),
        ({"losses": ["up"]}, "choose negative or positive"),
        ({"shift": 1.5}, "shift is 1.5"),
        ({"seed": -1}, "seed is -1"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": math.nan}, "noise is nan"),
        ({"threshold": "high"}, "threshold is 'high'"),
        *(({name: True}, f"{name} is True") for name in ("shift", "noise", "seed", "threshold")),
    ],
)
def test_invalid_arguments_are_explained(segmenter, uploads, options, said):
    with pytest.raises(gr.Error, match=said):
        run(segmenter, "segment", put(uploads, make_patch(1)), **options)


@pytest.mark.parametrize(
    "file", [None, {}, [], {"path": "/etc/passwd"}, {"path": 3}, "a.npy", [[]]]
)
def test_only_uploads_are_read(segmenter, uploads, file):
    with pytest.raises(gr.Error, match="upload"):
        run(segmenter, "segment", file)


def test_the_size_of_a_call_is_bounded(segmenter, uploads, monkeypatch):
    with pytest.raises(gr.Error, match="513 files are beyond the 512"):
        run(segmenter, "segment", [{}] * (MAX_CALL_FILES + 1))
    with pytest.raises(gr.Error, match="larger than 1,048,576 bytes"):
        run(segmenter, "segment", "data:;base64," + "A" * 2**21)
    monkeypatch.setattr("geoseg.page.given.MAX_CALL_WORK", 4 * 36 * 36)
    pair = [put(uploads, make_patch(i)) for i in (1, 2)]
    with pytest.raises(gr.Error, match="times 3 models are beyond"):
        run(segmenter, "segment", pair)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([("a.npy", np.zeros((36, 36)))], "2 patches and 1 labels"),
        ([("b.npy", np.zeros((36, 36))), ("a.npy", np.zeros((36, 36)))], "another order"),
        (
            [("a.npy", np.zeros((36, 36))), ("b.npy", np.zeros((9, 9)))],
            "label of b.npy has the size 9x9",
        ),
        (
            [("a.npy", np.zeros((36, 36))), ("b.npy", np.full((36, 36), 7))],
            "b.npy holds the value 7",
        ),
    ],
)
def test_labels_that_do_not_match_the_patches_are_refused(segmenter, uploads, labels, said):
    patches = [put(uploads, make_patch(1), name) for name in ("a.npy", "b.npy")]
    marks = [put(uploads, array, name) for name, array in labels]
    with pytest.raises(gr.Error, match=said):
        run(segmenter, "evaluate", patches, marks)
    read = "b.npy" in said
    assert {Path(file["path"]).exists() for file in patches + marks} == {not read}


def test_what_was_assumed_is_told_for_each_patch_and_label(segmenter, uploads):
    patch = make_patch(1)
    patch[3:6] = -999.25
    truth = np.where(make_patch(1) < -0.02, 255, 0).astype(np.uint8)
    assert truth.any()
    notes = list(interpret(patch).notes)
    alone = run(segmenter, "segment", put(uploads, patch), ["200"], probabilities=True)
    assert alone["notes"] == notes
    assert set(alone["models"]["200-stacked"]["probability"][4]) == {None}
    scored = run(segmenter, "evaluate", [put(uploads, patch)], [put(uploads, truth)], ["200"])
    assert scored["notes"] == [[*notes, interpret_mask(truth, "").notes[0]]]
    plain = run(segmenter, "evaluate", [put(uploads, patch)], [put(uploads, truth // 255)], ["200"])
    assert scored["models"] == plain["models"]


def test_a_stack_has_an_answer_and_a_score_for_each_patch(segmenter, uploads):
    patches = np.stack([make_patch(i) for i in (1, 2)])
    truths = patches < -0.02
    answer = run(segmenter, "segment", put(uploads, patches[..., None], "x.npy"), ["200"])
    assert [one["name"] for one in answer["patches"]] == ["x.npy [0]", "x.npy [1]"]
    for patch, found in zip(patches, answer["patches"], strict=True):
        alone = run(segmenter, "segment", put(uploads, patch), ["200"])
        expected = alone["models"]["200-stacked"]["mask"]
        assert found["models"]["200-stacked"]["mask"] == expected
    scored = run(segmenter, "evaluate", [put(uploads, patches)], [put(uploads, truths)], ["200"])
    apart = [[put(uploads, one) for one in stack] for stack in (patches, truths)]
    assert scored["models"] == run(segmenter, "evaluate", *apart, ["200"])["models"]
    with pytest.raises(gr.Error, match="2 patches and 1 labels"):
        run(segmenter, "evaluate", [put(uploads, patches)], [put(uploads, truths[0])], ["200"])
    with pytest.raises(gr.Error, match="513 patches are beyond the 512"):
        run(segmenter, "segment", put(uploads, np.tile(patches[:1, :4, :4], (513, 1, 1))))


def test_a_stack_beyond_the_limit_is_refused_before_it_is_interpreted(segmenter, uploads):
    with pytest.raises(gr.Error, match="stack of 5,000 patches is beyond the 4,096"):
        run(segmenter, "segment", put(uploads, np.zeros((5000, 2, 2), np.uint8)))


def test_the_options_of_a_call_are_those_of_the_library(segmenter, uploads):
    patch = make_patch(4)
    options = {"losses": "positive", "unit": "mm"}
    found = run(segmenter, "segment", put(uploads, patch), ["200"], **options, probabilities=True)
    log = interpret(patch, MeasurementOptions(**options))
    expected = segmenter.segment(log.image, ["200-stacked"], interpret=False)["200-stacked"]
    model = found["models"]["200-stacked"]
    np.testing.assert_array_equal(model["mask"], expected.mask)
    np.testing.assert_array_equal(np.float32(model["probability"]), expected.probability)
    assert found["notes"] == list(log.notes)


def test_calls_beyond_the_queue_are_refused():
    async def crowd() -> list:
        line = _Line()
        calls = (line(lambda: time.sleep(0.05)) for _ in range(MAX_WAITING + 3))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcome = asyncio.run(crowd())
    assert outcome[: MAX_WAITING + 1] == [None] * (MAX_WAITING + 1)
    assert all("wait already" in str(error) for error in outcome[MAX_WAITING + 1 :])

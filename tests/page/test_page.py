"""The parts of the page, without a server or a browser."""

import asyncio
import base64
import io
import json
import math
import os
import re
import uuid
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from benchmarks.server import make_checkpoints, make_folder, make_patch
from geoseg import create_model, find_checkpoints, save_checkpoint
from geoseg.card import latest_per_architecture
from geoseg.input_files import find_files
from geoseg.measurements import MeasurementOptions, read_logs, read_patch
from geoseg.natural_sort import natural_key
from geoseg.page import NoPatchesError, PatchSet, build, load_set
from geoseg.page.browse import MAX_PIXELS, Entry
from geoseg.page.live import answer, view
from geoseg.page.request import MAX_NOISE, MAX_SHIFT, Request
from geoseg.page.uploads import (
    MAX_FILE_BYTES,
    MAX_FILES,
    NOT_HERE,
    clean,
    inbox,
    sweep,
    uploaded_bytes,
)
from geoseg.page.users import KEPT_SECONDS, LEAST_PIXELS, Users, read_uploads
from geoseg.patches import PatchError
from geoseg.segmenter import Segmenter

NAMES = ("200-stacked", "300-vanilla", "402-unet")


@pytest.fixture
def images(tmp_path) -> Path:
    return make_folder(tmp_path / "set")


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    inbox().mkdir(parents=True)
    return inbox()


def upload(folder: Path, name: str, content: np.ndarray | bytes) -> dict:
    path = folder / uuid.uuid4().hex / "some.npy"
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    return {"path": str(path), "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def test_natural_order_sorts_numbers_by_value():
    names = ["patch_10", "Patch_2", "patch_1", "well_2_patch_1", "7"]
    ordered = ["7", "patch_1", "Patch_2", "patch_10", "well_2_patch_1"]
    assert sorted(names, key=natural_key) == ordered


def test_a_set_comes_from_a_folder_a_file_or_a_glob(images):
    every = [f"well_9_patch_{i}.npy" for i in (0, 5, 10, 15, 20)]
    root = images.parent
    for source in (images, root, images / "*.npy", root / "**" / "*.npy"):  # not the labels
        assert [f.name for f in find_files(str(source))] == every
    assert [f.name for f in find_files(str(images / "well_9_patch_1*.npy"))] == [
        "well_9_patch_10.npy",
        "well_9_patch_15.npy",
    ]
    twice = load_set([str(images / "well_9_patch_5.npy"), str(images)], "")
    assert [e.name for e in twice.entries] == [every[1], every[0], *every[2:]]


def test_labels_are_found_beside_the_images(images):
    (images.parent / "labels" / "well_9_patch_5.npy").write_bytes(b"no array")
    np.save(images.parent / "labels" / "well_9_patch_10.npy", np.zeros((2, 2), np.uint8))
    found = load_set([str(images)], "")
    assert [e.truth is not None for e in found.entries] == [True, False, False, True, False]
    assert found.entries[0].truth.dtype == np.uint8
    assert found.entries[0].truth[:, 7].all()
    reasons = dict(found.rejected)
    assert "without its labels" in reasons["well_9_patch_5.npy"]
    assert "2x2" in reasons["well_9_patch_10.npy"]


def test_unreadable_files_are_named_and_the_others_are_loaded(images):
    (images / "well_9_patch_7.npy").write_bytes(b"\x93NUMPY")
    np.save(images / "tall.npy", np.ones((MAX_PIXELS // 36 + 1, 36), np.float32))
    found = load_set([str(images)], "")
    assert len(found.entries) == 5
    reasons = dict(found.rejected)
    assert set(reasons) == {"well_9_patch_7.npy", "tall.npy"}
    assert "65,536" in reasons["tall.npy"]


@pytest.mark.parametrize(
    ("source", "said"),
    [("none*.npy", "matches no file"), ("gone", "does not exist"), (".", "holds no .npy file")],
)
def test_an_empty_set_is_refused_in_one_sentence(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoPatchesError, match=said):
        load_set([source], "")


def test_a_set_of_unreadable_files_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(NoPatchesError, match=r"none of the 1 files.*empty"):
        load_set([str(tmp_path)], "")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        [],
        {},
        {"index": "7", "shift": [], "noise": None, "seed": True, "models": "all"},
        {"index": 10**400, "shift": -3, "noise": math.nan, "seed": math.inf, "models": [{}, 3]},
        {"shift": 99, "noise": 1e9, "seed": -1, "models": ["200-stacked", "../../etc"]},
    ],
)
def test_any_message_becomes_a_usable_request(segmenter, raw):
    request = Request.parse(raw, NAMES)
    assert 0 <= request.shift <= MAX_SHIFT
    assert 0 <= request.noise <= MAX_NOISE
    assert set(request.models) <= set(NAMES)
    patches = PatchSet("", (Entry("a", make_patch(1)),))
    json.dumps(answer(segmenter, patches, request), allow_nan=False)


def test_a_view_adds_seeded_noise_then_shifts_patch_and_label():
    patch, truth = make_patch(1), (make_patch(2) > 0).astype(np.uint8)
    patch[3] = np.nan
    entry = Entry("a", patch, truth)
    noisy = view(entry, 0, 0.002, 5)
    turned = view(entry, 9, 0.002, 5)
    np.testing.assert_array_equal(turned.patch, np.roll(noisy.patch, 9, 1))
    np.testing.assert_array_equal(turned.truth, np.roll(truth, 9, 1))
    again = view(entry, 9 + 3 * 36, 0.002, 5)
    np.testing.assert_array_equal(again.patch, turned.patch)
    np.testing.assert_array_equal(np.isnan(noisy.patch), np.isnan(patch))
    assert np.nanstd(noisy.patch - patch) == pytest.approx(0.002, rel=0.1)
    assert not np.array_equal(noisy.patch, view(entry, 0, 0.002, 6).patch, equal_nan=True)
    np.testing.assert_array_equal(view(entry, 0, 0.0, 5).patch, patch)


def test_an_answer_carries_the_exact_output_of_the_models(segmenter, images):
    patches = load_set([str(images)], "Samples")
    request = Request.parse({"index": -3, "models": ["402-unet"]}, NAMES)
    message = answer(segmenter, patches, request)
    entry = patches.entries[2]
    assert (message["index"], message["count"]) == (2, 5)
    assert (message["name"], message["shape"]) == (entry.name, [36, 36])
    patch = np.frombuffer(base64.b64decode(message["patch"]), "<f4").reshape(36, 36)
    np.testing.assert_array_equal(patch, entry.patch)
    (model,) = message["models"]
    probability = np.frombuffer(base64.b64decode(model["probability"]), "<f4").reshape(36, 36)
    expected = segmenter.probabilities(entry.patch, ["402-unet"])["402-unet"]
    np.testing.assert_array_equal(probability, expected)
    assert np.isnan(probability[4:7]).all()
    assert model["parameters"] == segmenter.model("402-unet").count_parameters()
    assert model["milliseconds"] > 0


def test_a_failing_model_does_not_affect_the_others(segmenter, monkeypatch):
    segment = segmenter.segment

    def fail(patch, names, **options):
        if names == ["300-vanilla"]:
            raise ValueError("height 35 is odd; pad to 36\nand more")
        return segment(patch, names, **options)

    monkeypatch.setattr(segmenter, "segment", fail)
    patches = PatchSet("", (Entry("a", make_patch(1)),))
    models = answer(segmenter, patches, Request.parse({}, NAMES))["models"]
    assert models[1] == {"name": "300-vanilla", "error": "height 35 is odd; pad to 36"}
    assert "probability" in models[0]
    assert "probability" in models[2]


def test_uploads_name_unreadable_files_and_keep_the_others():
    found = read_uploads(
        [
            ("b_10.npy", npy(1)),
            ("C:\\logs\\b_9.npy", npy(2)),
            ("broken\n.npy", b"\x93NUMPY\x01\x00"),
            ("large.npy", b"x" * (MAX_FILE_BYTES + 1)),
        ]
    )
    assert [e.name for e in found.entries] == ["b_9.npy", "b_10.npy"]
    assert [r.name for r in found.rejected] == ["broken?.npy", "large.npy"]


def test_a_stack_is_as_many_patches_with_their_notes(tmp_path):
    stack = np.stack([make_patch(i) for i in (1, 2)])
    np.save(tmp_path / "x.npy", stack[..., None])
    options = MeasurementOptions(losses="positive", unit="mm")
    sets = [
        load_set([str(tmp_path)], "", options),
        read_uploads([("x.npy", (tmp_path / "x.npy").read_bytes())], options=options),
    ]
    logs = read_logs(tmp_path / "x.npy", options)
    for found in sets:
        assert found.names == ["x.npy [0]", "x.npy [1]"]
        for entry, log in zip(found.entries, logs, strict=True):
            np.testing.assert_array_equal(entry.patch, log.image)
            assert entry.notes == log.notes


def test_labels_of_0_and_255_are_understood_and_said(images):
    label = images.parent / "labels" / "well_9_patch_0.npy"
    plain = load_set([str(images)], "")
    np.save(label, 255 * np.load(label))
    found = load_set([str(images)], "")
    np.testing.assert_array_equal(found.entry(0).truth, plain.entry(0).truth)
    assert found.notes == [f"{plain.notes[0]} {found.entry(0).notes[-1]}".strip(), *plain.notes[1:]]
    assert "255 was taken for grooves" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_files_of_other_kinds_are_rejected_in_one_sentence(content, said):
    (rejected,) = read_uploads([("a.npy", content)]).rejected
    assert said in rejected.reason


def test_the_size_of_uploads_is_bounded(monkeypatch):
    many = [("a.npy", npy(1))] * (MAX_FILES + 2)
    found = read_uploads(many)
    assert (len(found.entries), len(found.rejected)) == (MAX_FILES, 2)
    full = read_uploads(many[:3], room=2 * 36 * 36 - 1)
    assert len(full.entries) == 1
    assert "try again later" in full.rejected[0].reason
    monkeypatch.setattr("geoseg.page.users.MAX_STACK", 1)
    assert "beyond 1 patches" in read_uploads(many[:2]).rejected[0].reason
    monkeypatch.undo()
    monkeypatch.setattr("geoseg.page.users.MAX_TOTAL_PIXELS", 2 * 36 * 36)
    assert len(read_uploads(many[:3]).entries) == 2
    assert len(clean("x" * 999)) < 200


def test_an_address_has_a_share_of_the_memory(monkeypatch):
    monkeypatch.setattr("geoseg.page.users.MAX_HELD_PIXELS", 4 * LEAST_PIXELS)
    monkeypatch.setattr("geoseg.page.users.MAX_CLIENT_PIXELS", 2 * LEAST_PIXELS)
    users, small = Users(), read_uploads([("a.npy", npy(1))])
    for key in ("one", "two"):
        assert users.room(key, "10.0.0.1") > 0
        users.keep(key, "10.0.0.1", small)
    assert users.room("three", "10.0.0.1") == 0
    assert users.room("two", "10.0.0.1") > 0, "its own uploads are replaced"
    assert users.room("three", "10.0.0.2") == 2 * LEAST_PIXELS
    assert users.uploads("one") is small, "uploads of others stay"


def test_unused_uploads_expire(monkeypatch):
    now = 0.0
    monkeypatch.setattr("geoseg.page.users.time.monotonic", lambda: now)
    users, found = Users(), read_uploads([("a.npy", npy(1))])
    users.keep("left", "", found)
    users.keep("used", "", found)
    now = KEPT_SECONDS - 1
    assert users.uploads("used") is found
    now = KEPT_SECONDS + 1
    assert [users.uploads(key) for key in ("left", "used")] == [None, found]


def npy(seed: int) -> bytes:
    file = io.BytesIO()
    np.save(file, make_patch(seed))
    return file.getvalue()


def test_an_upload_is_read_once_and_expires_unread(uploads):
    once = upload(uploads, "a.npy", make_patch(1))
    assert read_patch(uploaded_bytes(once)).shape == (36, 36)
    with pytest.raises(PatchError, match="read already"):
        uploaded_bytes(once)
    for folder in ("old", "new"):
        (uploads / folder).mkdir()
        np.save(uploads / folder / "a.npy", make_patch(1))
    os.utime(uploads / "old" / "a.npy", (0, 0))
    sweep()
    assert [p.name for p in uploads.iterdir()] == ["new"]


def test_only_the_upload_folder_is_read(uploads, tmp_path):
    secret = tmp_path / "secret.npy"
    np.save(secret, make_patch(1))
    (uploads / "link.npy").symlink_to(secret)
    (uploads / "loop.npy").symlink_to(uploads / "loop.npy")
    paths = [secret, uploads / ".." / "secret.npy", uploads / "link.npy", uploads / "loop.npy"]
    for path in [*map(str, paths), str(uploads), str(uploads / "gone.npy"), "a\0b", "/dev/zero"]:
        with pytest.raises(PatchError, match=re.escape(NOT_HERE)):
            uploaded_bytes({"path": path})


def test_building_the_page_loads_no_model(tmp_path, images):
    segmenter = Segmenter(sorted(make_checkpoints(tmp_path).glob("*.safetensors")), "cpu")

    async def make() -> gr.Blocks:  # without a loop Gradio opens one and leaves it open
        return build(segmenter, load_set([str(images)], "Samples"))

    demo = asyncio.run(make())
    assert not segmenter._models
    assert demo.title == "geoseg"


def test_the_latest_checkpoint_of_at_most_three_architectures_is_shown_first(tmp_path):
    made = {"5-a": "unet", "6-b": "vanilla", "7-c": "unet", "8-d": "stacked", "9-e": "micro"}
    for name, architecture in made.items():
        save_checkpoint(tmp_path / f"{name}.safetensors", create_model(architecture))
    segmenter = Segmenter(find_checkpoints(tmp_path))
    assert latest_per_architecture(segmenter.cards) == ["7-c", "8-d", "9-e"]
    two = Segmenter(find_checkpoints(tmp_path)[:3])
    assert latest_per_architecture(two.cards) == ["6-b", "7-c"]

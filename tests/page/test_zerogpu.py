"""The page on ZeroGPU, with the real package `spaces` and a scheduler of the tests."""

import base64
import io
import json
import sys
import threading
import time
import zipfile
from contextvars import ContextVar
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from benchmarks.server import EXACT, make_patch, running
from geoseg import Segmenter, find_checkpoints
from geoseg.page import zerogpu
from tests.helpers.zerogpu_scheduler import lending

pytest.importorskip("spaces", reason="spaces is not installed; pip install spaces")

VISITOR = {"x-ip-token": "a.e30.c"}
USER = "0123456789abcdef"


@pytest.fixture(scope="module")
def lender():
    with lending() as one:
        yield one


def page(lender, checkpoints, patience):
    """Run the page as a ZeroGPU Space that waits at most `patience` seconds for a GPU."""
    program = [
        sys.executable,
        "-m",
        "tests.helpers.zerogpu_app",
        *EXACT[2:],
        "--checkpoints",
        str(checkpoints),
    ]
    wishes = {"WORTH_SECONDS": "0", "PATIENCE_SECONDS": str(patience)}
    return running(program=program, **lender.environment, SPACE_ID="me/geoseg", **wishes)


@pytest.fixture(scope="module")
def url(lender, checkpoints):
    with page(lender, checkpoints, patience=60) as server:
        yield server.url


@pytest.fixture(scope="module")
def patches(url):
    return upload(url)


def upload(url):
    """Upload twenty patches as a user; return them, (20, 36, 36)."""
    patches = np.stack([make_patch(seed) for seed in range(20)])
    files = []
    for i, patch in enumerate(patches):
        file = io.BytesIO()
        np.save(file, patch)
        files.append(("files", (f"patch_{i:02}.npy", file.getvalue())))
    answer = httpx.post(f"{url}/page/files", data={"user": USER}, files=files)
    assert answer.json()["accepted"] == 20
    return patches


def export(url, **headers):
    """Export the set; return the masks by model and name."""
    asked = {"user": USER, "source": "uploads", "models": ["402-unet", "300-vanilla"]}
    with httpx.stream("POST", f"{url}/page/export", json=asked, headers=headers) as answer:
        last = json.loads(list(answer.iter_lines())[-1])
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(last["zip"])))
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    return {name: np.load(io.BytesIO(archive.read(name))) for name in names}


def expected(checkpoints, patches):
    segmenter = Segmenter(find_checkpoints(checkpoints), "cpu")
    found = segmenter.probabilities(patches, ["402-unet", "300-vanilla"])
    return {
        f"masks/{name}/patch_{i:02}.npy": probability > segmenter.cards[name].threshold
        for name, probabilities in found.items()
        for i, probability in enumerate(probabilities)
    }


def test_a_set_is_segmented_on_the_gpu_of_the_visitor(url, lender, checkpoints, patches):
    lender.asked.clear()
    masks = export(url, **VISITOR)
    wanted = expected(checkpoints, patches)
    assert masks.keys() == wanted.keys()
    same = np.mean([(masks[name] == wanted[name]).mean() for name in wanted])
    assert same > 0.999
    # One call per model, in one process that stays.
    assert lender.names() == ["schedule", "allow", "release", "schedule", "release"]
    for name, told in lender.asked:
        if name == "schedule":
            assert told["token"] == VISITOR["x-ip-token"]
            assert told["durationSeconds"] == "10"
        if name == "release":
            assert told["fail"] == "false"


def test_live_requests_and_calls_request_no_gpu(url, lender, patches, tmp_path):
    lender.asked.clear()
    asked = {"user": USER, "source": "uploads", "index": 3, "models": ["402-unet"]}
    seen = httpx.post(f"{url}/page/look", json=asked).json()
    assert "error" not in seen["models"][0]
    np.save(tmp_path / "one.npy", patches[0])
    client = Client(url, verbose=False)
    answer = client.predict(handle_file(str(tmp_path / "one.npy")), api_name="/segment")
    assert np.shape(answer["models"]["402-unet"]["mask"]) == (36, 36)
    assert lender.asked == []


def test_without_gpu_quota_the_cpu_continues(url, lender, checkpoints, patches):
    lender.asked.clear()
    lender.minutes = False
    masks = export(url)
    wanted = expected(checkpoints, patches)
    assert np.mean([(masks[name] == wanted[name]).mean() for name in wanted]) > 0.999
    assert lender.names() == ["schedule"]  # and not again for a while
    assert "token" not in lender.asked[0][1]


def test_the_cpu_continues_while_no_gpu_is_free(lender, checkpoints):
    lender.asked.clear()
    lender.minutes, lender.busy = True, True
    try:
        with page(lender, checkpoints, patience=0) as server:
            patches = upload(server.url)
            masks = export(server.url, **VISITOR)
    finally:
        lender.busy = False
    wanted = expected(checkpoints, patches)
    assert np.mean([(masks[name] == wanted[name]).mean() for name in wanted]) > 0.999
    assert lender.names() == ["startup-report", "schedule"]  # for two models


def lend(monkeypatch, lender):
    """Replace the scheduler by a function of patches, and wait for its answer."""
    monkeypatch.setattr(zerogpu, "_lent", lambda _, patches: lender(patches))
    monkeypatch.setattr(zerogpu, "PATIENCE_SECONDS", 60)


def loan_for(count):
    return zerogpu.Loan(
        Path("x"), np.arange(count), np.zeros((count, 1, 1), np.float32).__getitem__
    )


def test_a_gpu_is_requested_only_if_it_saves_time(monkeypatch):
    lent = []
    lend(monkeypatch, lambda patches: lent.append(len(patches)) or patches)
    most = zerogpu.MOST_AT_ONCE
    for count, seconds in ((most + 1, 6), (most * 2, 12), (most, 4)):
        loan, done = loan_for(count), 0
        while (found := loan.take(done, seconds / count)) is not None:
            done += len(found)
    assert lent == [most, most, most]


def test_the_requested_gpu_time_grows_with_the_patches():
    few, many = (np.zeros((count, 36, 36), np.float32) for count in (2, 3000))
    assert (zerogpu._duration("x", few), zerogpu._duration("x", many)) == (10, 12)


def test_the_cpu_continues_until_the_gpu_answers(monkeypatch):
    comes, asked = threading.Event(), []

    def answer(patches):
        asked.append(len(patches))
        comes.wait(60)
        return np.arange(len(patches))

    lend(monkeypatch, answer)
    monkeypatch.setattr(zerogpu, "PATIENCE_SECONDS", 0)
    loan = loan_for(100)
    assert loan.take(2, 60) is None
    assert loan.take(12, 60) is None
    assert loan_for(9).take(0, 60) is None  # another job of a visitor who waits already
    assert asked == [98]
    comes.set()
    while (found := loan.take(22, 60)) is None:
        time.sleep(0.01)
    assert not zerogpu._waiting
    assert found.tolist() == list(range(20, 98))  # without those that the CPU has done


def test_a_visitor_without_quota_does_not_block_others(monkeypatch):
    asked = []

    def answer(patches):
        asked.append(visitor)
        if visitor == "poor":
            raise RuntimeError("no minutes left")
        return patches

    lend(monkeypatch, answer)
    monkeypatch.setattr(zerogpu, "_refused", {"long ago": 0.0})
    for visitor in ("poor", "rich", "poor"):
        monkeypatch.setattr(zerogpu, "_visitor", ContextVar("visitor", default=visitor))
        assert (loan_for(2).take(0, 30) is None) == (visitor == "poor")
    assert asked == ["poor", "rich"]
    assert zerogpu._refused.keys() == {"poor"}

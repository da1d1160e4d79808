"""The page on ZeroGPU, with the real package `spaces` and a scheduler of the tests."""

import io
import re
import sys
import threading
import zipfile

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from benchmarks.server import EXACT, make_patch, running
from geoseg import Segmenter, find_checkpoints
from geoseg.page import zerogpu
from geoseg.page.batches import Work
from tests.helpers.requests import API, ask, send_files, trigger
from tests.helpers.zerogpu_scheduler import lending

pytest.importorskip("spaces", reason="spaces is not installed; pip install spaces")

VISITOR = {"x_ip_token": "a.e30.c"}
USER = "0123456789abcdef"


@pytest.fixture(scope="module")
def lender():
    with lending() as one:
        yield one


@pytest.fixture(scope="module")
def url(lender, checkpoints):
    """Run the page as a ZeroGPU Space."""
    app = [sys.executable, "-m", "tests.helpers.zerogpu_app", *EXACT[2:]]
    program = [*app, "--checkpoints", str(checkpoints)]
    environment = {**lender.environment, "SPACE_ID": "me/geoseg", "WORTH_SECONDS": "0"}
    with running(program=program, **environment) as server:
        yield server.url


@pytest.fixture(scope="module")
def patches(url):
    """Upload twenty patches as a user; return them, (20, 36, 36)."""
    patches = np.stack([make_patch(seed) for seed in range(20)])
    files = []
    for i, patch in enumerate(patches):
        file = io.BytesIO()
        np.save(file, patch)
        files.append((f"patch_{i:02}.npy", file.getvalue()))
    assert send_files(url, USER, files)["accepted"] == 20
    return patches


def export(url, **headers):
    """Export the set as the tab Save does; return the masks by model and name."""
    asked = {"user": USER, "source": "uploads", "models": ["402-unet", "300-vanilla"]}
    told = trigger(url, "save-masks", "click", asked, **headers)
    (path,) = set(re.findall(r"'path': '([^']+)'", str(told)))
    archive = zipfile.ZipFile(io.BytesIO(httpx.get(f"{url}{API}/file={path}").content))
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
            assert told["token"] == VISITOR["x_ip_token"]
            assert told["durationSeconds"] == "10"
        if name == "release":
            assert told["fail"] == "false"


def test_live_requests_and_calls_request_no_gpu(url, lender, patches, tmp_path):
    lender.asked.clear()
    seen = ask(url, "look", USER, source="uploads", index=3, models=["402-unet"])
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
    assert lender.names() == ["schedule", "schedule"], "once for each model"
    assert "token" not in lender.asked[0][1]


def test_a_gpu_is_asked_for_only_where_it_saves_time(segmenter, monkeypatch):
    lent = []

    def compute(path, images):
        lent.append(len(images))
        return np.full(images.shape, 0.25, np.float32)

    patches = np.stack([make_patch(seed) for seed in range(9)])
    work = Work(segmenter, threading.Lock())

    def run():
        return np.concatenate(list(work.run("300-vanilla", np.arange(9), patches.__getitem__)))

    monkeypatch.setattr(zerogpu, "compute", compute)
    plain = run()
    assert lent == []
    monkeypatch.setattr(zerogpu, "WORTH_SECONDS", 0)
    monkeypatch.setattr(zerogpu, "MOST_AT_ONCE", 2)
    found = run()
    assert set(lent) <= {1, 2}
    done = len(patches) - sum(lent)
    assert 4 <= done <= 6, "by the processor, to learn its pace"
    assert np.allclose(found[:done], plain[:done], atol=1e-5)
    assert np.all(found[done:] == 0.25)


def test_without_a_gpu_the_processor_goes_on(segmenter, monkeypatch, caplog):
    asked = []

    def refuse(path, images):
        asked.append(len(images))
        raise RuntimeError("no minutes left")

    patches = np.stack([make_patch(seed) for seed in range(9)])
    work = Work(segmenter, threading.Lock())
    plain = segmenter.probabilities(patches, ["300-vanilla"], interpret=False)["300-vanilla"]
    assert zerogpu.compute("x", patches) is None, "no ZeroGPU is here"
    monkeypatch.setattr(zerogpu, "_lent", refuse)
    monkeypatch.setattr(zerogpu, "WORTH_SECONDS", 0)
    found = np.concatenate(list(work.run("300-vanilla", np.arange(9), patches.__getitem__)))
    assert np.allclose(found, plain, atol=1e-5)
    assert len(asked) == 1, "the processor does the rest of this set"
    assert "no minutes left" in caplog.text


def test_the_requested_gpu_time_grows_with_the_patches():
    few, many = (np.zeros((count, 36, 36), np.float32) for count in (2, 3000))
    assert (zerogpu._duration("x", few), zerogpu._duration("x", many)) == (10, 12)

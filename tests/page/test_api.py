"""The endpoints of a running server, and the examples of the documents."""

import json
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.server import MODELS, ROOT
from geoseg.segmenter import Segmenter
from tests.helpers.documents import fenced_blocks
from tests.helpers.requests import API, ask, call, post, send, upload_paths

NAMES = tuple(MODELS)
PYTHON = [sys.executable, "-c"]


def find_example(language: str, part: str) -> str:
    """Return the first fenced block of the documents in that language that holds `part`."""
    for document in (ROOT / "docs" / "api.md", ROOT / "README.md"):
        for kind, text, _ in fenced_blocks(document) if document.exists() else ():
            if kind == language and part in text:
                return text
    raise AssertionError(f"no example in {language} holds {part!r}")


def run_example(command: list[str], code: str, url: str = "") -> str:
    """Run an example in the clone, as its reader does; return what it prints."""
    code = code.replace("http://127.0.0.1:7860", url)
    done = subprocess.run([*command, code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected_mask(segmenter: Segmenter, number: int, shift: int = 0) -> np.ndarray:
    """Return the mask of a sample that the library makes."""
    patch = np.load(ROOT / f"geoseg/samples/validation/images/well_2_patch_{number}.npy")
    return segmenter.segment(np.roll(patch, shift, 1), ["402-unet"])["402-unet"].mask


def check_masks(mask, expected: np.ndarray) -> None:
    """Check that two masks agree, but for rounding at the threshold."""
    assert np.mean(np.array(mask) == expected) > 0.999


def test_the_python_client_example_runs(url, segmenter):
    code = find_example("python", "from gradio_client import")
    code += "import json; print(json.dumps([facts, mask, answers, scores]))"
    printed = run_example(PYTHON, code, url)
    facts, mask, answers, found = json.loads(printed.splitlines()[-1])
    assert list(facts) == list(NAMES)
    assert facts["402-unet"]["parameters"] == segmenter.model("402-unet").count_parameters()
    assert facts["402-unet"]["architecture"] == "unet"
    check_masks(mask, expected_mask(segmenter, 4, 3))
    assert [one["name"] for one in answers["patches"]] == found["patches"]
    assert found["patches"] == ["well_2_patch_4.npy", "well_2_patch_5.npy"]
    assert 0 < found["models"]["402-unet"]["macro"]["iou"] < 1


def test_the_curl_example_runs(url, segmenter):
    code = find_example("sh", "curl -s $U/run/models")
    code = re.sub(r"^(curl.*)$", r"\1; echo", code, flags=re.MULTILINE)
    printed = run_example(["bash", "-ec"], code, url)
    lines = [json.loads(line) for line in printed.splitlines() if line]
    facts, segmented, evaluated = (line["data"][0] for line in lines)
    assert list(facts) == list(NAMES)
    for number, one in zip((4, 5), segmented["patches"], strict=True):
        assert one["name"] == f"well_2_patch_{number}.npy"
        check_masks(one["models"]["402-unet"]["mask"], expected_mask(segmenter, number, 3))
    assert set(evaluated["models"]["300-vanilla"]["patches"][0]) == {
        "accuracy",
        "precision",
        "recall",
        "dice",
        "iou",
    }


def test_the_mcp_example_runs(url, segmenter):
    code = find_example("python", "from mcp import")
    answer = run_example(PYTHON, f"{code}\nprint(result.content[0].text)", url)
    patches = eval(answer)["patches"]  # Gradio sends a Python literal
    for number, one in zip((4, 5), patches, strict=True):
        check_masks(one["models"]["402-unet"]["mask"], expected_mask(segmenter, number))


def test_the_example_without_a_server_runs():
    code = find_example("python", "segmenter.probabilities(patch)[")
    last = code.strip().splitlines()[-1]
    printed = run_example(PYTHON, f"{code}print({last.partition('#')[0]}.shape)")
    assert printed == "(36, 36)\n"


def test_the_endpoint_returns_the_masks_of_a_real_patch(url, segmenter, real):
    path = real / "patches" / "validation" / "images" / "well_2_patch_0.npy"
    answer = call(url, "segment", upload_paths(url, path)[0])
    for name, expected in segmenter.segment(np.load(path)).items():
        check_masks(answer["models"][name]["mask"], expected.mask)
        assert answer["models"][name]["parameters"] == segmenter.model(name).count_parameters()


def test_an_unreadable_file_among_several_is_named(url, images, tmp_path):
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    good = images / "well_9_patch_0.npy"
    said = call(url, "segment", upload_paths(url, good, tmp_path / "bad.npy"))
    assert said.startswith("bad.npy is not a .npy file")


@pytest.mark.parametrize("way", ["call", "call/v2"])
def test_queued_calls_return_the_same_answer(url, images, way):
    (path,) = upload_paths(url, images / "well_9_patch_0.npy")
    body = {"patch": path, "models": ["300"]} if way == "call/v2" else {"data": [path, ["300"]]}
    event = post(url, f"{API}/{way}/segment", body).json["event_id"]
    said = send(url, f"{API}/{way}/segment/{event}").text
    (answer,) = json.loads(said.split("event: complete\ndata: ")[1])
    assert list(answer["models"]) == ["300-vanilla"]


def test_the_page_stays_responsive_during_a_long_call(url, images):
    """It shares a processor with the call, but waits for no more than a patch of it."""
    path = images / "well_9_patch_0.npy"
    paths = upload_paths(url, *[path] * 130)
    taken = []
    ask(url, "look")
    start = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(call, url, "segment", paths)
        while not long.done():
            asked = time.perf_counter()
            ask(url, "look", models=["300-vanilla"])
            taken.append(time.perf_counter() - asked)
    assert len(long.result()["patches"]) == 130
    assert statistics.median(taken) < (time.perf_counter() - start) / 50

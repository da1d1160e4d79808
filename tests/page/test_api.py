"""The endpoints for programs: their functions, and a running server as REST, client and MCP."""

import asyncio
import base64
import json
import math
import re
import statistics
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from benchmarks.server import MODELS, ROOT, make_checkpoints, make_folder, make_patch, serve
from geoseg.checkpoint import find_checkpoints
from geoseg.metrics import scores
from geoseg.page import choose
from geoseg.page.api import MAX_WAITING, _Line, endpoints
from geoseg.page.exchange import MAX_BODY
from geoseg.page.given import MAX_CALL_FILES, MAX_CALL_WORK
from geoseg.page.uploads import inbox
from geoseg.segmenter import Segmenter
from tests.helpers.requests import API, ask, call, post, send, upload, upload_paths

NAMES = tuple(MODELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Checkpoints and labelled patches."""
    root = tmp_path_factory.mktemp("api")
    (root / "checkpoints").mkdir()
    make_checkpoints(root / "checkpoints")
    make_folder(root)
    return root


@pytest.fixture(scope="module")
def segmenter(folder) -> Segmenter:
    return Segmenter(find_checkpoints(folder / "checkpoints"), "cpu")


@pytest.fixture(scope="module")
def url(folder) -> str:
    arguments = ["-i", str(folder / "images"), "--checkpoints", str(folder / "checkpoints")]
    with serve(arguments) as address:
        yield address


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


def test_experiments_are_chosen_by_id_name_or_both():
    assert choose(NAMES, "200") == ["200-stacked"]
    assert choose(NAMES, "unet") == ["402-unet"]
    assert choose(NAMES, "300-vanilla") == ["300-vanilla"]
    assert choose(NAMES, "20") == choose(NAMES, "") == []
    assert choose(("201-stacked", *NAMES), "stacked") == ["201-stacked", "200-stacked"]


def test_one_patch_is_turned_marked_and_told_from_nulls(segmenter, uploads):
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


def test_a_list_gives_of_each_what_it_gives_alone(segmenter, uploads):
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
    truths[2][:] = 0  # no groove: every mark on it is a false alarm
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
        ({"shift": 1.5}, "shift is 1.5"),
        ({"seed": -1}, "seed is -1"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": math.nan}, "noise is nan"),
        ({"threshold": "high"}, "threshold is 'high'"),
        *(({name: True}, f"{name} is True") for name in ("shift", "noise", "seed", "threshold")),
    ],
)
def test_mistakes_are_explained(segmenter, uploads, options, said):
    with pytest.raises(gr.Error, match=said):
        run(segmenter, "segment", put(uploads, make_patch(1)), **options)


@pytest.mark.parametrize(
    "file", [None, {}, [], {"path": "/etc/passwd"}, {"path": 3}, "a.npy", [[]]]
)
def test_uploads_alone_are_read(segmenter, uploads, file):
    with pytest.raises(gr.Error, match="upload"):
        run(segmenter, "segment", file)


def test_a_call_is_bounded(segmenter, uploads, monkeypatch):
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
        ([("a.npy", np.zeros((36, 36))), ("b.npy", np.zeros((9, 9)))], r"b.npy has the shape \(9"),
        (
            [("a.npy", np.zeros((36, 36))), ("b.npy", np.full((36, 36), 7))],
            "b.npy holds the value 7",
        ),
    ],
)
def test_labels_that_do_not_pair_are_refused(segmenter, uploads, labels, said):
    patches = [put(uploads, make_patch(1), name) for name in ("a.npy", "b.npy")]
    marks = [put(uploads, array, name) for name, array in labels]
    with pytest.raises(gr.Error, match=said):
        run(segmenter, "evaluate", patches, marks)
    read = "b.npy" in said
    assert {Path(file["path"]).exists() for file in patches + marks} == {not read}


def test_those_beyond_a_few_in_line_are_refused():
    async def crowd() -> list:
        line = _Line()
        calls = (line(lambda: time.sleep(0.05)) for _ in range(MAX_WAITING + 3))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcome = asyncio.run(crowd())
    assert outcome[: MAX_WAITING + 1] == [None] * (MAX_WAITING + 1)
    assert all("wait already" in str(error) for error in outcome[MAX_WAITING + 1 :])


def examples() -> list[tuple[str, str]]:
    """The language and the code of each example of README's section on serving."""
    section = (ROOT / "README.md").read_text().split("\n## Serve\n")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


def perform(url: str, language: str, code: str, after: str = "") -> str:
    """Run an example in the clone, as its reader would; gives what it prints."""
    code = code.replace("http://127.0.0.1:7860", url) + after
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-ec", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def expected_mask(segmenter: Segmenter, number: int, shift: int = 0) -> np.ndarray:
    patch = np.load(ROOT / f"geoseg/samples/validation/images/well_2_patch_{number}.npy")
    return segmenter.segment(np.roll(patch, shift, 1), ["402-unet"])["402-unet"].mask


def agree(mask, expected: np.ndarray) -> None:
    assert np.mean(np.array(mask) == expected) > 0.999  # other threads, other last digits


def test_readmes_python_example(url, segmenter):
    language, code = examples()[0]
    after = "import json; print(json.dumps([facts, mask, answers, scores]))"
    printed = perform(url, language, code, after).splitlines()[-1]
    facts, mask, answers, found = json.loads(printed)
    assert list(facts) == list(NAMES)
    assert facts["402-unet"]["parameters"] == segmenter.model("402-unet").count_parameters()
    assert facts["402-unet"]["architecture"] == "unet"
    agree(mask, expected_mask(segmenter, 4, 3))
    assert [one["name"] for one in answers["patches"]] == found["patches"]
    assert found["patches"] == ["well_2_patch_4.npy", "well_2_patch_5.npy"]
    assert 0 < found["models"]["402-unet"]["macro"]["iou"] < 1


def test_readmes_curl_example(url, segmenter):
    language, code = examples()[1]
    code = re.sub(r"^(curl.*)$", r"\1; echo", code, flags=re.MULTILINE)
    lines = [json.loads(line) for line in perform(url, language, code).splitlines() if line]
    facts, segmented, evaluated = (line["data"][0] for line in lines)
    assert list(facts) == list(NAMES)
    for number, one in zip((4, 5), segmented["patches"], strict=True):
        assert one["name"] == f"well_2_patch_{number}.npy"
        agree(one["models"]["402-unet"]["mask"], expected_mask(segmenter, number, 3))
    assert set(evaluated["models"]["300-vanilla"]["patches"][0]) == {
        "accuracy",
        "precision",
        "recall",
        "dice",
        "iou",
    }


def test_readmes_mcp_example(url, segmenter):
    language, code = examples()[2]
    answer = perform(url, language, code, "\nprint(result.content[0].text)")
    patches = eval(answer)["patches"]  # Gradio writes a Python literal there
    for number, one in zip((4, 5), patches, strict=True):
        agree(one["models"]["402-unet"]["mask"], expected_mask(segmenter, number))


def test_readmes_example_without_a_server(segmenter):
    language, code = examples()[3]
    last = code.strip().splitlines()[-1]
    printed = perform("", language, code, f"print({last.partition('#')[0]}.shape)")
    assert printed == "(36, 36)\n"


MCP_CLIENT = """
import asyncio, json, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

async def main():
    async with streamable_http_client(sys.argv[1] + "/gradio_api/mcp/") as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            print(json.dumps({t.name: [t.description, t.inputSchema] for t in tools}))
            for name, arguments in json.loads(sys.stdin.read()):
                result = await session.call_tool(name, arguments)
                print(json.dumps([bool(result.isError), result.content[0].text]))

asyncio.run(main())
"""


def agent(url: str, *calls) -> tuple[dict, list]:
    """The tools that an agent finds, and for each call whether it failed and its text."""
    command = [sys.executable, "-c", MCP_CLIENT, url]
    text = json.dumps(calls)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    tools, *answers = map(json.loads, done.stdout.splitlines())
    return tools, answers


def test_an_agent_finds_every_tool_and_reads_no_file_of_the_server(url, folder):
    def data(kind: str) -> str:
        content = (folder / kind / "well_9_patch_0.npy").read_bytes()
        return "data:application/octet-stream;base64," + base64.b64encode(content).decode()

    secret = str(folder / "images" / "well_9_patch_0.npy")
    marked = {"path": secret, "meta": {"_type": "gradio.FileData"}}
    tools, answers = agent(
        url,
        ["list_models", {}],
        ["segment", {"patch": data("images"), "models": ["stacked"], "threshold": 0.0}],
        ["evaluate", {"patches": [data("images")], "labels": [data("labels")]}],
        *(["segment", {"patch": patch}] for patch in (secret, marked, [secret], [marked])),
        ["segment", {"patch": "http://127.0.0.1:9/a.npy"}],
        ["segment", {"patch": data("images"), "models": ["none"]}],
    )
    assert set(tools) == {"list_models", "segment", "evaluate"}
    for description, schema in tools.values():
        assert "Returns:" in description
        assert schema["type"] == "object"
        assert all("description" in one for one in schema["properties"].values())
    assert tools["segment"][1]["required"] == ["patch"]
    assert tools["evaluate"][1]["properties"]["labels"]["items"]["type"] == "string"
    (facts, one, scored), refused = answers[:3], answers[3:]
    assert list(eval(facts[1])) == list(NAMES)
    assert np.all(eval(one[1])["models"]["200-stacked"]["mask"])  # all is above 0
    assert set(eval(scored[1])["models"]) == set(NAMES)
    assert [failed for failed, _ in answers] == [False] * 3 + [True] * len(refused)
    assert not any("0, 0" in text for _, text in refused)
    assert "Addresses are not fetched" in refused[4][1]
    assert "No model 'none'" in refused[5][1]


def test_an_agent_has_the_limits_that_others_have(url, tmp_path):
    """The largest call is answered by either way, and a mistake is the same sentence."""
    arrays = {
        "small": make_patch(1),
        "most": np.zeros((256, 256)),  # of one file
        "more": np.zeros((257, 256), np.float32),
        "bytes": np.zeros((400, 400)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    full = MAX_CALL_WORK // 256**2
    cases = (
        (["most"] * full, {}, "milliseconds"),
        (["most"] * full + ["small"], {}, f"{MAX_CALL_WORK:,} of one call; send fewer patches"),
        (["more"], {}, "65,536"),
        (["bytes"], {}, "larger than 1,048,576 bytes"),
        (["small"], {"noise": -1}, "noise is -1; it must be a number from 0 to 1."),
        (["small"], {"seed": -1}, "seed is -1; it must be from 0 to"),
        (["small"], {"threshold": 2}, "threshold is 2; it must be a number from 0 to 1."),
    )
    contents = {name: (tmp_path / f"{name}.npy").read_bytes() for name in arrays}
    coded = {n: "data:;base64," + base64.b64encode(c).decode() for n, c in contents.items()}
    calls = [
        ["segment", {"patch": [coded[name] for name in names], "models": ["300"], **options}]
        for names, options, _ in cases
    ]
    for (names, options, said), (_, text) in zip(cases, agent(url, *calls)[1], strict=True):
        assert said in text
        if sum(len(coded[name]) for name in names) < MAX_BODY:
            patch = [coded[name] for name in names]
        else:  # too much for JSON: it is uploaded first
            reply = upload(url, [(f"{name}.npy", contents[name]) for name in names])
            if reply.status == 413:
                assert said in reply.text
                continue
            patch = reply.json
        body = {"patch": patch, "models": ["300"], **options}
        event_id = post(url, f"{API}/call/v2/segment", body).json["event_id"]
        assert said in send(url, f"{API}/call/v2/segment/{event_id}").text


def test_a_program_gets_the_mask_of_a_real_patch(url, segmenter, real):
    path = real / "patches" / "validation" / "images" / "well_2_patch_0.npy"
    answer = call(url, "segment", upload_paths(url, path)[0])
    for name, expected in segmenter.segment(np.load(path)).items():
        agree(answer["models"][name]["mask"], expected.mask)
        assert answer["models"][name]["parameters"] == segmenter.model(name).count_parameters()


def test_a_bad_file_among_many_is_named(url, folder, tmp_path):
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    good = folder / "images" / "well_9_patch_0.npy"
    said = call(url, "segment", upload_paths(url, good, tmp_path / "bad.npy"))
    assert said.startswith("bad.npy is not a .npy file")


@pytest.mark.parametrize("way", ["call", "call/v2"])
def test_the_queued_way_gives_the_same(url, folder, way):
    (path,) = upload_paths(url, folder / "images" / "well_9_patch_0.npy")
    body = {"patch": path, "models": ["300"]} if way == "call/v2" else {"data": [path, ["300"]]}
    event = post(url, f"{API}/{way}/segment", body).json["event_id"]
    said = send(url, f"{API}/{way}/segment/{event}").text
    (answer,) = json.loads(said.split("event: complete\ndata: ")[1])
    assert list(answer["models"]) == ["300-vanilla"]


def test_the_page_stays_quick_beside_a_long_call(url, folder):
    """It shares a processor with the call, but waits for no more than a patch of it."""
    path = folder / "images" / "well_9_patch_0.npy"
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

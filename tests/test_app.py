"""The command line of the page, and the endpoint of a running one."""

import ast
import http.client
import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import app
from geoseg.checkpoint import find_checkpoints
from geoseg.segmenter import Segmenter
from tests.serving import ROOT, free_port, make_checkpoints, make_folder, serve


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Checkpoints, a folder of patches, and one broken file in it."""
    root = tmp_path_factory.mktemp("app")
    (root / "checkpoints").mkdir()
    make_checkpoints(root / "checkpoints")
    images = make_folder(root / "set")
    (images / "broken.npy").write_bytes(b"nothing")
    return root


@pytest.fixture
def mistake(folder, monkeypatch, capsys):
    """Run the command line to its end; gives what it says on stderr."""
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")

    def run(*arguments: str) -> str:
        images, models = str(folder / "set" / "images"), str(folder / "checkpoints")
        usual = ["-i", images, "--checkpoints", models, "--port", str(free_port())]
        with pytest.raises(SystemExit) as stop:
            app.main([*usual, *arguments])
        assert stop.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        return said.err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-e", "200", "999"], "no checkpoint '999'"),
        (["-e", "999"], "there are 200-stacked, 300-vanilla, 402-unet"),
        (["-i", "nowhere/*.npy"], "'nowhere/*.npy' matches no file"),
        (["-i", "nowhere"], "'nowhere' does not exist"),
        (["--checkpoints", "nowhere"], "checkpoint folder 'nowhere' does not exist"),
        (["--checkpoints", str(ROOT / "tests")], "holds no checkpoint"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--port", "70000"], "'70000' is not a port from 1 to 65535"),
        (["--port", "http"], "'http' is not a port"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(mistake, arguments, said):
    line = mistake(*arguments)
    assert line.startswith("app.py: ")
    assert said in line


def test_a_taken_port_is_said_before_anything_is_loaded(mistake):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "(Address already in use)" in mistake("--port", str(taken.getsockname()[1]))


def test_a_damaged_checkpoint_is_named(mistake, tmp_path):
    (tmp_path / "200-stacked.safetensors").write_bytes(b"nothing")
    assert "200-stacked.safetensors" in mistake("--checkpoints", str(tmp_path))


@pytest.mark.parametrize("name", ["~nosuchuser/x.npy", "x" * 300])
def test_names_that_cannot_be_are_one_sentence(mistake, name):
    assert mistake("-i", name).startswith("app.py: ")


def test_unreadable_files_are_listed_but_not_all_of_them():
    rejected = [(f"{i}.npy", "is empty") for i in range(app.LISTED + 3)]
    lines = list(app._list_rejected(rejected))
    assert lines[0] == "0.npy: is empty"
    assert lines[-1] == "and 3 more files"
    assert list(app._list_rejected([("a.npy", "a.npy is empty")])) == ["a.npy is empty"]
    assert len(lines) == app.LISTED + 1


def test_experiments_keep_the_order_asked_for(folder):
    found = app._checkpoints(str(folder / "checkpoints"), ["unet", "200", "402"])
    assert [path.stem for path in found] == ["402-unet", "200-stacked"]


def test_the_defaults_are_those_of_gradio_where_set(monkeypatch):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    options = app.make_parser().parse_args([])
    assert (options.host, options.port, options.device) == ("127.0.0.1", 7860, "auto")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7000")
    options = app.make_parser().parse_args([])
    assert (options.host, options.port) == ("0.0.0.0", 7000)


def test_help_needs_no_heavy_library():
    code = "import sys, app; app.make_parser().format_help(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def url(folder) -> str:
    arguments = ["-i", str(folder / "set" / "images"), "--checkpoints", str(folder / "checkpoints")]
    with serve(arguments) as address:
        yield address


# A process of its own, as a user's is: the client leaves sockets open when it goes.
CLIENT = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False, analytics_enabled=False)
for path in sys.argv[2:]:
    try:
        print(json.dumps(client.predict(handle_file(path), api_name="/segment")))
    except Exception as error:
        print(json.dumps(str(error)))
"""


def ask(url: str, *paths: Path) -> list:
    """What the Python client gets for each file: the answer, or the text of the error."""
    command = [sys.executable, "-c", CLIENT, url, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_program_gets_the_mask_of_a_real_patch(url, folder, real, tmp_path):
    path = real / "patches" / "validation" / "images" / "well_2_patch_0.npy"
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"nothing")
    answer, error = ask(url, path, bad)
    assert "The file is not a .npy file" in error
    assert answer["shape"] == [36, 36]
    segmenter = Segmenter(find_checkpoints(folder / "checkpoints"), "cpu")
    for name, expected in segmenter.segment(np.load(path)).items():
        mask = np.array(answer["models"][name]["mask"])
        assert np.mean(mask == expected.mask) > 0.999  # another thread count, other last digits
        assert answer["models"][name]["parameters"] == segmenter.model(name).count_parameters()


MCP_CLIENT = """
import asyncio, base64, json, pathlib, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

async def main():
    data = base64.b64encode(pathlib.Path(sys.argv[2]).read_bytes()).decode()
    patch = "data:application/octet-stream;base64," + data
    address = sys.argv[1] + "/gradio_api/mcp/"
    async with streamable_http_client(address) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            arguments = {"patch": patch, "models": ["stacked"], "threshold": 0.0}
            result = await session.call_tool("segment", arguments)
    print(json.dumps([[t.name, t.description] for t in tools]))
    print(result.content[0].text)

asyncio.run(main())
"""


def test_an_agent_finds_and_calls_segment_over_mcp(url, folder):
    path = next((folder / "set" / "images").iterdir())
    command = [sys.executable, "-c", MCP_CLIENT, url, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    tools, answer = done.stdout.splitlines()
    (tool,) = json.loads(tools)
    assert tool[0] == "segment"
    assert "Find corrosion grooves" in tool[1]
    mask = np.array(ast.literal_eval(answer)["models"]["200-stacked"]["mask"])
    assert np.array_equal(mask == 0, np.isnan(np.load(path)))  # above 0 is all that was measured


def send(url: str, path: str, body: bytes = b"", kind: str = "application/json"):
    """One plain HTTP request; gives the status and the text."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    with closing(connection):
        method = "POST" if body else "GET"
        connection.request(method, path, body, {"Content-Type": kind})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


@pytest.mark.parametrize(
    "path",
    [str(ROOT / "app.py"), "/etc/passwd", "http://93.184.215.14/a.npy", "file:///etc/passwd"],
)
@pytest.mark.parametrize("marked", [True, False])
def test_no_file_and_no_address_is_read_for_a_stranger(url, path, marked):
    file = {"path": path, **({"meta": {"_type": "gradio.FileData"}} if marked else {})}
    body = json.dumps({"data": [file, None, 0, 0.0, 0, None, False]}).encode()
    _, reply = send(url, "/gradio_api/call/segment", body)
    _, said = send(url, f"/gradio_api/call/segment/{json.loads(reply)['event_id']}")
    assert "event: error" in said
    assert "root:" not in said
    assert '"mask"' not in said
    if marked and path.startswith("http"):
        assert "Addresses are not fetched" in said


@pytest.mark.parametrize("path", ["/etc/passwd", "app.py", "set/images/well_9_patch_0.npy"])
def test_no_file_is_served(url, folder, path):
    for start in ("", f"{folder}/", f"{ROOT}/"):
        status, _ = send(url, f"/gradio_api/file={start}{path}")
        assert status in (403, 404)


def test_too_large_an_upload_is_refused(url):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.npy"\r\n\r\n'
    body += b"0" * (2**20 + 1) + b"\r\n--x--\r\n"
    status, _ = send(url, "/gradio_api/upload", body, "multipart/form-data; boundary=x")
    assert status == 413


def test_the_shipped_models_segment_a_shipped_sample():
    with serve(["--preload"]) as url:
        (answer,) = ask(url, sorted(app.SAMPLES.iterdir())[0])
    assert {name.split("-")[1] for name in answer["models"]} >= {"stacked", "vanilla", "unet"}

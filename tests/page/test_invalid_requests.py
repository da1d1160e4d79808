"""Bodies that are malformed or too large are refused, without a traceback in the log."""

import itertools
import json
from collections.abc import Iterator

import pytest

from geoseg.page.api import NAMES
from geoseg.page.guard import MAX_UPLOAD_BODY
from geoseg.page.uploads import MAX_FILES
from tests.helpers.attacks import is_harmless
from tests.helpers.requests import API, form, send, upload


def test_bodies_that_are_too_large_are_refused(server):
    def chunks(size: int) -> Iterator[bytes]:
        yield from itertools.repeat(b"x" * 2**16, size // 2**16 + 1)

    for path in ("queue/join", "upload", "mcp/"):
        assert send(server.url, f"{API}/{path}", b"", Content_Length=str(2**30)).status == 413
    before = server.memory()
    kind = "multipart/form-data; boundary=x"
    try:
        reply = send(
            server.url, f"{API}/queue/join", chunks(2**22), Content_Type="application/json"
        )
        assert reply.status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server closed the connection
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    try:
        body = itertools.chain([head], chunks(MAX_UPLOAD_BODY))
        assert send(server.url, f"{API}/upload", body, Content_Type=kind).status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert upload(server.url, [("a.npy", b"0" * (2**20 + 1))]).status == 413
    assert upload(server.url, [("a.npy", b"0")] * (MAX_FILES + 1)).status == 400
    assert server.memory() - before < 2**25
    assert server.output() == []


def test_broken_forms_leave_no_files(server, root):
    whole, kind = form([("a.npy", b"0" * 5000)])
    files = set((root / "temporary").rglob("*"))
    for body, what in (
        (whole[:-40], kind),
        (whole, "multipart/form-data"),
        (whole, "text/plain"),
        (b"--", kind),
        (b"", kind),
        (whole.replace(b'name="files"', b"nome=x"), kind),
        (whole.replace(b'name="files"', b'name="other"'), kind),
        (whole.replace(b"\r\n\r\n", b"\r\n" + b"x" * 9000), kind),
    ):
        reply = send(server.url, f"{API}/upload", body, Content_Type=what)
        assert reply.status in (200, 400)
        assert is_harmless(reply.text)
    leftover = [p for p in set((root / "temporary").rglob("*")) - files if p.stat().st_size > 5000]
    assert leftover == []
    assert server.output() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"[]",
        b"null",
        b'{"data": 3}',
        b'{"data": []}',
        b'{"data": [], "fn_index": 999, "session_hash": "x"}',
        b'{"data": [], "fn_index": "x", "session_hash": "x"}',
        b'{"data": [{"path": "x", "meta": "x"}], "fn_index": 1, "session_hash": "x"}',
        b'{"data": [1e999, NaN], "fn_index": 0, "session_hash": "x", "trigger_id": 99}',
        json.dumps({"data": [], "fn_index": 0, "session_hash": "x" * 5000}).encode(),
        json.dumps({"data": [], "fn_index": 0, "session_hash": "x", "batched": True}).encode(),
        b'{"data": ["\\ud800"], "fn_index": 0, "session_hash": "x"}',
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        *(f"{API}/{name}" for name in ("queue/join", "run/predict", "cancel", "mcp/")),
        f"{API}/component_server",
        *(f"{API}/{way}/{name}" for way in ("run", "call", "call/v2") for name in NAMES),
    ],
)
def test_invalid_bodies_are_refused_in_one_sentence(server, path, body):
    accept = "application/json, text/event-stream"
    kind = "application/json"
    reply = send(server.url, path, body, Content_Type=kind, Accept=accept)
    assert is_harmless(reply.text)
    numbered = path.endswith(("predict", "join", "cancel", "component_server"))
    assert server.output() == [] or numbered, "Gradio prints what fails in functions with a number"
    if path.endswith("mcp/"):  # errors have the form of JSON-RPC
        assert reply.status in (400, 413, 422) or "error" in reply.json
    elif reply.status != 200:
        assert reply.status in (400, 413, 422) or (
            reply.status == 500 and (numbered or "/run/" in path)
        )
        said = reply.json.get("detail") or reply.json["error"]
        assert said.endswith(".")
        assert len(said) < 200
        assert "\n" not in said
    else:
        assert {"event_id", "data", "success", "source", "count"} & set(reply.json)


@pytest.mark.parametrize("body", [b"{}", b'{"data": []}', b"nothing"])
@pytest.mark.parametrize("name", ["none", "predict", "look", "models/x", "v2", "none/", "segments"])
@pytest.mark.parametrize("way", ["run", "call", "call/v2"])
def test_unknown_endpoints_are_not_found(server, way, name, body):
    if (way, name) == ("run", "predict"):
        return  # the endpoint of all functions with a number
    reply = send(server.url, f"{API}/{way}/{name}", body, Content_Type="application/json")
    assert reply.status == 404
    assert reply.json["detail"].endswith("openapi.json lists the endpoints.")
    assert send(server.url, f"{API}/{way}/{name}/some_event").status == 404
    assert server.output() == []

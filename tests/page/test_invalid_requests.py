"""Bodies that are malformed, too large or too slow are refused in one sentence."""

import asyncio
import itertools
import json
import queue
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from geoseg.page.api import NAMES
from geoseg.page.exchange import BODY_SECONDS, Exchange
from geoseg.page.gate import MAX_UPLOAD_BODY
from geoseg.page.server import forget_unread
from geoseg.page.uploads import MAX_FILES
from tests.helpers.attacks import is_harmless
from tests.helpers.requests import API, form, send, stall, upload


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
        *(f"{API}/{way}/{name}" for way in ("run", "call", "call/v2") for name in NAMES),
        "/page/look",
        "/page/browse",
    ],
)
def test_invalid_bodies_are_refused_in_one_sentence(server, path, body):
    accept = "application/json, text/event-stream"
    kind = "application/json"
    reply = send(server.url, path, body, Content_Type=kind, Accept=accept)
    assert is_harmless(reply.text)
    assert server.output() == []
    if path.endswith("mcp/"):  # errors have the form of JSON-RPC
        assert reply.status in (400, 413, 422) or "error" in reply.json
    elif reply.status != 200:
        assert reply.status in (400, 413, 422) or (reply.status == 500 and "/run/" in path)
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


def read_slowly(part: bytes, parts: int, seconds: float) -> tuple[Response | None, int]:
    """Send a body in parts; return the refusal and how many parts were read."""
    count = 0

    async def receive() -> dict:
        nonlocal count
        await asyncio.sleep(seconds)
        count += 1
        return {"type": "http.request", "body": part, "more_body": count < parts}

    async def read() -> Response | None:
        return await Exchange(receive, None).check_call()

    return asyncio.run(read()), count


def test_the_time_limit_of_a_body_grows_with_its_length(monkeypatch):
    monkeypatch.setattr("geoseg.page.exchange.BODY_SECONDS", 0.5)
    monkeypatch.setattr("geoseg.page.exchange.BODY_RATE", 100_000)
    refusal, count = read_slowly(b" ", 1000, 0.1)
    assert refusal.status_code == 408
    assert count < 10, "a byte at a time kept the connection"
    refusal, count = read_slowly(b" " * 50_000, 10, 0.1)
    assert (refusal.status_code, count) == (400, 10), "fast enough, but not JSON"


@pytest.mark.long
def test_a_slow_body_is_cut_off(server):
    start = time.monotonic()
    with stall(server.url, f"POST {API}/queue/join", Content_Length="900") as connection:
        connection.settimeout(1)
        while time.monotonic() - start < 2 * BODY_SECONDS:
            connection.sendall(b" ")
            with suppress(TimeoutError):
                assert b"408" in connection.recv(999)
                break
    assert BODY_SECONDS - 2 < time.monotonic() - start < BODY_SECONDS + 5


def test_an_answer_that_is_not_received_is_ended(monkeypatch):
    async def stuck(message) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("geoseg.page.exchange.SEND_SECONDS", 0.05)
    with pytest.raises(ClientDisconnect):
        asyncio.run(Exchange(stuck, stuck).send({"type": "http.response.body", "body": b"x"}))


def test_answers_that_are_not_fetched_are_deleted():
    class Queue:
        def __init__(self) -> None:
            self.pending_messages_per_session = {n: queue.Queue() for n in ("left", "read", "idle")}
            self.pending_event_ids_session = {n: set() for n in ("left", "read", "idle", "gone")}

    held = Queue()
    for name in ("left", "read"):
        held.pending_messages_per_session[name].put("answer")
    counts = forget_unread(held, {})
    assert counts == {"left": 1, "read": 1}
    held.pending_messages_per_session["read"].get()
    assert forget_unread(held, counts) == {}
    assert set(held.pending_messages_per_session) == {"read", "idle"}
    assert set(held.pending_event_ids_session) == {"read", "idle"}

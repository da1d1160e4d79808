"""What a stranger can reach of a running server: nothing but the page and its endpoints."""

import asyncio
import http.server
import io
import itertools
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import numpy as np
import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from benchmarks.server import ROOT, Server, make_checkpoints, make_folder, running
from geoseg.page import build, load_set
from geoseg.page.api import NAMES
from geoseg.page.callers import MAX_WRONG, SHARE, WRONG_SECONDS, Accounts, client
from geoseg.page.exchange import BODY_SECONDS, Exchange
from geoseg.page.gate import DOORS, MAX_BODIES, MAX_CALLS, MAX_JOBS, MAX_STREAMS, MAX_UPLOAD_BODY
from geoseg.page.server import forget_unread, options
from geoseg.page.uploads import MAX_FILES
from geoseg.page.users import MAX_CLIENT_PIXELS, MAX_TOTAL_PIXELS
from geoseg.segmenter import Segmenter
from tests.helpers.requests import (
    API,
    Reply,
    ask,
    basic,
    call,
    form,
    post,
    send,
    send_files,
    stall,
    upload,
    upload_paths,
)

CANARY = "the-canary-sings-7f3a"
USERS = "ann:first:secret\nbob:naïve"
ACCOUNTS = USERS.splitlines()
FIRST, SECOND = "203.0.113.7", "203.0.113.8"  # addresses, as a proxy tells them
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Checkpoints, patches, and a secret beside them."""
    folder = tmp_path_factory.mktemp("safety")
    (folder / "checkpoints").mkdir()
    make_checkpoints(folder / "checkpoints")
    make_folder(folder / "set")
    (folder / "canary.txt").write_text(CANARY)
    # What a link to a saved state would read, were it led here.
    (folder / "state.json").write_text(json.dumps([{"id": 1, "props": {"value": CANARY}}]))
    (folder / "temporary").mkdir()
    return folder


def arguments(root: Path) -> list[str]:
    return ["-i", str(root / "set" / "images"), "--checkpoints", str(root / "checkpoints")]


@pytest.fixture(scope="module")
def server(root) -> Iterator[Server]:
    with running(arguments(root), TMPDIR=str(root / "temporary"), PYTHONWARNINGS="") as running_one:
        yield running_one


@pytest.fixture(scope="module")
def locked(root) -> Iterator[Server]:
    with running(arguments(root), GEOSEG_AUTH=USERS) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def routes(root) -> list[tuple[str, str]]:
    """Method and path of every route that Gradio has, so that a new one is tried as well."""
    segmenter = Segmenter(sorted((root / "checkpoints").iterdir()), "cpu")

    async def make() -> list[BaseRoute]:  # inside a loop: Gradio leaves one open otherwise
        demo = build(segmenter, load_set([str(root / "set" / "images")], ""))
        kwargs = options((), demo.desk.routes())["app_kwargs"]
        return gr.routes.App.create_app(demo, mcp_server=True, app_kwargs=kwargs).routes

    found = set(walk(asyncio.run(make())))
    assert {("GET", f"{API}/file={{path_or_url:path}}"), ("POST", f"{API}/upload")} <= found
    assert ("POST", "/page/look") in found
    assert len(found) > 60
    return sorted(found)


def walk(routes: list[BaseRoute], start: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield "POST", start + route.path + "/"
            yield from walk(route.routes, start + route.path)
        elif hasattr(route, "path"):
            yield from ((m, start + route.path) for m in route.methods or ["GET"])
        else:  # a router that FastAPI resolves when it is first asked
            yield from walk(route.original_router.routes, start)


@contextmanager
def canary() -> Iterator[tuple[str, list[str]]]:
    """A server inside that nobody may make geoseg ask; gives its address and who did."""
    asked: list[str] = []

    class Canary(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CANARY.encode())

        def send_error(self, *_: object) -> None:
            asked.append(self.command)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canary) as inside:
        threading.Thread(target=inside.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{inside.server_port}", asked
        inside.shutdown()


def targets(root: Path, inside: str) -> list[str]:
    """What must never be read, in the spellings that attackers try."""
    files = [str(root / "canary.txt"), "/etc/passwd", str(ROOT / "app.py")]
    climbs = ["../" * 9 + "etc/passwd", "..%2f" * 9 + "etc%2fpasswd", "....//" * 9 + "etc/passwd"]
    windows = ["..\\" * 9 + "etc\\passwd", "C:\\Windows\\win.ini", "\\\\127.0.0.1\\share\\x"]
    addresses = [
        f"{inside}/x.npy",
        "http://169.254.169.254/latest",
        "http://[::1]:1/",
        "//a.test/x",
    ]
    others = ["file:///etc/passwd", "/proc/self/environ", "/dev/zero", "a\0.npy", "%2e%2e/%2e%2e/x"]
    states = [str(root), *("../" * up + name for up in (2, 3) for name in ("", root.name))]
    return files + climbs + windows + addresses + others + states


def spellings(path: str) -> set[str]:
    once = quote(path, safe="/:=.")
    return {
        once,
        quote(path, safe=""),
        quote(quote(path, safe=""), safe=""),
        once.replace("..", "%2e%2e"),
    }


def harmless(text: str) -> bool:
    leaks = (CANARY, "root:x:", "import argparse", "PYTHONWARNINGS", "Traceback", "site-packages")
    return not any(leak in text for leak in leaks)


def fill(path: str, value: str) -> str:
    """The route's path with every parameter replaced."""
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = path[:start] + value + path[end + 1 :]
    return path


def test_no_route_gives_a_file_or_fetches_an_address(server, root, routes):
    with canary() as (inside, asked):
        for (method, path), target in itertools.product(routes, targets(root, inside)):
            if method not in ("GET", "POST"):
                continue
            for value in spellings(target) if "{" in path else [""]:
                address = fill(path, value)
                queries = "&".join(
                    f"{name}={quote(target)}" for name in ("path", "url", "deep_link")
                )
                body = {"data": [target], "path": target, "url": target, "models": []}
                if address.startswith((f"{API}/mcp", f"{API}/heartbeat")) and method == "GET":
                    continue  # streams without end; they take no name
                reply = send(
                    server.url,
                    f"{address}?{queries}&session_hash=x",
                    json.dumps(body).encode() if method == "POST" else None,
                    Content_Type="application/json",
                )
                assert harmless(reply.text), (method, address)
        assert asked == []
    assert server.said() == []


def test_routes_that_nobody_needs_are_shut(server, routes):
    shut = 0
    for method, path in routes:
        address = fill(path, "x")
        if re.fullmatch(DOORS.get(method, "(?!)"), address):
            continue
        shut += 1
        assert send(server.url, address, method=method).status in (404, 405), (method, path)
    assert shut > 40
    for path in (
        "file=/etc/passwd",
        "proxy=http://x",
        "vibe-code",
        "component_server",
        "deep_link",
    ):
        assert send(server.url, f"{API}/{path}").status == 404


@pytest.mark.parametrize("way", ["run", "call"])
def test_no_file_is_taken_by_its_name(server, root, way):
    meta = {"_type": "gradio.FileData"}
    with canary() as (inside, asked):
        for target in targets(root, inside):
            forged = [target, {"path": target}, {"path": target, "meta": meta}]
            forged.append({"path": target, "url": target, "meta": meta, "is_stream": True})
            for file in forged:
                if way == "run":
                    text = post(server.url, f"{API}/run/segment", {"data": [[file]]}).text
                    assert json.loads(text)["error"], file
                else:
                    (text,) = queued(server.url, "segment", file)
                    assert "event: error" in text
                assert harmless(text)
                assert str(root / "temporary") not in text
        assert asked == []
    assert server.said() == []


def queued(url: str, name: str, *data) -> list[str]:
    answer = post(url, f"{API}/call/{name}", {"data": list(data)}).json
    return [send(url, f"{API}/call/{name}/{answer['event_id']}").text]


def test_an_upload_is_nobody_elses_and_gone_once_read(server, root):
    path = root / "set" / "images" / "well_9_patch_0.npy"
    first, second = (upload_paths(server.url, path)[0] for _ in range(2))
    assert first != second, "the same bytes must not share a path"
    assert Path(first).stat().st_mode & 0o077 == 0 or Path(first).parent.stat().st_mode & 0o077 == 0
    for address in (f"file={first}", f"file/{first}", f"file=..{first}", f"stream/{first}"):
        assert send(server.url, f"{API}/{address}").status == 404
    assert "models" in call(server.url, "segment", first)
    assert not Path(first).exists()
    assert "read already" in call(server.url, "segment", first)
    assert Path(second).exists()


def test_uploads_are_shown_to_their_user_only(server, root):
    path = root / "set" / "images" / "well_9_patch_5.npy"
    before = set((root / "temporary").rglob("*"))
    receipt = send_files(server.url, "mine" * 8, [("one.npy", path.read_bytes())])
    assert receipt.json == {"accepted": 1, "rejected": []}
    asked = {"source": "uploads", "models": []}
    mine = ask(server.url, "look", "mine" * 8, **asked)
    assert mine["name"] == "one.npy"
    for user in ("theirs" * 8, "", "mine", ["mine" * 8], None, 7):
        for name in ("look", "browse", "rank", "export", "probe"):
            assert post(server.url, f"/page/{name}", {"user": user, **asked}).status == 410
    assert set((root / "temporary").rglob("*")) == before, "it was on the disk"


@pytest.mark.parametrize("user", ["", "short", "x" * 65])
def test_a_key_that_could_be_guessed_keeps_nothing(server, user):
    reply = send_files(server.url, user, [("a.npy", b"")])
    assert reply.status == 422
    assert "16 to 64 letters" in reply.json["detail"]


def test_what_is_sent_has_a_limit(server):
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
        pass  # it stopped listening
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    try:
        body = itertools.chain([head], chunks(MAX_UPLOAD_BODY))
        assert send(server.url, f"{API}/upload", body, Content_Type=kind).status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert upload(server.url, [("a.npy", b"0" * (2**20 + 1))]).status == 413
    assert upload(server.url, [("a.npy", b"0")] * (MAX_FILES + 1)).status == 400
    assert server.memory() - before < 2**25
    assert server.said() == []


def test_a_broken_form_leaves_nothing_behind(server, root):
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
        assert harmless(reply.text)
    leftover = [p for p in set((root / "temporary").rglob("*")) - files if p.stat().st_size > 5000]
    assert leftover == []
    assert server.said() == []


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
def test_a_body_that_means_nothing_is_one_sentence(server, path, body):
    accept = "application/json, text/event-stream"
    kind = "application/json"
    reply = send(server.url, path, body, Content_Type=kind, Accept=accept)
    assert harmless(reply.text)
    assert server.said() == []
    if path.endswith("mcp/"):  # JSON-RPC has its own form
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
def test_an_endpoint_that_is_none_is_not_found(server, way, name, body):
    if (way, name) == ("run", "predict"):
        return  # that of all that have a number
    reply = send(server.url, f"{API}/{way}/{name}", body, Content_Type="application/json")
    assert reply.status == 404
    assert reply.json["detail"].endswith("openapi.json lists the endpoints.")
    assert send(server.url, f"{API}/{way}/{name}/some_event").status == 404
    assert server.said() == []


def test_headers_of_an_answer(server):
    for path in ("/", "/config", f"{API}/info", f"{API}/file=x"):
        headers = send(server.url, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'self' https://huggingface.co" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] is None  # it would shut Spaces out
        assert headers["Set-Cookie"] is None
    other = send(server.url, f"{API}/info", Origin="http://evil.test").headers
    assert other["Access-Control-Allow-Origin"] is None


def statuses(url: str, **headers: str) -> set[int]:
    """What the page, its description and everything that acts answer to such headers."""
    kinds = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers = {**kinds, **headers}
    body, kind = form([("a.npy", b"0")])
    replies = [send(url, path, **headers) for path in ("/", f"{API}/info")]
    replies += [send(url, f"{API}/run/models", b'{"data": []}', **headers)]
    replies += [send(url, f"{API}/mcp/", json.dumps(HELLO).encode(), **headers)]
    replies += [send(url, "/page/look", b"{}", **headers)]
    replies += [send(url, f"{API}/upload", body, **{**headers, "Content_Type": kind})]
    assert all(reply.text.count(".") == 1 for reply in replies if reply.status > 400)
    return {reply.status for reply in replies}


def test_a_foreign_name_that_points_here_gets_nothing(server):
    """DNS rebinding: a browser that takes evil.test for this machine says so in Host."""
    for host in ("evil.test", "evil.test:7860", "127.0.0.1.evil.test", "localhost.evil.test:1", ""):
        assert statuses(server.url, Host=host) == {421}
        assert statuses(server.url, Host=host, X_Forwarded_Host="localhost") == {421}
    for host in ("localhost", "LocalHost:8000", "127.0.0.1", "127.8.8.8:80", "[::1]:7860"):
        assert statuses(server.url, Host=host) == {200}
    assert "--root-path" in send(server.url, "/", Host="evil.test").json["detail"]
    assert server.said() == []


def test_a_foreign_page_cannot_make_a_browser_act_here(server):
    name = server.url.removeprefix("http://")
    for origin in ("http://evil.test", "null", "http://127.0.0.1:9", "https://a.hf.space", "[", ""):
        replies = statuses(server.url, Origin=origin)
        assert replies == {200, 403}, "reading is for the browser to forbid"
        assert send(server.url, f"{API}/mcp/", method="DELETE", Origin=origin).status == 403
    assert statuses(server.url, Origin=f"http://{name}") == {200}
    assert statuses(server.url, Origin="http://localhost:8000", Host="localhost:8000") == {200}
    # A proxy that keeps the name to itself and one that tells it with the port.
    assert statuses(server.url, Origin="https://a.test", X_Forwarded_Host="a.test") == {200}
    assert statuses(server.url, Origin="https://a.test", X_Forwarded_Host="a.test:443") == {200}
    assert server.said() == []


def test_a_proxy_may_use_the_name_of_the_root_path(root):
    public = "https://example.org/geoseg"
    with running([*arguments(root), "--root-path", public]) as one:
        for host in ("example.org", "Example.org:8443", "localhost"):
            assert statuses(one.url, Host=host, Origin="https://example.org") == {200}
        assert statuses(one.url, Host="evil.test") == {421}
        assert statuses(one.url, Host="example.org", Origin="https://evil.test") == {200, 403}


def test_a_space_has_names_that_nobody_told(root):
    with running([*arguments(root), "--host", "0.0.0.0"], SPACE_ID="ann/geoseg") as one:
        assert statuses(one.url, Host="ann-geoseg.hf.space") == {200}
        for origin in ("https://huggingface.co", "https://ann-geoseg.hf.space"):
            assert statuses(one.url, Host="inside:7860", Origin=origin) == {200}
        assert statuses(one.url, Origin="https://hf.space.evil.test") == {200, 403}
        # Its proxies are believed, whoever else is named before.
        held = {"X_Forwarded_For": f"{FIRST}, 10.1.1.1", "Content_Length": "9"}

        def rank(chain: str) -> Reply:
            return post(one.url, "/page/rank", {"models": []}, X_Forwarded_For=chain)

        with crowd(one.url, MAX_JOBS // SHARE, "POST /page/rank", **held):
            until(429, lambda: rank(f"{SECOND}, {FIRST}, 10.1.1.1"))
            assert rank(f"{FIRST}, {SECOND}, 10.1.1.1").status == 200


def test_nobody_can_write_an_address_into_what_others_read(server):
    for path in ("/", "/config", f"{API}/info", f"{API}/info?page=x", f"{API}/openapi.json"):
        send(server.url, path, X_Forwarded_Host="evil.test", X_Gradio_Server="http://evil.test")
        assert "evil.test" not in send(server.url, path).text


def test_without_login_nothing_is_given(locked, routes, root):
    for (method, path), account in itertools.product(routes, (None, "ann:wrong")):
        if account and not path.startswith("/config"):
            continue  # a wrong password takes a second
        headers = basic(account) if account else {}
        reply = send(locked.url, fill(path, "x"), method=method, **headers)
        assert reply.status == 401, (method, path)
        assert "geoseg" not in reply.text
    for header in ("Basic", "Basic !", "Basic YW5u", "Bearer YW5uOmZpcnN0OnNlY3JldA==", "\xff"):
        assert send(locked.url, "/", Authorization=header).status == 401
    assert upload(locked.url, [("a.npy", b"")]).status == 401


@pytest.mark.parametrize("account", ACCOUNTS)
def test_users_get_everything(locked, root, account):
    login = basic(account)
    assert "geoseg" in send(locked.url, "/", **login).text
    (path,) = upload_paths(locked.url, root / "set" / "images" / "well_9_patch_0.npy", **login)
    assert "models" in call(locked.url, "segment", path, **login)
    accept = "application/json, text/event-stream"
    said = post(locked.url, f"{API}/mcp/", HELLO, Accept=accept, **login)
    assert "serverInfo" in said.text
    tool = {"name": "list_models", "arguments": {}}
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": tool}
    assert "402-unet" in post(locked.url, f"{API}/mcp/", message, Accept=accept, **login).text


def test_answers_that_nobody_fetches_are_forgotten():
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


def test_passwords_cannot_be_tried_in_crowds(locked):
    def enter(address: str) -> int:
        return send(locked.url, "/", X_Forwarded_For=address, **basic(ACCOUNTS[0])).status

    def guess() -> list[Reply]:
        replies = []
        while not done.is_set():
            wrong = basic("ann:wrong")
            replies.append(send(locked.url, "/", X_Forwarded_For=FIRST, **wrong))
        return replies

    done, start = threading.Event(), time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        guesses = [pool.submit(guess) for _ in range(12)]
        try:
            until(429, lambda: send(locked.url, "/", X_Forwarded_For=FIRST, **basic("ann:x")))
            # Had it been told, the guesser would know the right one.
            until(429, lambda: send(locked.url, "/", X_Forwarded_For=FIRST, **basic(ACCOUNTS[0])))
            assert enter(SECOND) == 200
        finally:
            done.set()
    replies = [reply for one in guesses for reply in one.result()]
    assert {reply.status for reply in replies} == {401, 429}
    checked = sum(reply.status == 401 for reply in replies)
    assert checked <= MAX_WRONG // SHARE * ((time.monotonic() - start) / WRONG_SECONDS + 1)
    assert enter(FIRST) == 200


def test_many_guessers_shut_out_nobody_who_has_been_here(monkeypatch):
    monkeypatch.setattr("geoseg.page.callers.WRONG_SECONDS", 0.2)

    async def watch() -> list[int]:
        accounts = Accounts(ACCOUNTS)

        async def ask(address: str, account: str) -> int:
            refusal = await accounts.refusal(address, Headers(basic(account)))
            return refusal.status_code if refusal else 200

        seen = [await ask("friend", ACCOUNTS[0])]
        guessers = range(MAX_WRONG)
        guesses = [asyncio.create_task(ask(f"stranger {n}", "ann:wrong")) for n in guessers]
        await asyncio.sleep(0)
        seen += [await ask("friend", ACCOUNTS[0]), await ask("new", ACCOUNTS[0])]
        assert await asyncio.gather(*guesses) == [401] * MAX_WRONG
        return [*seen, await ask("new", ACCOUNTS[0])]

    assert asyncio.run(watch()) == [200, 200, 429, 200]


@contextmanager
def crowd(url: str, count: int, start: str, **headers: str) -> Iterator[None]:
    """So many requests of that kind under way, and known to the server."""
    with ExitStack() as stack:
        for connection in [stall(url, start, **headers) for _ in range(count)]:
            stack.enter_context(connection)
        send(url, "/")  # the server takes them up in turn
        yield


def until(status: int, ask: Callable[[], Reply]) -> Reply:
    """The first answer of that status, which comes once the server has seen who left or came."""
    deadline = time.monotonic() + 20
    while (reply := ask()).status != status:
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    return reply


def models(url: str, address: str) -> Reply:
    return post(url, f"{API}/run/models", {"data": []}, X_Forwarded_For=address)


def test_a_client_whose_bodies_stall_keeps_no_other_waiting(server):
    share = MAX_CALLS // SHARE
    held = {"X_Forwarded_For": FIRST, "Content_Length": "9"}
    with crowd(server.url, share, f"POST {API}/queue/join", **held):
        assert "Your address" in until(429, lambda: models(server.url, FIRST)).text
        assert "402-unet" in models(server.url, SECOND).text
        assert send(server.url, "/", X_Forwarded_For=FIRST).status == 200
    until(200, lambda: models(server.url, FIRST))


def test_uploads_leave_room_for_others_and_for_calls(server):
    def ask(address: str) -> Reply:
        return upload(server.url, [("a.npy", b"0")], X_Forwarded_For=address)

    share = MAX_BODIES // SHARE
    with ExitStack() as stack:
        for number in range(SHARE):
            held = {"X_Forwarded_For": f"203.0.113.{100 + number}", "Content_Length": "9"}
            held["Content_Type"] = "multipart/form-data; boundary=x"
            path = "mcp/" if number % 2 else "upload"
            stack.enter_context(crowd(server.url, share, f"POST {API}/{path}", **held))
            if number == 0:
                until(429, lambda: ask("203.0.113.100"))
                assert ask(SECOND).status == 200
        until(503, lambda: ask(SECOND))
        assert models(server.url, "203.0.113.100").status == 200
    until(200, lambda: ask(SECOND))


def test_jobs_of_one_client_do_not_fill_the_line(server):
    def rank(address: str) -> Reply:
        return post(server.url, "/page/rank", {"models": []}, X_Forwarded_For=address)

    held = {"X_Forwarded_For": FIRST, "Content_Length": "9"}
    with crowd(server.url, MAX_JOBS // SHARE, "POST /page/rank", **held):
        until(429, lambda: rank(FIRST))
        assert rank(SECOND).status == 200
        looked = post(server.url, "/page/look", {"models": []}, X_Forwarded_For=FIRST)
        assert looked.status == 200
    until(200, lambda: rank(FIRST))


def test_a_client_that_awaits_answers_keeps_no_other_waiting(server):
    def ask(address: str) -> Reply:
        # Of a session that does not exist: it ends at once.
        path = f"{API}/queue/data?session_hash=none"
        return send(server.url, path, X_Forwarded_For=address)

    share = MAX_STREAMS // SHARE
    with crowd(server.url, share, f"GET {API}/heartbeat/x", X_Forwarded_For=FIRST):
        until(429, lambda: ask(FIRST))
        assert ask(SECOND).status != 429
        assert models(server.url, FIRST).status == 200
    until(ask(SECOND).status, lambda: ask(FIRST))


def test_a_household_is_one_client():
    def of(host: str) -> str:
        return client({"client": (host, 1)})

    assert of("2001:db8:1:2::1") == of("2001:db8:1:2:ffff::9") != of("2001:db8:1:3::1")
    assert of("::ffff:203.0.113.7") == of("203.0.113.7") == "203.0.113.7"
    assert of("unix:") == "unix:"
    assert client({"client": None}) == client({}) == ""


def test_a_household_shares_what_the_page_keeps(server, root):
    """Patches as large as a user may keep, from two addresses of one network and from another."""
    content = io.BytesIO()
    np.save(content, np.zeros((256, 256), np.float16))
    files = [(f"{number}.npy", content.getvalue()) for number in range(64)]

    def accepted(number: int, address: str) -> int:
        key = f"a_user_of_that_house_{number}"
        reply = send_files(server.url, key, files, X_Forwarded_For=address)
        return reply.json["accepted"]

    share = MAX_CLIENT_PIXELS // MAX_TOTAL_PIXELS
    for number in range(share):
        assert accepted(number, f"2001:db8::{number}") == len(files)
    assert accepted(share, "2001:db8::99") == 0
    assert accepted(share, "2001:db8:0:1::99") == len(files)
    for number in range(share + 1):
        send_files(server.url, f"a_user_of_that_house_{number}", [])


def read_slowly(part: bytes, parts: int, seconds: float) -> tuple[Response | None, int]:
    """What a body that comes in such parts is told, and how many of them were read."""
    count = 0

    async def receive() -> dict:
        nonlocal count
        await asyncio.sleep(seconds)
        count += 1
        return {"type": "http.request", "body": part, "more_body": count < parts}

    async def read() -> Response | None:
        return await Exchange(receive, None).check_call()

    return asyncio.run(read()), count


def test_a_body_has_time_by_its_length(monkeypatch):
    monkeypatch.setattr("geoseg.page.exchange.BODY_SECONDS", 0.5)
    monkeypatch.setattr("geoseg.page.exchange.BODY_RATE", 100_000)
    refusal, count = read_slowly(b" ", 1000, 0.1)
    assert refusal.status_code == 408
    assert count < 10, "it held its place by one byte after the other"
    refusal, count = read_slowly(b" " * 50_000, 10, 0.1)
    assert (refusal.status_code, count) == (400, 10), "as fast as it must be, though not JSON"


@pytest.mark.long
def test_a_body_that_trickles_is_cut_off(server):
    start = time.monotonic()
    with stall(server.url, f"POST {API}/queue/join", Content_Length="900") as connection:
        connection.settimeout(1)
        while time.monotonic() - start < 2 * BODY_SECONDS:
            connection.sendall(b" ")
            with suppress(TimeoutError):
                assert b"408" in connection.recv(999)
                break
    assert BODY_SECONDS - 2 < time.monotonic() - start < BODY_SECONDS + 5


def test_an_answer_that_nobody_takes_ends(monkeypatch):
    async def stuck(message) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("geoseg.page.exchange.SEND_SECONDS", 0.05)
    with pytest.raises(ClientDisconnect):
        asyncio.run(Exchange(stuck, stuck).send({"type": "http.response.body", "body": b"x"}))

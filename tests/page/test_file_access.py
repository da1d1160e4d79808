"""No route gives a file of the server, fetches an address, or shows a user's files to others."""

import itertools
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from geoseg.page.backend import GONE
from geoseg.page.guard import DOORS
from tests.helpers.attacks import fill, is_harmless, secret_places, secret_server, spellings
from tests.helpers.requests import API, ask, call, post, send, send_files, trigger, upload_paths


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_no_route_gives_a_file_or_fetches_an_address(server, root, routes, step):
    """Ask every route for every `step`-th secret, in every spelling that a path can have."""
    with secret_server() as (inside, requests):
        cases = [
            (method, fill(path, value), place)
            for (method, path), place in itertools.product(routes, secret_places(root, inside))
            for value in (spellings(place) if "{" in path else [""])
        ]
        for method, address, place in cases[::step]:
            if method not in ("GET", "POST"):
                continue
            if address.startswith((f"{API}/mcp", f"{API}/heartbeat")) and method == "GET":
                continue  # endless streams; they take no path
            queries = "&".join(f"{name}={quote(place)}" for name in ("path", "url", "deep_link"))
            body = {"data": [place], "path": place, "url": place, "models": []}
            reply = send(
                server.url,
                f"{address}?{queries}&session_hash=x",
                json.dumps(body).encode() if method == "POST" else None,
                Content_Type="application/json",
            )
            assert is_harmless(reply.text), (method, address)
        assert requests == []
    assert server.output() == []


def test_routes_that_are_not_needed_are_closed(server, routes):
    shut = 0
    for method, path in routes:
        address = fill(path, "x")
        if re.fullmatch(DOORS.get(method, "(?!)"), address.rstrip("/") or "/"):
            continue
        shut += 1
        assert send(server.url, address, method=method).status in (404, 405), (method, path)
    assert shut > 40
    for path in (
        "file=/etc/passwd",
        "proxy=http://x",
        "vibe-code",
        "deep_link",
    ):
        assert send(server.url, f"{API}/{path}").status == 404


@pytest.mark.parametrize("way", ["run", "call"])
def test_endpoints_read_no_file_by_its_path(server, root, way):
    meta = {"_type": "gradio.FileData"}
    with secret_server() as (inside, requests):
        for target in secret_places(root, inside):
            forged = [target, {"path": target}, {"path": target, "meta": meta}]
            forged.append({"path": target, "url": target, "meta": meta, "is_stream": True})
            for file in forged:
                if way == "run":
                    text = post(server.url, f"{API}/run/segment", {"data": [[file]]}).text
                    assert json.loads(text)["error"], file
                else:
                    text = queued(server.url, "segment", file)
                    assert "event: error" in text or json.loads(text)["error"], file
                assert is_harmless(text)
                assert str(root / "temporary") not in text
        assert requests == []
    assert server.output() == []


def queued(url: str, name: str, *data) -> str:
    answer = post(url, f"{API}/call/{name}", {"data": list(data)})
    number = answer.json.get("event_id")
    return send(url, f"{API}/call/{name}/{number}").text if number else answer.text


def test_an_upload_has_its_own_path_and_is_deleted_once_read(server, root):
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


def test_uploads_are_shown_only_to_their_user(server, root):
    path = root / "set" / "images" / "well_9_patch_5.npy"
    before = set((root / "temporary").rglob("*"))
    receipt = send_files(server.url, "mine" * 8, [("one.npy", path.read_bytes())])
    assert (receipt["accepted"], receipt["rejected"]) == (1, [])
    asked = {"source": "uploads", "models": []}
    mine = ask(server.url, "look", "mine" * 8, **asked)
    assert mine["name"] == "one.npy"
    for user in ("theirs" * 8, "", "mine", ["mine" * 8], None, 7):
        for name in ("look", "browse"):
            assert ask(server.url, name, user, **asked) == {"error": GONE, "gone": True}
        told = trigger(server.url, "save-masks", "click", {"user": user, **asked})
        assert told[-2]["output"]["error"] == GONE
    assert set((root / "temporary").rglob("*.npy")) <= before, "it is left on the disk"


def test_a_file_of_the_export_is_given_to_who_asked(server):
    told = trigger(server.url, "save-masks", "click", {"models": ["402-unet"]})
    (path,) = set(re.findall(r'"path": "([^"]+)"', json.dumps(told)))
    assert send(server.url, f"{API}/file={path}", method="GET").status == 200
    folder = Path(path).parent
    for other in (
        folder,
        folder.parent,
        f"{folder}/../x/geoseg.zip",
        f"{folder.parent}/geoseg.zip",
    ):
        assert send(server.url, f"{API}/file={other}").status == 404


@pytest.mark.parametrize("user", ["", "short", "x" * 65])
def test_uploads_need_a_key_that_cannot_be_guessed(server, user):
    assert "no key of its user" in send_files(server.url, user, [("a.npy", b"")])


def test_forwarded_hosts_do_not_appear_in_later_answers(server):
    for path in ("/", "/config", f"{API}/info", f"{API}/info?page=x", f"{API}/openapi.json"):
        send(server.url, path, X_Forwarded_Host="evil.test", X_Gradio_Server="http://evil.test")
        assert "evil.test" not in send(server.url, path).text

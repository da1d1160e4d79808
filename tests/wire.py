"""Plain HTTP, as an attacker or `curl` writes it: nothing is tidied on the way."""

import base64
import http.client
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

API = "/gradio_api"


class Reply(NamedTuple):
    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def send(
    url: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    method: str = "",
    **headers: str,
) -> Reply:
    """One request; a header's `_` stands for `-`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(connection):
        verb = method or ("GET" if body is None else "POST")
        connection.putrequest(verb, parts.path + path)
        if isinstance(body, bytes):
            named.setdefault("Content-Length", str(len(body)))
        elif body is not None:
            named["Transfer-Encoding"] = "chunked"
        for name, value in named.items():
            connection.putheader(name, value)
        chunked = body is not None and not isinstance(body, bytes)
        connection.endheaders(body, encode_chunked=chunked)
        reply = connection.getresponse()
        return Reply(reply.status, reply.read().decode(errors="replace"), reply.headers)


def post(url: str, path: str, content: Any, **headers: str) -> Reply:
    """A JSON body."""
    body = json.dumps(content).encode()
    return send(url, path, body, **{"Content_Type": "application/json", **headers})


def basic(account: str) -> dict[str, str]:
    """The header that a user logs in by."""
    return {"Authorization": "Basic " + base64.b64encode(account.encode()).decode()}


def form(files: Iterable[tuple[str, bytes]], field: str = "files") -> tuple[bytes, str]:
    """A multipart body, names as they are, and its content type."""
    line = b"----files-of-a-test"
    parts = []
    for name, content in files:
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
        parts += [b"--", line, b"\r\n", head.encode("utf-8", "surrogateescape"), b"\r\n\r\n"]
        parts += [content, b"\r\n"]
    return b"".join(
        [*parts, b"--", line, b"--\r\n"]
    ), f"multipart/form-data; boundary={line.decode()}"


def upload(url: str, files: Iterable[tuple[str, bytes]], **headers: str) -> Reply:
    body, kind = form(files)
    return send(url, f"{API}/upload", body, Content_Type=kind, **headers)


def upload_paths(url: str, *paths: Path, **headers: str) -> list[str]:
    return upload(url, [(p.name, p.read_bytes()) for p in paths], **headers).json


def call(url: str, name: str, *data: Any, **headers: str) -> Any:
    """What an endpoint gives, or its error's text."""
    answer = post(url, f"{API}/run/{name}", {"data": list(data)}, **headers).json
    return answer["data"][0] if "data" in answer else answer["error"]


def fire(url: str, dependency: dict, data: list, session: str, **headers: str) -> dict:
    """Fire an event of the page as a browser does; gives its output or error."""
    body = {"data": data, "fn_index": dependency["id"], "session_hash": session}
    if not dependency["queue"]:
        return post(url, f"{API}/run/predict", body, **headers).json
    assert post(url, f"{API}/queue/join", body, **headers).status == 200
    stream = send(url, f"{API}/queue/data?session_hash={session}", **headers).text
    messages = [json.loads(line[5:]) for line in stream.splitlines() if line.startswith("data:")]
    return next(m["output"] for m in messages if m["msg"] == "process_completed")


def heard(output: dict) -> dict:
    """What the page hears of an event: the one text among its outputs."""
    return next(json.loads(part) for part in output["data"] if isinstance(part, str))


def event(url: str, kind: str, **headers: str) -> dict:
    """The page's first event of a kind, out of its configuration."""
    events = send(url, "/config", **headers).json["dependencies"]
    return next(e for e in events if any(target[1] == kind for target in e["targets"]))

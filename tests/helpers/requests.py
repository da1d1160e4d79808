"""Send plain HTTP requests as they are written: no client library corrects them."""

import base64
import http.client
import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

API = "/gradio_api"
LOGIN = "Authorization"


class Reply(NamedTuple):
    """An answer, its body as text."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


def send(
    url: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    method: str = "",
    **headers: str,
) -> Reply:
    """Send one request; `_` in the name of a header stands for `-`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(connection):
        verb = method or ("GET" if body is None else "POST")
        connection.putrequest(verb, parts.path + path, skip_host="Host" in named)
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
    """Send JSON."""
    body = json.dumps(content).encode()
    return send(url, path, body, **{"Content_Type": "application/json", **headers})


def basic(account: str) -> dict[str, str]:
    """Return the header of a user's login."""
    return {"Authorization": "Basic " + base64.b64encode(account.encode()).decode()}


def form(files: Iterable[tuple[str, bytes]], field: str = "files") -> tuple[bytes, str]:
    """Return a multipart body, names not escaped, and its content type."""
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
    """Upload files for the endpoints."""
    body, kind = form(files)
    return send(url, f"{API}/upload", body, Content_Type=kind, **headers)


def upload_paths(url: str, *paths: Path, **headers: str) -> list[str]:
    """Upload files for the endpoints; return the paths that the server gives them."""
    return upload(url, [(p.name, p.read_bytes()) for p in paths], **headers).json


def call(url: str, name: str, *data: Any, **headers: str) -> Any:
    """Call an endpoint; return its result, or the text of its error."""
    answer = post(url, f"{API}/run/{name}", {"data": list(data)}, **headers).json
    return answer["data"][0] if "data" in answer else answer["error"]


def ask(url: str, name: str, user: str = "", /, **message: Any) -> Any:
    """Call a function of the viewer as the page does; return its answer."""
    return component_call(url, name, {"user": user, **message}).json


def component_call(url: str, name: str, message: Any, **headers: str) -> Reply:
    """Send a call of a function of the viewer."""
    viewer = find_component(url, "viewer", **{k: v for k, v in headers.items() if k == LOGIN})
    body = {"data": message, "component_id": viewer, "fn_name": name, "session_hash": "a_test"}
    return post(url, f"{API}/component_server/", body, **headers)


@cache
def configuration(url: str, login: str = "") -> Any:
    """Return the page's configuration."""
    return send(url, "/config", **({LOGIN: login} if login else {})).json


def find_component(url: str, name: str, **login: str) -> int:
    """Return the number of the component with that `elem_id`."""
    components = configuration(url, *login.values())["components"]
    return next(c["id"] for c in components if c["props"].get("elem_id") == name)


def trigger(url: str, name: str, event: str, *data: Any, **headers: str) -> list[dict[str, Any]]:
    """Trigger an event of the component `name` as the page does; return the queue's messages."""
    number = find_component(url, name)
    functions = configuration(url)["dependencies"]
    function = next(f["id"] for f in functions if [number, event] in map(list, f["targets"]))
    session = secrets.token_hex(8)
    body = {"data": data, "fn_index": function, "session_hash": session, "trigger_id": number}
    reply = post(url, f"{API}/queue/join", body, **headers)
    assert reply.status == 200, reply.text
    text = send(url, f"{API}/queue/data?session_hash={session}").text
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def send_files(url: str, user: Any, files: Iterable[tuple[str, bytes]]) -> Any:
    """Upload a user's patches as the page does; return what the viewer is told, or the error."""
    paths = upload(url, files).json
    sent = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    last = trigger(url, "upload", "upload", sent, {"user": user})[-2]["output"]
    return last["data"][0] if "data" in last else last["error"]

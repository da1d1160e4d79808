"""What an attacker tries at a server, and what no answer may contain."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.helpers import ROOT
from tests.helpers.requests import API, component_call, form, send

SECRET = "a-secret-of-the-server-7f3a"
ACCOUNTS = ["ann:first:secret", "bob:naïve"]  # the lines of GEOSEG_AUTH
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


@contextmanager
def secret_server() -> Iterator[tuple[str, list[str]]]:
    """Run a server that geoseg must never ask; give its address and the list of its requests."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SECRET.encode())

        def send_error(self, *_: object) -> None:
            requests.append(self.command)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as inside:
        threading.Thread(target=inside.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{inside.server_port}", requests
        inside.shutdown()


def secret_places(root: Path, address: str) -> list[str]:
    """Return files and addresses that must never be read, in the spellings that attackers try."""
    files = [str(root / "secret.txt"), "/etc/passwd", str(ROOT / "app.py")]
    climbs = ["../" * 9 + "etc/passwd", "..%2f" * 9 + "etc%2fpasswd", "....//" * 9 + "etc/passwd"]
    windows = ["..\\" * 9 + "etc\\passwd", "C:\\Windows\\win.ini", "\\\\127.0.0.1\\share\\x"]
    addresses = [
        f"{address}/x.npy",
        "http://169.254.169.254/latest",
        "http://[::1]:1/",
        "//a.test/x",
    ]
    others = ["file:///etc/passwd", "/proc/self/environ", "/dev/zero", "a\0.npy", "%2e%2e/%2e%2e/x"]
    states = [str(root), *("../" * up + name for up in (2, 3) for name in ("", root.name))]
    return files + climbs + windows + addresses + others + states


def spellings(path: str) -> set[str]:
    """Return a path in the spellings that a URL can have."""
    once = quote(path, safe="/:=.")
    return {
        once,
        quote(path, safe=""),
        quote(quote(path, safe=""), safe=""),
        once.replace("..", "%2e%2e"),
    }


def fill(path: str, value: str) -> str:
    """Replace every parameter of a route's path."""
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = path[:start] + value + path[end + 1 :]
    return path


def is_harmless(text: str, *leaks: str) -> bool:
    """Check that an answer holds no secret, no traceback and no path of the server."""
    usual = (SECRET, "root:x:", "import argparse", "PYTHONWARNINGS", "Traceback", "site-packages")
    return not any(leak in text for leak in (*usual, *leaks))


def statuses(url: str, **headers: str) -> set[int]:
    """Return how the page, its description and every door answer a request with such headers."""
    kinds = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers = {**kinds, **headers}
    body, kind = form([("a.npy", b"0")])
    replies = [send(url, path, **headers) for path in ("/", f"{API}/info")]
    replies += [send(url, f"{API}/run/models", b'{"data": []}', **headers)]
    replies += [send(url, f"{API}/mcp/", json.dumps(HELLO).encode(), **headers)]
    replies += [component_call(url, "look", {}, **headers)]
    replies += [send(url, f"{API}/upload", body, **{**headers, "Content_Type": kind})]
    return {reply.status for reply in replies}

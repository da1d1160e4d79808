"""A fake of Kaggle's API for the real client libraries."""

import http.server
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("kagglehub", reason="needs pip install kagglehub")

from kagglesdk import kaggle_env

from tests.helpers.http_servers import handling

Answer = tuple[int, Any]


class FakeKaggle:
    """The server's state.

    `answers` maps the name of a call, such as "GetDataset", to a status with JSON or bytes; `asked`
    lists the calls with their messages.
    """

    url = ""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all answers and calls."""
        self.answers: dict[str, Answer | Callable[[dict[str, Any]], Answer]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def answer(self, name: str, message: dict[str, Any]) -> Answer:
        self.asked.append((name, message))
        answer = self.answers.get(name, (404, {"code": 404, "message": f"no {name}"}))
        return answer(message) if callable(answer) else answer


def _handler(kaggle: FakeKaggle) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(*kaggle.answer(self.path.rpartition("/")[2], json.loads(body or "{}")))

        def do_GET(self) -> None:
            self._send(*kaggle.answer(self.path, {}))

        def _send(self, status: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            kind = "octet-stream" if isinstance(content, bytes) else "json"
            self.send_response(status)
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[FakeKaggle]:
    """Run a fake Kaggle until the block ends."""
    kaggle = FakeKaggle()
    with handling(_handler(kaggle)) as kaggle.url:
        yield kaggle


def use(url: str, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """Make the clients of Kaggle use this server, without a login."""
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, url)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "KAGGLE_CONFIG_DIR", "KAGGLEHUB_CACHE"):
        monkeypatch.setenv(name, home)


@contextmanager
def kaggle_server(monkeypatch: pytest.MonkeyPatch, home: str) -> Iterator[FakeKaggle]:
    """Run a fake Kaggle and use it until the block ends."""
    with serving() as kaggle:
        use(kaggle.url, monkeypatch, home)
        yield kaggle

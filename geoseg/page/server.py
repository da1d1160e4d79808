"""What stands between the network and Gradio: who may come in, by which door, with how much.

Gradio serves many routes that this page has no use for (files by their path, a proxy, an editor of
code). Only those in `DOORS` are open; what Gradio adds tomorrow is shut until somebody needs it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import gradio as gr
from gradio.components.api_component import Api
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoseg.page import uploads
from geoseg.page.routes import Desk
from geoseg.patches import PatchError

API = "/gradio_api"
UPLOAD, MCP, STARTUP, INFO = (
    f"{API}/{name}" for name in ("upload", "mcp", "startup-events", "info")
)
FILES = "/page/files"
DOORS = {
    "GET": rf"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?"
    r"|/(assets|static)/[\w.-]+(/[\w.-]+)*"
    rf"|{API}/(info|openapi\.json|app_id|startup-events|theme\.css)/?"
    rf"|{API}/(queue/data|heartbeat/[\w-]{{1,64}}|mcp/?|mcp/schema)"
    rf"|{API}/call/(v2/)?\w+/\w+",
    "HEAD": r"/",
    "POST": rf"{API}/(upload|queue/join|cancel|mcp/?)|{API}/(run|call|call/v2)/\w+/?"
    r"|/page/(look|browse|files|rank|export|probe)",
    "DELETE": rf"{MCP}/?",
}
STREAMS = re.compile(rf"{API}/(queue/data|heartbeat/.*|call/.*|mcp/?)")

MAX_BODY = 2**20  # of JSON: a page's request is 200 bytes, 512 uploaded files make 300 kB
MAX_MCP_BODY = 2**23  # files come in it, as base64
MAX_UPLOAD_BODY = 2**26  # MAX_TOTAL_PIXELS of the widest numbers, and room
LIMITS = {UPLOAD: MAX_UPLOAD_BODY, FILES: MAX_UPLOAD_BODY, MCP: MAX_MCP_BODY}
BODY_SECONDS = 30  # from one part of a request to the next
MAX_CALLS = 256  # that are being answered; a page has one, and two when it looks ahead
MAX_STREAMS = 1024  # connections on which answers are awaited; a page has two
MAX_SESSIONS = 512  # users whose uploads and last picture are remembered, the latest ones
MAX_QUEUE = 256  # calls that wait
MAX_THREADS = 8  # each keeps what its models' work needed: 40, Gradio's own number, keep more
SESSION = 64  # characters of a session's name; Gradio's have 11, its clients' 36
SWEEP_SECONDS = 60
WRONG_PASSWORD_SECONDS = 1

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # A Space is a frame of huggingface.co.
    "Content-Security-Policy": "frame-ancestors 'self' https://huggingface.co "
    "https://*.huggingface.co https://*.hf.space",
}

_log = logging.getLogger("geoseg.page")


class Page(gr.Blocks):
    """Blocks that answer a call which does not fit in one sentence, without a traceback.

    Attributes:
        desk: answers what the page's scripts ask.
    """

    desk: Desk

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """Gradio's, for files of the inbox only; an endpoint's last parameters may be left out."""
        rest = block_fn.inputs[len(inputs) :]
        if all(isinstance(block, Api) for block in rest):
            inputs = [*inputs, *(block.value for block in rest)]
        try:
            # Gradio itself fetches addresses that are given in place of a file.
            uploads.check_paths(inputs)
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error:
            raise
        except PatchError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            text = "The call does not fit this endpoint; see its parameters."
            raise gr.Error(text, print_exception=False) from None


def options(accounts: Sequence[str], routes: Sequence[Route]) -> dict[str, Any]:
    """What `launch` takes so that all requests pass the gate; `accounts` are "user:password".

    `routes` come before Gradio's own.
    """
    return {
        "app_kwargs": {
            "middleware": [Middleware(Gate, accounts=accounts)],
            "routes": [Route(UPLOAD, uploads.receive, methods=["POST"]), *routes],
            "lifespan": keep_tidy,
        },
        "state_session_capacity": MAX_SESSIONS,
        "max_threads": MAX_THREADS,
        "max_file_size": uploads.MAX_FILE_BYTES,
        "allowed_paths": [],
    }


@asynccontextmanager
async def keep_tidy(app: Any) -> AsyncIterator[None]:
    """While the server runs, forget uploads that nobody read and answers that nobody fetched."""

    async def tidy() -> None:
        unread: dict[str, int] = {}
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await asyncio.to_thread(uploads.sweep)
                app.get_blocks().desk.users.sweep()
                unread = forget_unread(app.get_blocks()._queue, unread)
            except Exception as error:  # the next round may go better
                _log.error("tidying failed: %s", repr(error)[:200])

    task = asyncio.create_task(tidy())
    try:
        yield
    finally:
        task.cancel()


def forget_unread(queue: Any, before: dict[str, int]) -> dict[str, int]:
    """Drop answers that waited since the last call, and give how many wait now, by session.

    Gradio keeps the answers of a session for whoever asks for them, without end.
    """
    waiting = queue.pending_messages_per_session
    counts = {session: held.qsize() for session, held in waiting.items() if held.qsize()}
    for session in [s for s, n in before.items() if counts.get(s, 0) >= n]:
        waiting.pop(session, None)
        counts.pop(session, None)
    for session in [s for s in queue.pending_event_ids_session if s not in waiting]:
        queue.pending_event_ids_session.pop(session, None)
    return counts


class TooLargeError(Exception):
    """The body went beyond its limit while it was read."""


class Gate:
    """ASGI middleware in front of every route: doors, login, limits, headers, plain errors."""

    def __init__(self, app: ASGIApp, accounts: Sequence[str] = ()) -> None:
        self.app = app
        self.digests = [_digest(account.encode()) for account in accounts]
        self.streams = self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or let the application answer it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        exchange = Exchange(receive, send)
        streams = scope["method"] == "GET" and bool(STREAMS.fullmatch(_path(scope)))
        calls = scope["method"] == "POST"
        self.streams += streams
        self.calls += calls
        try:
            refusal = await self._refusal(scope, exchange)
            if refusal:
                return await refusal(scope, exchange.receive, exchange.send)
            return await exchange.run(self.app, scope)
        finally:
            self.streams -= streams
            self.calls -= calls

    async def _refusal(self, scope: Scope, exchange: Exchange) -> Response | None:
        """Why this request goes no further, or None."""
        path, method, headers = _path(scope), scope["method"], Headers(scope=scope)
        if not await self._may_enter(scope, path, headers):
            challenge = {"WWW-Authenticate": 'Basic realm="geoseg", charset="UTF-8"'}
            return JSONResponse({"detail": "A user and a password are needed."}, 401, challenge)
        if not re.fullmatch(DOORS.get(method, "(?!)"), path) or "/.." in path:
            return JSONResponse({"detail": "Not Found"}, 404)
        streams = method == "GET" and STREAMS.fullmatch(path) and self.streams > MAX_STREAMS
        if streams or (method == "POST" and self.calls > MAX_CALLS):
            return JSONResponse({"detail": "Too many connections; try again later."}, 503)
        if path.rstrip("/") == INFO:
            # Gradio keeps the description that it made for the first caller, with the address
            # that this caller's headers claimed, for everybody; that of a page is made anew.
            scope["query_string"] += b"&page="
        limit = {UPLOAD: MAX_UPLOAD_BODY, FILES: MAX_UPLOAD_BODY, MCP: MAX_MCP_BODY}.get(
            path.rstrip("/"), MAX_BODY
        )
        exchange.limit = limit
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            return _too_large(limit)
        if method == "POST" and limit == MAX_BODY:
            return await exchange.check_call()
        return None

    async def _may_enter(self, scope: Scope, path: str, headers: Headers) -> bool:
        # Gradio's own first call, before anybody else is told the address.
        if not self.digests or (path == STARTUP and not scope["app"].startup_events_triggered):
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = _digest(base64.b64decode(token))
        except (binascii.Error, ValueError):
            return False
        # All are compared, so that the time does not tell which user exists.
        if sum(secrets.compare_digest(given, digest) for digest in self.digests):
            return True
        await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        return False


class Exchange:
    """One request and its answer: counts what comes in, adds headers, and ends what failed."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.limit, self._size, self._started, self._whole = MAX_BODY, 0, False, False
        self._read: list[Message] = []

    async def receive(self) -> Message:
        """The next part of the body; TooLargeError beyond the limit."""
        if self._read:
            return self._read.pop(0)
        # Once the body is there, this waits for the client to go away.
        with anyio.fail_after(None if self._whole else BODY_SECONDS):
            message = await self._receive()
        self._whole = not message.get("more_body")
        self._size += len(message.get("body", b""))
        if self._size > self.limit:
            raise TooLargeError
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on, with our headers."""
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await self._send(message)

    async def check_call(self) -> Response | None:
        """Look at the JSON of a call before Gradio keeps any of it; None where it may pass."""
        read: list[Message] = []
        try:
            while not read or read[-1].get("more_body"):
                read.append(await self.receive())
            call = json.loads(b"".join(part.get("body", b"") for part in read))
        except TooLargeError:
            return _too_large(self.limit)
        except TimeoutError:
            return _too_slow()
        except (ValueError, RecursionError):
            return JSONResponse({"detail": "The body is not JSON."}, 400)
        self._read = read
        session = call.get("session_hash") if isinstance(call, dict) else None
        if session is not None and not (isinstance(session, str) and len(session) <= SESSION):
            text = f"session_hash must be a text of {SESSION} characters at most."
            return JSONResponse({"detail": text}, 422)
        return None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application answer; what it cannot is one sentence here, one line in the log."""
        try:
            await app(scope, self.receive, self.send)
            return
        except TooLargeError:
            reply = _too_large(self.limit)
        except TimeoutError:
            reply = _too_slow()
        except ClientDisconnect:
            return
        except Exception as error:
            if not self._started:  # an answer that breaks off is a stream whose session is gone
                _log.error("%s failed: %s", _path(scope), repr(error)[:200])
            reply = JSONResponse({"detail": "The request cannot be answered."}, 500)
        if self._started:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await reply(scope, self.receive, self.send)


def _too_large(limit: int) -> Response:
    return JSONResponse({"detail": f"The request is larger than {limit:,} bytes."}, 413)


def _too_slow() -> Response:
    return JSONResponse({"detail": "The request did not come in time."}, 408)


def _path(scope: Scope) -> str:
    """The path below the one at which a proxy shows the page."""
    path, root = str(scope["path"]), urlsplit(str(scope.get("root_path", ""))).path
    inside = path.removeprefix(root)
    return inside if root and inside.startswith("/") else path


def _digest(account: bytes) -> bytes:
    return hashlib.sha256(account).digest()

"""One request and its response: limits of size and speed, and messages for failures."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack

import anyio
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2**20  # of JSON: a page's request is 200 bytes, 512 uploaded files make 300 kB
MAX_NESTS = 20_000  # lists and objects of a body; 512 uploaded files are 1,024 of them
BODY_SECONDS = 30  # from one part of a request to the next, and for all of a small one
BODY_RATE = 100_000  # bytes a second, which a large one must reach after that
SEND_SECONDS = 60  # that a reader may be waited for
SEND_RATE = 10_000  # bytes of an answer that earn a second more
SESSION = 64  # characters of a session's name; Gradio's have 11, its clients' 36

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # A Space is a frame of huggingface.co.
    "Content-Security-Policy": "frame-ancestors 'self' https://huggingface.co "
    "https://*.huggingface.co https://*.hf.space",
}

_log = logging.getLogger("geoseg.page")


class TooLargeError(Exception):
    """The body went beyond its limit while it was read."""


class Exchange:
    """One request and its answer: counts what comes in, adds headers, and ends what failed.

    Attributes:
        limit: bytes that may come in.
        places: what the request holds until it is answered.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.places = ExitStack()
        self._began, self._waited, self._sent = time.monotonic(), 0.0, 0
        self.limit, self._size, self._started, self._whole = MAX_BODY, 0, False, False
        self._read: list[Message] = []

    async def receive(self) -> Message:
        """Receive the next part of the body; TooLargeError beyond the limit."""
        if self._read:
            return self._read.pop(0)
        # Once the body is there, this waits for the client to go away.
        with anyio.fail_after(None if self._whole else self._patience()):
            message = await self._receive()
        self._whole = not message.get("more_body")
        self._size += len(message.get("body", b""))
        if self._size > self.limit:
            raise TooLargeError
        return message

    def _patience(self) -> float:
        """Return the seconds in which the next part of the body must arrive."""
        due = self._began + BODY_SECONDS + self._size / BODY_RATE
        return min(BODY_SECONDS, due - time.monotonic())

    async def send(self, message: Message) -> None:
        """Pass the answer on, with our headers."""
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        began = time.monotonic()
        patience = SEND_SECONDS + self._sent / SEND_RATE - self._waited
        try:
            with anyio.fail_after(min(patience, SEND_SECONDS)):
                await self._send(message)
        except TimeoutError:  # it holds places and memory that others wait for
            raise ClientDisconnect from None
        self._waited += time.monotonic() - began
        self._sent += len(message.get("body", b""))

    async def check_call(
        self, functions: Collection[int] = (), by_number: bool = False
    ) -> Response | None:
        """Look at the JSON of a call before Gradio keeps any of it; None where it may pass.

        `functions` are the numbers by which one can be called; `by_number`, and must.
        """
        read: list[Message] = []
        try:
            while not read or read[-1].get("more_body"):
                read.append(await self.receive())
            body = b"".join(part.get("body", b"") for part in read)
            if body.count(b"[") + body.count(b"{") > MAX_NESTS:  # which would take seconds to read
                return sentence(f"The body has more than {MAX_NESTS:,} lists and objects.", 413)
            call = json.loads(body)
        except TooLargeError:
            return too_large(self.limit)
        except TimeoutError:
            return _too_slow()
        except (ValueError, RecursionError):
            return sentence("The body is not JSON.", 400)
        self._read = read
        if not isinstance(call, dict):
            return sentence("The body must be a JSON object.", 422)
        session, number = call.get("session_hash", ""), call.get("fn_index")
        if session is not None and not (isinstance(session, str) and len(session) <= SESSION):
            text = f"session_hash must be a text of {SESSION} characters at most."
            return sentence(text, 422)
        if (number is not None or by_number) and number not in [*functions]:
            return sentence("fn_index must be the number of a function; /config has them.", 422)
        return None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application answer; an error becomes one sentence and one line in the log."""
        try:
            await app(scope, self.receive, self.send)
            return
        except TooLargeError:
            reply = too_large(self.limit)
        except TimeoutError:
            reply = _too_slow()
        except ClientDisconnect:
            return
        except Exception as error:
            if not self._started:  # an answer that breaks off is a stream whose session is gone
                _log.error("%s failed: %s", scope["path"], repr(error)[:200])
            reply = sentence("The request cannot be answered.", 500)
        if self._started:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await reply(scope, self.receive, self.send)


def sentence(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response of one sentence."""
    return JSONResponse({"detail": text}, status, headers)


def too_large(limit: int) -> Response:
    """Return the response to a body beyond its limit."""
    return sentence(f"The request is larger than {limit:,} bytes.", 413)


def _too_slow() -> Response:
    return sentence("The request came too slowly; send less at once.", 408)

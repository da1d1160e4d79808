"""Answers that nobody fetches: Gradio's queue keeps them without end, so they are fetched here."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoseg.page.api import NAMES

ANSWER_SECONDS = 60  # after which an answer is dropped, unless somebody listens
MAX_GONE = 10_000
CALL = "/gradio_api/call/"
CALLS = re.compile(rf"/gradio_api/queue/join/?|{CALL}.*")


class Unread:
    """ASGI middleware that reads the answers of queued calls which their callers leave unread."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._listening: Counter[str] = Counter()  # streams of a session or a call
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: dict[str, None] = {}  # calls whose answers are gone, the latest ones

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and note who calls and who listens."""
        if scope["type"] == "http" and scope["method"] == "POST" and CALLS.fullmatch(scope["path"]):
            return await self._call(scope, receive, send)
        if scope["type"] == "http" and scope["method"] == "GET":
            asked = parse_qs(scope["query_string"].decode("latin-1"))
            name = asked.get("session_hash", [scope["path"].rpartition("/")[2]])[0]
            if name in self._gone:  # Gradio would let its caller wait for ever
                raise HTTPException(404, "The answer was fetched already, or not in time.")
            self._listening[name] += 1
            try:
                return await self.app(scope, receive, send)
            finally:
                self._listening -= Counter([name])
        return await self.app(scope, receive, send)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application take a call, and look after its answer later."""
        asked, said = bytearray(), bytearray()

        async def take() -> Message:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def tell(message: Message) -> None:
            said.extend(message.get("body", b""))
            await send(message)

        await self.app(scope, take, tell)
        if event := _field(said, "event_id"):
            names = {event, _field(asked, "session_hash")}
            loop = asyncio.get_running_loop()
            loop.call_later(ANSWER_SECONDS, self._look, scope["app"], event, names)

    def _look(self, app: Any, event: str, names: set[str]) -> None:
        """Fetch the answer of a call unless somebody listens."""
        if any(self._listening[name] for name in names):
            loop = asyncio.get_running_loop()
            loop.call_later(ANSWER_SECONDS, self._look, app, event, names)
            return
        self._gone[event] = None
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]
        task = asyncio.create_task(self._fetch(app, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self, app: Any, event: str) -> None:
        """Read the answer of a call, as a client does that never goes away."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"{CALL}{NAMES[0]}/{event}",
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "app": app,
        }

        async def stay() -> Message:
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def ignore(message: Message) -> None:
            pass

        try:
            await self.app(scope, stay, ignore)
        except Exception:  # it was fetched already, so its session is gone
            return


def _field(body: bytearray, name: str) -> str:
    """Return a text of a JSON object, or nothing."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""

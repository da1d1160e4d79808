"""The middleware in front of Gradio's routes: each check closes a hole that Gradio leaves open."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geoseg.page import uploads
from geoseg.page.api import NAMES
from geoseg.page.login import sentence
from geoseg.patches import PatchError

API = "/gradio_api"
UPLOAD, MCP, INFO = (f"{API}/{name}" for name in ("upload", "mcp", "info"))
STATIC = "/page/static"
PROGRAMS = "|".join(NAMES)
# Gradio has some eighty routes: among them are a proxy, files by their path or address, an editor
# of code, and answers without login. Only those that the page and programs need are open.
DOORS = {
    "GET": r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)"
    r"|/(assets|static|page/static)/[\w.-]+(/[\w.-]+)*"
    rf"|{API}/(info|openapi\.json|app_id|startup-events|theme\.css|upload_progress)"
    rf"|{API}/(queue/data|heartbeat/[\w-]{{1,64}}|mcp|mcp/schema)"
    # What the server made for a user, at a path that tells the hash of its content; no upload.
    rf"|{API}/file=[\w/.-]+/[0-9a-f]{{64}}/[\w.-]+"
    rf"|{API}/call/(v2/)?({PROGRAMS})/\w+",
    "HEAD": r"/",
    "POST": rf"{API}/(upload|queue/join|cancel|reset|component_server|mcp|run/predict)"
    rf"|{API}/(run|call|call/v2)/({PROGRAMS})",
    "DELETE": MCP,
}
ENDPOINT = re.compile(rf"{API}/(?:run|call)/({PROGRAMS})")

MAX_BODY = 2**20  # of JSON: a page's request is 200 bytes, 512 uploaded files make 300 kB
MAX_MCP_BODY = 2**24  # MAX_CALL_WORK of the widest numbers with their labels, as base64
MCP_BODY = 2**22  # that the package of MCP takes; files of larger ones are kept as uploads are
MAX_UPLOAD_BODY = 2**26  # MAX_TOTAL_PIXELS of the widest numbers, and room
MAX_LARGE = 32  # bodies beyond MAX_BODY that are in memory at once
MAX_NESTS = 20_000  # lists and objects of a body: more take seconds to read
MAX_SESSION = 64  # characters of a session's name
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Other sites may not lay the page under their own; a Space is a frame of huggingface.co.
    "Content-Security-Policy": "frame-ancestors 'self' https://huggingface.co "
    "https://*.huggingface.co https://*.hf.space",
}
WHOLE = "start geoseg with --root-path and the whole address at which the page is shown"

_log = logging.getLogger("geoseg.page")


class Guard:
    """ASGI middleware: foreign pages, routes, bodies and the files that a call names."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app, self.ours = app, [_netloc(root_path)]
        if "SPACE_HOST" in os.environ:
            self.ours += ["huggingface.co", os.environ["SPACE_HOST"].lower()]
        self._large = asyncio.Semaphore(MAX_LARGE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or let the application answer it with our headers."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no route of ours
            return await send({"type": "websocket.close", "code": 1008})
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            return await self._pass(scope, receive, answer)
        except HTTPException as error:
            refusal = sentence(error.detail, error.status_code)
        except _CallError as error:
            refusal = error.response(scope["path"])
        except Exception as error:  # Starlette would print its whole traceback for any caller
            refusal = sentence("The request cannot be answered.", 500)
            if not started:  # an answer that breaks off is a stream whose session is gone
                _log.error("%s failed: %s", scope["path"], repr(error)[:200])
        if not started:
            return await refusal(scope, receive, answer)
        return await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method, headers = _path(scope), scope["method"], Headers(scope=scope)
        self._check_origin(headers)
        if not path and method in ("GET", "HEAD"):
            return await _into(scope)(scope, receive, send)
        door = path.rstrip("/") or "/"
        if not re.fullmatch(DOORS.get(method, "(?!)"), door) or "/.." in path:
            text = f"Nothing is here; {API}/openapi.json lists the endpoints."
            raise HTTPException(404, text)
        # As behind a proxy that cuts the path off: Gradio cannot cut off a whole address.
        scope["path"] = path
        path = path.rstrip("/")
        if path.startswith(STATIC):
            scope["root_path"] = ""  # Starlette cannot cut it off either
        if path == INFO:
            # Gradio keeps the description that it made for the first caller, with the address
            # that this caller's headers claimed, for everybody; that of a page is made anew.
            scope["query_string"] += b"&page="
        if method != "POST":
            return await self.app(scope, receive, send)
        limit = {UPLOAD: MAX_UPLOAD_BODY, MCP: MAX_MCP_BODY}.get(path, MAX_BODY)
        length = headers.get("content-length", str(limit))
        if not length.isdecimal() or int(length) > limit:
            raise _too_large(limit)
        if int(length) <= MAX_BODY:
            return await self._pass_body(scope, path, limit, receive, send)
        if self._large.locked():
            raise HTTPException(503, "Too many requests are under way; try again later.")
        async with self._large:
            return await self._pass_body(scope, path, limit, receive, send)

    async def _pass_body(
        self, scope: Scope, path: str, limit: int, receive: Receive, send: Send
    ) -> None:
        """Pass a request on, with its body counted; JSON is read and checked first."""
        counted = _Counted(receive, limit)
        if path == UPLOAD:
            return await self.app(scope, counted.receive, send)
        functions = scope["app"].get_blocks().fns.values()
        body = self._check_call(path, await counted.read(), functions)
        MutableHeaders(scope=scope)["content-length"] = str(len(body))
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return parts.pop() if parts else await receive()

        return await self.app(scope, again, send)

    def _check_call(self, path: str, body: bytes, functions: Iterable[Any]) -> bytes:
        """Return the body of a call as Gradio may read it; HTTPException if it may not."""
        if body.count(b"[") + body.count(b"{") > MAX_NESTS:
            raise HTTPException(413, f"The body has more than {MAX_NESTS:,} lists and objects.")
        try:
            call = json.loads(body)
            # Gradio fetches addresses that are given in place of a file, and tells where it looked.
            uploads.check_paths(call)
        except PatchError as error:
            raise _CallError(call, str(error)) from None
        except (ValueError, RecursionError):
            raise HTTPException(400, "The body is not JSON.") from None
        if not isinstance(call, dict):
            raise HTTPException(422, "The body must be a JSON object.")
        if len(body) > MCP_BODY:
            return uploads.DATA_URL.sub(uploads.keep_data, body)
        # Gradio keeps the names of sessions.
        session = call.get("session_hash", "")
        if session is not None and not (isinstance(session, str) and len(session) <= MAX_SESSION):
            text = f"session_hash must be a text of {MAX_SESSION} characters at most."
            raise HTTPException(422, text)
        # Gradio takes another function by its number, and wants parameters that a call leaves out.
        endpoint, data = ENDPOINT.fullmatch(path), call.get("data")
        if endpoint and isinstance(data, list):
            (inputs,) = (f.inputs for f in functions if f.api_name == endpoint[1])
            data += [block.value for block in inputs[len(data) :]]
            return json.dumps({"data": data, "session_hash": session or None}).encode()
        return body

    def _check_origin(self, headers: Headers) -> None:
        """Refuse what the page of a foreign site sends in the browser of a user of this one.

        Gradio lets any origin call, with the user's password, unless the host is this machine.
        """
        if "origin" not in headers:
            return
        # X-Forwarded-Host does not count: Gradio tells browsers that any page may send it.
        origin, host = _netloc(headers["origin"]), _plain(headers.get("host", "").lower())
        if not origin or origin not in {host, *self.ours}:
            text = f"Another site's page may not call this one; behind a proxy, {WHOLE}."
            raise HTTPException(403, text)


class _CallError(Exception):
    """A call names a file that it may not."""

    def __init__(self, call: Any, text: str) -> None:
        self._call, self._text = call, text

    def response(self, path: str) -> Response:
        """Return an error response; agents, which speak JSON-RPC, get a failed tool's."""
        if not path.startswith(MCP) or not isinstance(self._call, dict):
            return sentence(self._text, 422)
        result = {"content": [{"type": "text", "text": self._text}], "isError": True}
        return JSONResponse({"jsonrpc": "2.0", "id": self._call.get("id"), "result": result})


class _Counted:
    """A request's body, of which no more than `limit` bytes are received."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._size = receive, limit, 0

    async def receive(self) -> Message:
        """Receive the next message; HTTPException beyond the limit."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise _too_large(self._limit)
        return message

    async def read(self) -> bytes:
        """Receive the whole body."""
        parts, more = [], True
        while more:
            message = await self.receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(parts)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"The request is larger than {limit:,} bytes.")


def _netloc(address: str) -> str:
    """Return the host of a URL, with its port unless that is the default one."""
    return _plain(address.partition("://")[2].partition("/")[0].lower())


def _plain(host: str) -> str:
    return re.sub(r":(80|443)?$", "", host)


def _path(scope: Scope) -> str:
    """Return the path below the root path of a proxy; empty for the root path itself."""
    path, root = str(scope["path"]), urlsplit(str(scope.get("root_path", ""))).path
    inside = path.removeprefix(root)
    return inside if root and inside[:1] in ("", "/") else path


def _into(scope: Scope) -> Response:
    """Lead from /geoseg to /geoseg/, relatively: only the browser knows the site's name."""
    folder, query = str(scope["path"]).rpartition("/")[2], scope["query_string"].decode("latin-1")
    return RedirectResponse(f"./{folder}/" + (f"?{query}" if query else ""), 307)

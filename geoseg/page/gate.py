"""The middleware between the network and Gradio: access, open routes, limits.

Gradio serves many routes that this page has no use for (files by their path, a proxy, an editor of
code). Only those in `DOORS` are open; what Gradio adds tomorrow is shut until somebody needs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from geoseg.page.api import NAMES
from geoseg.page.callers import Accounts, Shares, client, names
from geoseg.page.exchange import MAX_BODY, Exchange, sentence, too_large

API = "/gradio_api"
UPLOAD, MCP, STARTUP, INFO, JOIN, PREDICT = (
    f"{API}/{name}"
    for name in ("upload", "mcp", "startup-events", "info", "queue/join", "run/predict")
)
PROGRAMS = "|".join(NAMES)
PAGE_JOBS = "rank|export|probe"
FILES = "/page/files"
FORMS = (UPLOAD, FILES)  # what else is posted is JSON
DOORS = {
    "GET": rf"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?"
    r"|/(assets|static)/[\w.-]+(/[\w.-]+)*"
    rf"|{API}/(info|openapi\.json|app_id|startup-events|theme\.css)/?"
    rf"|{API}/(queue/data|heartbeat/[\w-]{{1,64}}|mcp/?|mcp/schema)"
    rf"|{API}/call/(v2/)?({PROGRAMS})/\w+",
    "HEAD": r"/",
    "POST": rf"{API}/(upload|queue/join|cancel|mcp/?)|{PREDICT}/?"
    rf"|{API}/(run|call|call/v2)/({PROGRAMS})/?"
    rf"|/page/(look|browse|files|{PAGE_JOBS})",
    "DELETE": rf"{MCP}/?",
}
JOBS = re.compile(f"/page/({PAGE_JOBS})")
STREAMS = re.compile(rf"{API}/(queue/data|heartbeat/.*|call/.*|mcp/?)")

MAX_MCP_BODY = 2**24  # MAX_CALL_WORK of the widest numbers with their labels, as base64
MAX_UPLOAD_BODY = 2**26  # MAX_TOTAL_PIXELS of the widest numbers, and room
LIMITS = {UPLOAD: MAX_UPLOAD_BODY, FILES: MAX_UPLOAD_BODY, MCP: MAX_MCP_BODY}  # others: MAX_BODY
# Of these a client gets one in SHARE.
MAX_BODIES = 32  # larger than MAX_BODY, until they are read and answered
MAX_CALLS = 256  # that are being answered; a page has a look, a list and some jobs
MAX_JOBS = 32  # that go on or wait for their turn; a page has one of each kind
MAX_STREAMS = 1024  # connections on which programs await answers


class Gate:
    """ASGI middleware in front of every route: doors, login, limits, headers, plain errors."""

    def __init__(self, app: ASGIApp, accounts: Sequence[str] = ()) -> None:
        self.app = app
        self.accounts = Accounts(accounts)
        self.streams, self.calls = Shares(MAX_STREAMS), Shares(MAX_CALLS)
        self.bodies, self.jobs = Shares(MAX_BODIES), Shares(MAX_JOBS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or let the application answer it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        exchange = Exchange(receive, send)
        with exchange.places:
            refusal = await self._refusal(scope, exchange)
            if refusal:
                return await refusal(scope, exchange.receive, exchange.send)
            return await exchange.run(self.app, scope)

    async def _refusal(self, scope: Scope, exchange: Exchange) -> Response | None:
        """Return an error response if this request is refused, else None."""
        path, method, headers = _path(scope), scope["method"], Headers(scope=scope)
        # Before `server_name` is set, the only caller is Gradio itself, at a localhost address.
        listening = getattr(scope["app"].get_blocks(), "server_name", "")
        foreign = names(listening, scope.get("root_path", "")).refusal(method, headers)
        if foreign:
            return foreign
        # Gradio's own first call, before anybody else is told the address.
        if path != STARTUP or scope["app"].startup_events_triggered:
            stranger = await self.accounts.refusal(client(scope), headers)
            if stranger:
                return stranger
        if not path and method in ("GET", "HEAD"):
            return _into(scope)
        if not re.fullmatch(DOORS.get(method, "(?!)"), path) or "/.." in path:
            return sentence(f"Nothing is here; {API}/openapi.json lists the endpoints.", 404)
        # As behind a proxy that cuts the path off: Gradio cannot cut off a whole address.
        scope["path"] = path
        exchange.limit = LIMITS.get(path.rstrip("/"), MAX_BODY)
        crowded = self._take_places(scope, path, exchange)
        if crowded:
            return crowded
        if path.rstrip("/") == INFO:
            # Gradio keeps the description that it made for the first caller, with the address
            # that this caller's headers claimed, for everybody; that of a page is made anew.
            scope["query_string"] += b"&page="
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > exchange.limit:
            return too_large(exchange.limit)
        if method == "POST" and path.rstrip("/") not in FORMS:
            functions = scope["app"].get_blocks().fns
            return await exchange.check_call(functions, path.rstrip("/") in (JOIN, PREDICT))
        return None

    def _take_places(self, scope: Scope, path: str, exchange: Exchange) -> Response | None:
        """Take the places that the request needs; return an error response if none is free."""
        who = client(scope)
        wanted = []
        if scope["method"] == "GET" and STREAMS.fullmatch(path):
            wanted.append(self.streams)
        if scope["method"] == "POST":
            wanted.append(self.calls)
            if exchange.limit > MAX_BODY:
                wanted.append(self.bodies)
            if JOBS.fullmatch(path):
                wanted.append(self.jobs)
        for shares in wanted:
            crowded = shares.refusal(who)
            if crowded:
                return crowded
            exchange.places.enter_context(shares.place(who))
        return None


def _path(scope: Scope) -> str:
    """Return the path below the root path of a proxy; empty for the root path itself."""
    path, root = str(scope["path"]), urlsplit(str(scope.get("root_path", ""))).path
    inside = path.removeprefix(root)
    return inside if root and inside[:1] in ("", "/") else path


def _into(scope: Scope) -> Response:
    """Lead from /geoseg to /geoseg/, relatively: only the browser knows the site's name."""
    folder, query = str(scope["path"]).rpartition("/")[2], scope["query_string"].decode("latin-1")
    return RedirectResponse(f"./{folder}/" + (f"?{query}" if query else ""), 307)

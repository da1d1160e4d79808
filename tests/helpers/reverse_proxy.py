"""A reverse proxy that shows a server below a path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

METHODS = ["GET", "POST", "HEAD", "DELETE"]


def make_proxy(target: str, prefix: str, cut: bool) -> Starlette:
    """Make a proxy that passes requests below `prefix` on to `target`; with `cut` without it."""
    client = httpx.AsyncClient(base_url=target, timeout=None)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def forward(request: Request) -> Response:
        path = request.url.path.removeprefix(prefix) if cut else request.url.path
        headers = [*request.headers.raw, (b"x-forwarded-proto", b"http")]
        headers.append((b"x-forwarded-for", b"203.0.113.9"))
        url = httpx.URL(path=path or "/", query=request.url.query.encode())
        body = request.stream()
        forwarded = client.build_request(request.method, url, headers=headers, content=body)
        reply = await client.send(forwarded, stream=True)
        passed = {k: v for k, v in reply.headers.items() if k != "transfer-encoding"}
        close = BackgroundTask(reply.aclose)
        return StreamingResponse(reply.aiter_raw(), reply.status_code, passed, background=close)

    icon = Route("/favicon.ico", lambda request: Response())  # of the site; not passed on
    return Starlette(
        routes=[icon, Route(prefix + "{_:path}", forward, methods=METHODS)], lifespan=lifespan
    )

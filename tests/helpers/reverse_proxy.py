"""Run a reverse proxy: `python -m tests.helpers.reverse_proxy PORT TARGET PREFIX [--cut]`.

With `--cut` it removes PREFIX from the path.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

WAYS = ["GET", "POST", "HEAD", "DELETE"]


def make_app(target: str, prefix: str, cut: bool) -> Starlette:
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
        asked = client.build_request(request.method, url, headers=headers, content=body)
        reply = await client.send(asked, stream=True)
        kept = {k: v for k, v in reply.headers.items() if k != "transfer-encoding"}
        done = BackgroundTask(reply.aclose)
        return StreamingResponse(reply.aiter_raw(), reply.status_code, kept, background=done)

    icon = Route("/favicon.ico", lambda request: Response())  # of the site, not of the page
    return Starlette(
        routes=[icon, Route(prefix + "{_:path}", forward, methods=WAYS)], lifespan=lifespan
    )


if __name__ == "__main__":
    port, target, prefix = sys.argv[1:4]
    uvicorn.run(make_app(target, prefix, "--cut" in sys.argv), port=int(port), log_level="error")

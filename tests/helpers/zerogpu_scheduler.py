"""A scheduler that lends the GPUs of ZeroGPU, as far as the package `spaces` asks it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from benchmarks.server import free_port
from tests.helpers.http_servers import running_app


class Lender:
    """The scheduler: `asked` lists its requests, `minutes` is whether the visitor has quota left.

    While it is `busy`, requests wait. It lends no real GPU.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.minutes, self.busy = True, False
        self.port = free_port()
        self.environment = {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{self.port}",
        }

    def names(self) -> list[str]:
        """Return the names of the requests, in order."""
        return [name for name, _ in self.asked]

    async def answer(self, request: Request) -> Response:
        """Answer a request of `spaces`."""
        name = request.url.path.strip("/")
        self.asked.append((name, dict(request.query_params)))
        if name != "schedule":
            return Response()
        if not self.minutes:
            return JSONResponse({"left": 3, "wait": 60}, 429)
        if self.busy:
            return StreamingResponse(self._queue(), media_type="text/event-stream")
        lent = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
        return JSONResponse(lent)

    async def _queue(self) -> AsyncIterator[str]:
        while self.busy:
            yield "event: ping\n\n"
            await asyncio.sleep(0.1)
        yield "event: failed\n\n"


@contextmanager
def lending() -> Iterator[Lender]:
    """Run a scheduler until the block ends."""
    lender = Lender()
    route = Route("/{name}", lender.answer, methods=["POST"])
    with running_app(Starlette(routes=[route]), lender.port):
        yield lender

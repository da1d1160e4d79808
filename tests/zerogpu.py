"""The machine behind a ZeroGPU Space, as far as the package `spaces` asks it: whose turn is it?"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.serving import free_port


class Lender:
    """Answers `spaces`: what it was `asked`, with parameters; whether there are `minutes` left.

    It has no GPU: the process that is told so will find none.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.minutes = True
        self.port = free_port()
        self.environment = {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{self.port}",
        }

    def names(self) -> list[str]:
        """What was asked for, in order."""
        return [name for name, _ in self.asked]

    async def answer(self, request: Request) -> Response:
        name = request.url.path.strip("/")
        self.asked.append((name, dict(request.query_params)))
        if name != "schedule":
            return Response()
        if not self.minutes:
            return JSONResponse({"left": 3, "wait": 60}, 429)
        lent = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
        return JSONResponse(lent)


@contextmanager
def lending() -> Iterator[Lender]:
    """A lender until the block ends."""
    lender = Lender()
    route = Route("/{name}", lender.answer, methods=["POST"])
    config = uvicorn.Config(Starlette(routes=[route]), port=lender.port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield lender
    finally:
        server.should_exit = True
        thread.join()

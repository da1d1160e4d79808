"""The machine behind a ZeroGPU Space, as far as the package `spaces` asks it: whose turn is it?"""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers import running_app
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
    with running_app(Starlette(routes=[route]), lender.port):
        yield lender

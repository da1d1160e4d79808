"""Gradio for untrusted clients: invalid calls, limits, clean-up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from gradio.components.api_component import Api
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geoseg.page import uploads
from geoseg.page.exchange import sentence
from geoseg.page.gate import MAX_MCP_BODY, UPLOAD, Gate
from geoseg.page.routes import Desk
from geoseg.patches import PatchError

MAX_SESSIONS = 512  # clients of the endpoints that Gradio remembers, the latest ones
MAX_THREADS = 8  # each keeps what its models' work needed: 40, Gradio's own number, keep more
SWEEP_SECONDS = 60

MISFIT = "The call does not fit this endpoint; see its parameters."

_log = logging.getLogger("geoseg.page")


class Page(gr.Blocks):
    """Blocks that answer an invalid call with one sentence, without a traceback.

    Attributes:
        desk: answers what the page's scripts ask.
    """

    desk: Desk

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """Restrict Gradio's method to inbox files; an endpoint's last parameters are optional."""
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
            raise gr.Error(MISFIT, print_exception=False) from None


def options(accounts: Sequence[str], routes: Sequence[Route]) -> dict[str, Any]:
    """Return the options of `launch` for the gate; `accounts` are "user:password".

    `routes` come before Gradio's own.
    """
    return {
        "app_kwargs": {
            "middleware": [Middleware(Gate, accounts=accounts)],
            "routes": [Route(UPLOAD, uploads.receive, methods=["POST"]), *routes],
            "lifespan": keep_tidy,
            "exception_handlers": {RequestValidationError: misfit, TypeError: misfit},
        },
        "state_session_capacity": MAX_SESSIONS,
        "max_threads": MAX_THREADS,
        "max_file_size": uploads.MAX_FILE_BYTES,
        "allowed_paths": [],
    }


async def misfit(request: Request, error: Exception) -> Response:
    """Describe an invalid call in one sentence, where FastAPI has a list and Gradio nothing."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return sentence(f"{place} does not fit: {first['msg']}.", 422)
    if "/call/v2/" in request.url.path:
        return sentence(MISFIT, 422)
    raise error  # a mistake of ours


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

    # MCP's own limit is below what a call may bring by the other ways; the gate has ours.
    with suppress(AttributeError):  # older versions have none
        app.get_blocks().mcp_server_obj.manager.asgi_app.max_body_size = MAX_MCP_BODY
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

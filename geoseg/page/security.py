"""The safety of the server: what Gradio, Starlette and uvicorn have, and what they leave open.

What polices slow networks (rates, patience, shares of an address) belongs to a proxy.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from geoseg.page import uploads
from geoseg.page.guard import STATIC, UPLOAD, Guard
from geoseg.page.login import Accounts, challenge, sentence
from geoseg.page.unread import Unread

MAX_CONNECTIONS = 768
MAX_SESSIONS = 512  # clients of the endpoints that Gradio remembers, the latest ones
MAX_THREADS = 8  # each keeps what its models' work needed: 40, Gradio's own number, keep more


def launch_options(host: str, root_path: str, accounts: Sequence[str]) -> dict[str, Any]:
    """Return the options of `Blocks.launch` for a server that strangers may reach.

    `host` is what it listens on, `root_path` a path or the whole address of a proxy; `accounts`
    ("user:password") are those who may enter, or all where there are none.
    """
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=_trusted(host, root_path))]
    if accounts:
        middleware.append(
            Middleware(AuthenticationMiddleware, backend=Accounts(accounts), on_error=challenge)
        )
    middleware += [Middleware(Guard, root_path=root_path), Middleware(Unread)]
    static = Path(__file__).parent / "static"
    return {
        "app_kwargs": {
            "middleware": middleware,
            "routes": [
                Route(UPLOAD, uploads.receive, methods=["POST"]),
                Mount(STATIC, StaticFiles(directory=static)),
            ],
            "exception_handlers": {RequestValidationError: _misfit, TypeError: _misfit},
        },
        "state_session_capacity": MAX_SESSIONS,
        "max_threads": MAX_THREADS,
        "max_file_size": uploads.MAX_FILE_BYTES,
        "allowed_paths": [],
    }


def protect(page: gr.Blocks) -> None:
    """Limit the connections of a launched page; uvicorn reads this at each new one."""
    page.server.config.limit_concurrency = MAX_CONNECTIONS


async def _misfit(_: Request, error: Exception) -> Response:
    """Describe an invalid call in one sentence, where FastAPI repeats all of it."""
    if not isinstance(error, RequestValidationError):
        return sentence("The call does not fit this endpoint; see its parameters.", 422)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return sentence(f"{place} does not fit: {first['msg']}.", 422)


def _trusted(host: str, root_path: str) -> list[str]:
    """Return the names under which the server may be called; all where it is open to others.

    A foreign site can let its own name point to 127.0.0.1, so that a browser shows its page what
    only this machine may see (DNS rebinding).
    """
    try:
        found = socket.getaddrinfo(host.strip("[]") or "localhost", None)
    except OSError:
        found = []
    if not all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found):
        return ["*"]
    names = {"localhost", "127.0.0.1", "[::1]", "::1", host.lower()}
    return sorted(names | {urlsplit(root_path).hostname or "localhost"} - {""})

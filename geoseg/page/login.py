"""The login: HTTP Basic authentication in front of every route.

Gradio's own `auth` does not ask agents (MCP), who may then call every endpoint, nor who cancels
another's work or reads a stream; and its cookie is more than programs can be asked for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping, Sequence

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

STARTUP = "/gradio_api/startup-events"
MAX_GUESSES, GUESS_SECONDS = 16, 1  # wrong passwords, and in which time


class Accounts(AuthenticationBackend):
    """The users who may enter, by HTTP Basic authentication.

    Gradio's own `auth` leaves MCP, cancelling, streams and static files open.
    """

    def __init__(self, accounts: Sequence[str]) -> None:
        self._digests = [hashlib.sha256(account.encode()).digest() for account in accounts]
        self._guesses = asyncio.Semaphore(MAX_GUESSES)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        """Let a user in; AuthenticationError for anybody else, late for a wrong password."""
        # Gradio's own first call, before anybody else is told the address.
        if conn.scope["path"] == STARTUP and not conn.scope["app"].startup_events_triggered:
            return AuthCredentials(), SimpleUser("")
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        try:
            account = base64.b64decode(token) if scheme.lower() == "basic" else None
        except (binascii.Error, ValueError):
            account = None
        if account is None:
            raise AuthenticationError("A user and a password are needed.")
        given = hashlib.sha256(account).digest()
        # All are compared, so that the time does not tell which user exists.
        if not sum(secrets.compare_digest(given, digest) for digest in self._digests):
            async with self._guesses:
                await asyncio.sleep(GUESS_SECONDS)
            raise AuthenticationError("A user and a password are needed.")
        return AuthCredentials(), SimpleUser(account.partition(b":")[0].decode(errors="replace"))


def challenge(conn: HTTPConnection, error: Exception) -> Response:
    """Ask for a user and a password."""
    wanted = {"WWW-Authenticate": 'Basic realm="geoseg", charset="UTF-8"'}
    return sentence(str(error), 401, wanted)


def sentence(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response of one sentence."""
    # Gradio's own answers have one or the other.
    return JSONResponse({"detail": text, "error": text}, status, headers)

"""Checks of the caller: Host, Origin, user, and number of concurrent requests."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import os
import re
import secrets
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from geoseg.page.exchange import sentence

SPACE = re.compile(r"huggingface\.co|[\w-]+\.hf\.space")
SHARE = 4  # a client gets one in so many of the places for anything
MAX_WRONG = 16  # passwords at once, of which each takes a second
WRONG_SECONDS = 1
KNOWN = 512  # clients that had a right password, the latest ones
WHOLE = "start geoseg with --root-path and the whole address at which the page is shown"


class Names:
    """The host names under which this server, which listens on `listening`, may be called.

    The page of a foreign site can do two things in the browser of somebody who runs geoseg for
    themselves. It can let its own name point to 127.0.0.1, so that the browser takes both for one
    site and shows it everything (DNS rebinding); but the Host header tells. And it can send simple
    requests without seeing the answers; but the Origin header tells.
    """

    def __init__(self, listening: str, root: str) -> None:
        self.public = _netloc(root)
        self.guarded = _is_loopback(listening)
        self.hosts = {listening.lower(), _name(self.public)} - {""}
        self.on_a_space = bool(os.environ.get("SPACE_ID"))

    def refusal(self, method: str, headers: Headers) -> Response | None:
        """Return an error response if the Host or Origin header is not ours, else None."""
        host = headers.get("host", "").lower()
        name = _name(host)
        if self.guarded and not (_is_local(name) or name in self.hosts):
            return sentence(f"The page answers to localhost only; behind a proxy, {WHOLE}.", 421)
        if method in ("GET", "HEAD") or "origin" not in headers:
            return None
        # A proxy may keep the Host to itself. No foreign page can send this header: a browser asks
        # first whether it may, by a method that is refused.
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip().lower()
        origin = _netloc(headers["origin"])
        ours = {_plain(host), _plain(forwarded), self.public}
        if origin and (origin in ours or (self.on_a_space and SPACE.fullmatch(origin))):
            return None
        return sentence(f"Another site's page may not call this one; behind a proxy, {WHOLE}.", 403)


@lru_cache(4)
def names(listening: str, root: str) -> Names:
    """Return the names of a server; they are determined once."""
    return Names(listening, root)


def _netloc(address: str) -> str:
    """Return the host of a URL, with its port unless that is the default one."""
    return _plain(address.partition("://")[2].partition("/")[0].lower())


def _plain(host: str) -> str:
    return re.sub(r":(80|443)?$", "", host)


def _name(host: str) -> str:
    """Return the host without its port."""
    return re.sub(r":\d*$", "", host)


def _is_local(name: str) -> bool:
    """Whether a name is one by which a machine calls itself."""
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    """Whether a server that listens there is out of reach of other machines."""
    try:
        found = socket.getaddrinfo(host.strip("[]") or "localhost", None)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


class Shares:
    """Places for concurrent requests, and the number that each client holds."""

    def __init__(self, places: int) -> None:
        self.places, self.taken = places, 0
        self.by_client: Counter[str] = Counter()

    def refusal(self, client: str) -> Response | None:
        """Return an error response if the client has its share or no place is free, else None."""
        if self.by_client[client] >= self.places // SHARE:
            return sentence("Your address has too many requests under way; wait for them.", 429)
        if self.taken >= self.places:
            return sentence("Too many requests are under way; try again later.", 503)
        return None

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Hold one place for the client."""
        self.taken += 1
        self.by_client[client] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self.by_client[client] -= 1
            if not self.by_client[client]:
                del self.by_client[client]


class Accounts:
    """The users who may enter, as "user:password"; all may where there are none.

    A wrong password is answered late, and only a few may wait at once, which limits the attempts
    per second. While its share waits, a client gets no answer to further attempts.
    """

    def __init__(self, accounts: Sequence[str]) -> None:
        self.digests = [_digest(account.encode()) for account in accounts]
        self.wrong = Shares(MAX_WRONG)
        self.known: dict[str, None] = {}

    async def refusal(self, client: str, headers: Headers) -> Response | None:
        """Return an error response if the request has no valid user, else None."""
        if not self.digests:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        try:
            given = _digest(base64.b64decode(token)) if scheme.lower() == "basic" else None
        except (binascii.Error, ValueError):
            given = None
        if given is None:
            return _challenge()
        crowded = self.wrong.refusal(client)
        # However many strangers guess, they do not shut out who has been here.
        if crowded and not (client in self.known and crowded.status_code == 503):
            return sentence("Too many wrong passwords at once; wait a second.", 429)
        # All are compared, so that the time does not tell which user exists.
        if sum(secrets.compare_digest(given, digest) for digest in self.digests):
            self._know(client)
            return None
        with self.wrong.place(client):
            await asyncio.sleep(WRONG_SECONDS)
        return _challenge()

    def _know(self, client: str) -> None:
        self.known.pop(client, None)
        self.known[client] = None
        if len(self.known) > KNOWN:
            del self.known[next(iter(self.known))]


def client(scope: Scope) -> str:
    """Return the client of a request: its IPv4 address, or the /64 network of IPv6.

    Behind a proxy that uvicorn believes this is the address that the proxy saw.
    """
    host = str((scope.get("client") or [""])[0])
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))


def _challenge() -> Response:
    challenge = {"WWW-Authenticate": 'Basic realm="geoseg", charset="UTF-8"'}
    return sentence("A user and a password are needed.", 401, challenge)


def _digest(account: bytes) -> bytes:
    return hashlib.sha256(account).digest()

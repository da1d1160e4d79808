"""With accounts, nothing is given without a login, and passwords cannot be guessed in crowds."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from starlette.authentication import AuthenticationError
from starlette.requests import HTTPConnection

from benchmarks.server import Server, running
from geoseg.page.login import MAX_GUESSES, Accounts
from tests.helpers.attacks import ACCOUNTS, HELLO, fill
from tests.helpers.requests import (
    API,
    basic,
    call,
    component_call,
    post,
    send,
    upload,
    upload_paths,
)


@pytest.fixture(scope="module")
def locked(arguments) -> Iterator[Server]:
    """Run a page that asks for a login."""
    with running(arguments, GEOSEG_AUTH="\n".join(ACCOUNTS)) as server:
        yield server


def test_nothing_is_given_without_login(locked, routes):
    for (method, path), account in itertools.product(routes, (None, "ann:wrong")):
        if account and not path.startswith("/config"):
            continue  # a wrong password takes a second
        headers = basic(account) if account else {}
        reply = send(locked.url, fill(path, "x"), method=method, **headers)
        assert reply.status == 401, (method, path)
        assert "geoseg" not in reply.text
    for header in ("Basic", "Basic !", "Basic YW5u", "Bearer YW5uOmZpcnN0OnNlY3JldA==", "\xff"):
        assert send(locked.url, "/", Authorization=header).status == 401
    assert upload(locked.url, [("a.npy", b"")]).status == 401


@pytest.mark.parametrize("account", ACCOUNTS)
def test_users_with_a_login_have_access_to_everything(locked, images, account):
    login = basic(account)
    assert "geoseg" in send(locked.url, "/", **login).text
    (path,) = upload_paths(locked.url, images / "well_9_patch_0.npy", **login)
    assert "models" in call(locked.url, "segment", path, **login)
    accept = "application/json, text/event-stream"
    said = post(locked.url, f"{API}/mcp/", HELLO, Accept=accept, **login)
    assert "serverInfo" in said.text
    tool = {"name": "list_models", "arguments": {}}
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": tool}
    assert "402-unet" in post(locked.url, f"{API}/mcp/", message, Accept=accept, **login).text
    assert component_call(locked.url, "look", {}, **login).json["index"] == 0
    assert "start(" in send(locked.url, "/page/static/viewer.js", **login).text


def test_concurrent_password_guesses_are_limited(monkeypatch):
    """However many guess, a user who knows the password does not wait."""
    monkeypatch.setattr("geoseg.page.login.GUESS_SECONDS", 0.2)

    async def crowd() -> list[float]:
        accounts = Accounts(ACCOUNTS)

        async def enter(account: str) -> tuple[float, bool]:
            start = time.monotonic()
            headers = [(b"authorization", basic(account)["Authorization"].encode())]
            asked = HTTPConnection({"type": "http", "path": "/", "headers": headers})
            with suppress(AuthenticationError):
                await accounts.authenticate(asked)
                return time.monotonic() - start, True
            return time.monotonic() - start, False

        guesses = [asyncio.create_task(enter("ann:wrong")) for _ in range(2 * MAX_GUESSES)]
        await asyncio.sleep(0)
        seconds, entered = await enter(ACCOUNTS[0])
        assert entered
        assert seconds < 0.1
        found = await asyncio.gather(*guesses)
        assert not any(entered for _, entered in found)
        return sorted(seconds for seconds, _ in found)

    seconds = asyncio.run(crowd())
    assert 0.2 <= seconds[0] <= seconds[MAX_GUESSES - 1] < 0.35
    assert 0.4 <= seconds[MAX_GUESSES] <= seconds[-1] < 0.6

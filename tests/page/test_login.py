"""With accounts, nothing is given without a login, and passwords cannot be guessed in crowds."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.datastructures import Headers

from benchmarks.server import Server, running
from geoseg.page.callers import MAX_WRONG, SHARE, WRONG_SECONDS, Accounts
from tests.helpers.attacks import ACCOUNTS, FIRST, HELLO, SECOND, fill, wait_for_status
from tests.helpers.requests import API, Reply, basic, call, post, send, upload, upload_paths


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


def test_concurrent_password_guesses_are_limited(locked):
    def enter(address: str, account: str = ACCOUNTS[0]) -> Reply:
        return send(locked.url, "/", X_Forwarded_For=address, **basic(account))

    def guess() -> list[Reply]:
        replies = []
        while not done.is_set():
            replies.append(enter(FIRST, "ann:wrong"))
        return replies

    done, start = threading.Event(), time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        guesses = [pool.submit(guess) for _ in range(12)]
        try:
            wait_for_status(429, lambda: enter(FIRST, "ann:x"))
            # The right password is refused as well, or the guesser would learn it.
            wait_for_status(429, lambda: enter(FIRST))
            assert enter(SECOND).status == 200
        finally:
            done.set()
    replies = [reply for one in guesses for reply in one.result()]
    assert {reply.status for reply in replies} == {401, 429}
    checked = sum(reply.status == 401 for reply in replies)
    assert checked <= MAX_WRONG // SHARE * ((time.monotonic() - start) / WRONG_SECONDS + 1)
    assert enter(FIRST).status == 200


def test_password_guesses_do_not_lock_out_known_users(monkeypatch):
    monkeypatch.setattr("geoseg.page.callers.WRONG_SECONDS", 0.2)

    async def watch() -> list[int]:
        accounts = Accounts(ACCOUNTS)

        async def ask(address: str, account: str) -> int:
            refusal = await accounts.refusal(address, Headers(basic(account)))
            return refusal.status_code if refusal else 200

        seen = [await ask("friend", ACCOUNTS[0])]
        guessers = range(MAX_WRONG)
        guesses = [asyncio.create_task(ask(f"stranger {n}", "ann:wrong")) for n in guessers]
        await asyncio.sleep(0)
        seen += [await ask("friend", ACCOUNTS[0]), await ask("new", ACCOUNTS[0])]
        assert await asyncio.gather(*guesses) == [401] * MAX_WRONG
        return [*seen, await ask("new", ACCOUNTS[0])]

    assert asyncio.run(watch()) == [200, 200, 429, 200]

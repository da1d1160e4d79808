"""One client that asks for much leaves room for the others."""

import io
from contextlib import ExitStack

import numpy as np

from geoseg.page.callers import SHARE, client
from geoseg.page.gate import MAX_BODIES, MAX_CALLS, MAX_JOBS, MAX_STREAMS
from geoseg.page.users import MAX_CLIENT_PIXELS, MAX_TOTAL_PIXELS
from tests.helpers.attacks import FIRST, SECOND, list_models, stalled_requests, wait_for_status
from tests.helpers.requests import API, Reply, post, send, send_files, upload


def test_stalled_bodies_of_one_client_do_not_block_others(server):
    share = MAX_CALLS // SHARE
    held = {"X_Forwarded_For": FIRST, "Content_Length": "9"}
    with stalled_requests(server.url, share, f"POST {API}/queue/join", **held):
        assert "Your address" in wait_for_status(429, lambda: list_models(server.url, FIRST)).text
        assert "402-unet" in list_models(server.url, SECOND).text
        assert send(server.url, "/", X_Forwarded_For=FIRST).status == 200
    wait_for_status(200, lambda: list_models(server.url, FIRST))


def test_uploads_leave_room_for_other_clients_and_for_calls(server):
    def ask(address: str) -> Reply:
        return upload(server.url, [("a.npy", b"0")], X_Forwarded_For=address)

    share = MAX_BODIES // SHARE
    with ExitStack() as stack:
        for number in range(SHARE):
            held = {"X_Forwarded_For": f"203.0.113.{100 + number}", "Content_Length": "9"}
            held["Content_Type"] = "multipart/form-data; boundary=x"
            path = "mcp/" if number % 2 else "upload"
            stack.enter_context(stalled_requests(server.url, share, f"POST {API}/{path}", **held))
            if number == 0:
                wait_for_status(429, lambda: ask("203.0.113.100"))
                assert ask(SECOND).status == 200
        wait_for_status(503, lambda: ask(SECOND))
        assert list_models(server.url, "203.0.113.100").status == 200
    wait_for_status(200, lambda: ask(SECOND))


def test_jobs_of_one_client_do_not_fill_the_queue(server):
    def rank(address: str) -> Reply:
        return post(server.url, "/page/rank", {"models": []}, X_Forwarded_For=address)

    held = {"X_Forwarded_For": FIRST, "Content_Length": "9"}
    with stalled_requests(server.url, MAX_JOBS // SHARE, "POST /page/rank", **held):
        wait_for_status(429, lambda: rank(FIRST))
        assert rank(SECOND).status == 200
        looked = post(server.url, "/page/look", {"models": []}, X_Forwarded_For=FIRST)
        assert looked.status == 200
    wait_for_status(200, lambda: rank(FIRST))


def test_streams_of_one_client_do_not_block_others(server):
    def ask(address: str) -> Reply:
        # The stream of a session that does not exist ends at once.
        path = f"{API}/queue/data?session_hash=none"
        return send(server.url, path, X_Forwarded_For=address)

    share = MAX_STREAMS // SHARE
    with stalled_requests(server.url, share, f"GET {API}/heartbeat/x", X_Forwarded_For=FIRST):
        wait_for_status(429, lambda: ask(FIRST))
        assert ask(SECOND).status != 429
        assert list_models(server.url, FIRST).status == 200
    wait_for_status(ask(SECOND).status, lambda: ask(FIRST))


def test_addresses_of_one_ipv6_network_are_one_client():
    def of(host: str) -> str:
        return client({"client": (host, 1)})

    assert of("2001:db8:1:2::1") == of("2001:db8:1:2:ffff::9") != of("2001:db8:1:3::1")
    assert of("::ffff:203.0.113.7") == of("203.0.113.7") == "203.0.113.7"
    assert of("unix:") == "unix:"
    assert client({"client": None}) == client({}) == ""


def test_one_ipv6_network_shares_the_memory_for_uploads(server):
    """Patches as large as a user may keep, from two addresses of one network and from another."""
    content = io.BytesIO()
    np.save(content, np.zeros((256, 256), np.float16))
    files = [(f"{number}.npy", content.getvalue()) for number in range(64)]

    def accepted(number: int, address: str) -> int:
        key = f"a_user_of_that_house_{number}"
        reply = send_files(server.url, key, files, X_Forwarded_For=address)
        return reply.json["accepted"]

    share = MAX_CLIENT_PIXELS // MAX_TOTAL_PIXELS
    for number in range(share):
        assert accepted(number, f"2001:db8::{number}") == len(files)
    assert accepted(share, "2001:db8::99") == 0
    assert accepted(share, "2001:db8:0:1::99") == len(files)
    for number in range(share + 1):
        send_files(server.url, f"a_user_of_that_house_{number}", [])

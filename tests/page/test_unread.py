"""Answers of Gradio's queue that nobody fetches are dropped; those that are awaited are not."""

import json
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.server import EXACT, Server, running
from tests.helpers.requests import API, post, send


@pytest.fixture(scope="module")
def impatient(arguments) -> Iterator[Server]:
    """Run a page that drops answers after a second."""
    code = "import sys, app, geoseg.page.unread as u; u.ANSWER_SECONDS = 1; app.main(sys.argv[1:])"
    with running(arguments, [sys.executable, "-c", code, *EXACT]) as server:
        yield server


def start(url: str, way: str) -> str:
    body = {"data": []} if way == "call" else {}
    return post(url, f"{API}/{way}/models", body).json["event_id"]


@pytest.mark.parametrize("way", ["call", "call/v2"])
def test_an_answer_is_kept_for_a_while(server, way):
    event = start(server.url, way)
    time.sleep(1.5)
    said = send(server.url, f"{API}/{way}/models/{event}").text
    assert "event: complete" in said
    assert "402-unet" in said


@pytest.mark.parametrize("way", ["call", "call/v2"])
def test_an_answer_that_nobody_fetches_is_dropped(impatient, way):
    event = start(impatient.url, way)
    time.sleep(1.5)
    reply = send(impatient.url, f"{API}/{way}/models/{event}")
    assert reply.status == 404
    assert "not in time" in reply.text
    assert impatient.output() == []


def test_a_session_keeps_what_its_page_listens_to(impatient):
    """Two calls of one session; the stream of the first goes on until the second is answered."""
    config = send(impatient.url, "/config").json["dependencies"]
    number = next(f["id"] for f in config if f["api_name"] == "models")
    call = {"data": [], "fn_index": number, "session_hash": "a_session"}
    for _ in range(3):
        post(impatient.url, f"{API}/queue/join", call)
        said = send(impatient.url, f"{API}/queue/data?session_hash=a_session").text
        messages = [json.loads(line[5:]) for line in said.splitlines() if line.startswith("data")]
        assert "process_completed" in {message["msg"] for message in messages}
        time.sleep(0.4)

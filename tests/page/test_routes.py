"""Requests and jobs of the page run in turn, and end when their client disconnects."""

import asyncio
import http.client
import json
import queue
import threading
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette

from benchmarks.server import free_port, make_patch
from geoseg.page.browse import Entry, PatchSet
from geoseg.page.routes import Desk, _Lane
from tests.helpers.http_servers import running_app
from tests.helpers.requests import ask, job


class Gated:
    """A job that continues when the test allows it, and reports start and end."""

    def __init__(self) -> None:
        self.steps, self.said = threading.Semaphore(0), queue.Queue()
        self.more = {}

    def __call__(self, patches, asked) -> Iterator[dict]:
        self.said.put("start")
        try:
            for step in range(2):
                yield {"step": step, **self.more}
                assert self.steps.acquire(timeout=60)
        finally:
            self.said.put("end")


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def url(segmenter, gated) -> Iterator[str]:
    desk = Desk(segmenter, PatchSet("Some", (Entry("a", make_patch(1)), Entry("b", make_patch(2)))))
    desk._jobs["rank"] = (gated, desk._jobs["rank"][1])
    with running_app(Starlette(routes=desk.routes()), free_port()) as address:
        yield address
        for _ in range(100):
            gated.steps.release()


class Listener:
    """A client that reads the answers of a job, line by line, until it disconnects."""

    def __init__(self, url: str, name: str) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self.connection.request("POST", f"/page/{name}", "{}")
        self.reply = self.connection.getresponse()

    def line(self) -> dict:
        return json.loads(self.reply.readline())

    def leave(self) -> None:
        self.reply.close()
        self.connection.close()


def test_live_requests_do_not_wait_for_a_job_on_a_set(url, gated):
    first = Listener(url, "rank")
    assert first.line() == {"step": 0}
    *_, last = job(url, "probe", models=["300-vanilla"], probes=["shift"])
    assert last["done"] == last["of"] == 36
    assert ask(url, "look", models=[])["count"] == 2
    assert ask(url, "browse")["names"] == ["a", "b"]
    first.leave()


def test_jobs_on_sets_run_in_turn_and_report_waiting(url, gated):
    first, second = Listener(url, "rank"), Listener(url, "export")
    assert first.line()["step"] == 0
    assert second.line() == {"waiting": True}
    for _ in range(2):
        gated.steps.release()
    assert first.line()["step"] == 1
    assert second.line()["total"] == 6
    first.leave()
    second.leave()


def test_a_disconnected_client_ends_its_job(url, gated, caplog):
    first, gone, last = (Listener(url, "rank") for _ in range(3))
    assert first.line()["step"] == 0
    assert gone.line() == last.line() == {"waiting": True}
    gone.leave()
    first.leave()
    with pytest.raises(queue.Empty):  # a step that runs is not interrupted
        assert [gated.said.get(timeout=1) for _ in range(2)] == ["start"]
    gated.steps.release()
    assert last.line()["step"] == 0
    assert [gated.said.get(timeout=60) for _ in range(2)] == ["end", "start"]
    last.leave()
    assert not caplog.records


def test_a_slow_reader_does_not_block_other_jobs(url, gated):
    gated.more = {"much": "x" * 2**25}
    slow = Listener(url, "rank")  # reads nothing
    for _ in range(2):
        gated.steps.release()
    *_, last = job(url, "export")
    assert "zip" in last
    slow.leave()


def test_a_failed_job_reports_the_reason(url, gated, caplog):
    gated.steps.acquire = None
    *_, last = job(url, "rank")
    assert last["error"] == "failed"
    assert "not callable" in last["reason"]
    assert "a job failed" in caplog.text


def test_many_requests_of_one_client_do_not_delay_another():
    """After ten requests of one client, that of another is answered second."""
    lane, order = _Lane(), []

    async def look(who: str) -> None:
        async with lane.turn(who):
            order.append(who)
            await asyncio.sleep(0.001)

    async def all_at_once() -> None:
        await asyncio.gather(*(look("many") for _ in range(10)), look("one"))

    asyncio.run(all_at_once())
    assert order.index("one") <= 1
    assert len(order) == 11

"""The HTTP routes that the page's scripts call.

`look` and `browse` give one answer each, `files` takes a user's own patches, and a job answers line
by line until it is done or nobody listens any more. Gradio's events would do the same, but take as
long as two models for it: benchmarks/page.py has what is left.

A question is a JSON object, which the gate has looked at. Its `user` is the key under which that
user's uploads are kept.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from geoseg.measurements import DEFAULT, MeasurementOptions
from geoseg.page import zerogpu
from geoseg.page.batches import Work
from geoseg.page.browse import Patches, PatchSet
from geoseg.page.callers import client
from geoseg.page.catalogue import catalogue
from geoseg.page.exchange import sentence
from geoseg.page.export import export
from geoseg.page.live import answer, first_line
from geoseg.page.pipes import Pipes, stamped
from geoseg.page.probe import probe
from geoseg.page.ranking import Ranking
from geoseg.page.request import Request, fields, source
from geoseg.page.uploads import read_form
from geoseg.page.users import Users, read_uploads
from geoseg.patches import PatchError
from geoseg.segmenter import Segmenter

PIECE = 2**16  # characters that are sent at once
KEY = re.compile(r"[\w-]{16,64}")  # of a user; the page makes 32 characters at random

T = TypeVar("T")
Messages = Generator[dict[str, Any], None, None]
Job = Callable[[Patches, dict[str, Any]], Iterator[dict[str, Any]]]
_log = logging.getLogger("geoseg.page")


class _Lane:
    """A fair lock: one holder at a time, one waiter per client."""

    def __init__(self) -> None:
        self._line = asyncio.Lock()
        self._own: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def busy(self) -> bool:
        """Whether the lock is held."""
        return self._line.locked()

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Wait for the lock; only one request of each client is in the common queue."""
        own = self._own.setdefault(who, asyncio.Lock())
        async with own, self._line:
            yield


class Desk:
    """The handlers of the page's requests about `patches`, which everybody sees, and uploads.

    Live answers have a thread of their own, which keeps what their work needs. Jobs compute in
    short batches, and between them it is the turn of whoever waits. A probe of one patch does not
    wait for a whole set.
    """

    def __init__(
        self, segmenter: Segmenter, patches: PatchSet, options: MeasurementOptions = DEFAULT
    ) -> None:
        self.segmenter, self.patches, self.users = segmenter, patches, Users()
        self._options = options  # of what uploads measure
        self._work = Work(segmenter, threading.Lock())
        self._live, self._looking = ThreadPoolExecutor(1, "live"), _Lane()
        self._reading = asyncio.Lock()
        self._threads = CapacityLimiter(3)  # a set's, a probe's, and one for lists and files
        sets, probes = _Lane(), _Lane()
        self._jobs: dict[str, tuple[Job, _Lane]] = {
            "rank": (Ranking(self._work).answers, sets),
            "export": (partial(export, self._work), sets),
            "probe": (partial(probe, self._work), probes),
        }

    def routes(self) -> list[Route]:
        """Return the routes for Gradio's own application."""
        handlers: dict[str, Callable[..., Any]] = {
            "look": self.look,
            "browse": self.browse,
            "files": self.files,
            **{name: partial(self.job, *how) for name, how in self._jobs.items()},
        }
        return [
            Route(f"/page/{name}", handler, methods=["POST"], name=name)
            for name, handler in handlers.items()
        ]

    async def look(self, http: HttpRequest) -> Response:
        """Return one patch and its segmentation: `live.answer`."""
        asked, found = await self._question(http)
        request = Request.parse(asked, self.segmenter.names)

        def see() -> str:
            with self._work.turn:
                return _written(answer(self.segmenter, found, request))

        async with self._looking.turn(client(http.scope)):
            if await http.is_disconnected():  # nobody waits for it any more
                return Response(status_code=499)
            loop = asyncio.get_running_loop()
            return _json(await loop.run_in_executor(self._live, see))

    async def browse(self, http: HttpRequest) -> Response:
        """Return the contents of a set: `catalogue`."""
        asked, found = await self._question(http)
        return _json(_written(await self._aside(lambda: catalogue(found, asked))))

    async def files(self, http: HttpRequest) -> Response:
        """Keep the form's `files` for the `user`; return their number and what was rejected.

        A form without any makes the server forget what it has of that user.
        """
        try:
            async with read_form(http) as form:
                key = form.get("user")
                if not isinstance(key, str) or not KEY.fullmatch(key):
                    return sentence("user must be 16 to 64 letters, digits, _ or -.", 422)
                sent = [f for f in form.getlist("files") if isinstance(f, UploadFile)]
                named = [(f.filename or "", await f.read()) for f in sent]
        except PatchError as error:
            return sentence(str(error), 400)
        if not named:
            self.users.forget(key)
        who = client(http.scope)
        async with self._reading:
            room = self.users.room(key, who)
            found = await self._aside(lambda: read_uploads(named, room, self._options))
            if found.entries:
                self.users.keep(key, who, found)
        rejected = [reject._asdict() for reject in found.rejected]
        return JSONResponse({"accepted": len(found), "rejected": rejected})

    async def job(self, work: Job, lane: _Lane, http: HttpRequest) -> Response:
        """Stream a job's answers, a line of JSON each; a client that disconnects ends it."""
        asked, found = await self._question(http)
        zerogpu.attend(http)
        lines = (message for message in work(found, asked))  # which can be closed
        told = self._deliver(lane, client(http.scope), lines)
        return StreamingResponse(told, media_type="application/x-ndjson")

    async def _deliver(self, lane: _Lane, who: str, messages: Messages) -> AsyncIterator[str]:
        """Send the lines of a job in chunks. A slow reader does not block others."""
        told: asyncio.Queue[str] = asyncio.Queue()
        job = asyncio.create_task(self._run(lane, who, messages, told))
        try:
            while line := await told.get():
                for start in range(0, len(line), PIECE):
                    yield line[start : start + PIECE]
        finally:
            job.cancel()

    async def _run(
        self, lane: _Lane, who: str, messages: Messages, told: asyncio.Queue[str]
    ) -> None:
        """Queue the lines of a job while it holds the lock, and an empty one at the end."""
        if lane.busy:
            told.put_nowait(_written({"waiting": True}) + "\n")
        try:
            async with lane.turn(who):
                with closing(messages):
                    while message := await self._aside(lambda: next(messages, None)):
                        told.put_nowait(_written(message) + "\n")
        except Exception as error:  # a mistake of ours: the page must not wait for ever
            _log.exception("a job failed")
            told.put_nowait(_written({"error": "failed", "reason": first_line(error)}) + "\n")
        finally:
            told.put_nowait("")

    async def _question(self, http: HttpRequest) -> tuple[dict[str, Any], Patches]:
        """Return the message and its patches; raise 410 if the uploads are gone."""
        asked = fields(json.loads(await http.body()))
        sets: dict[str, Callable[[], Patches | None]] = {
            "start": lambda: self.patches,
            "uploads": lambda: self.users.uploads(asked.get("user")),
            "synthetic": lambda: Pipes.parse(asked),
        }
        found = sets[source(asked)]()
        if found is None:
            raise HTTPException(410, "The files of this user are not here; upload them again.")
        return asked, stamped(found, asked)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Run a function in one of few threads: each keeps the memory that its models needed.

        A cancelled caller waits until the thread is done.
        """
        step = asyncio.ensure_future(run_sync(work, limiter=self._threads))
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            await asyncio.gather(step, return_exceptions=True)
            raise


def _written(message: dict[str, Any]) -> str:
    return json.dumps(message, allow_nan=False)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")

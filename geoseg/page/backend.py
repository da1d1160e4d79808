"""What the viewer and the tabs ask of the server: sets of patches, live answers, uploads."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import gradio as gr

from geoseg.measurements import DEFAULT, MeasurementOptions
from geoseg.page.batches import Work
from geoseg.page.browse import Patches, PatchSet
from geoseg.page.catalogue import catalogue
from geoseg.page.live import answer
from geoseg.page.request import Request, fields, source
from geoseg.page.set_scores import SetScorer
from geoseg.page.synthetic_patches import SyntheticPatches, with_letters
from geoseg.page.users import Users, read_uploads
from geoseg.segmenter import Segmenter

KEY = re.compile(r"[\w-]{16,64}")  # of a user; the viewer makes 32 characters at random
GONE = "Your files are not on the server any more; upload them again."


class GoneError(Exception):
    """The uploads that a message asks for are not on the server any more."""


class Backend:
    """The models and the sets of patches, for all users of the page.

    Attributes:
        segmenter: has the models.
        work: runs them on many patches, batch by batch, between live answers.
        scorer: scores whole sets.
    """

    def __init__(
        self, segmenter: Segmenter, patches: PatchSet, options: MeasurementOptions = DEFAULT
    ) -> None:
        self.segmenter, self.work = segmenter, Work(segmenter, threading.Lock())
        self.scorer, self.patches = SetScorer(self.work), patches
        self._options = options  # of what uploads measure
        self._users, self._users_lock = Users(), threading.Lock()
        # One thread each: it keeps the memory that its models need.
        self._live, self._lists = ThreadPoolExecutor(1, "live"), ThreadPoolExecutor(1, "lists")

    def find_set(self, message: Any) -> Patches:
        """Return the set that a message of the viewer asks for; GoneError without its uploads."""
        asked = fields(message)
        kind = source(asked)
        if kind == "uploads":
            with self._users_lock:
                found = self._users.uploads(asked.get("user"))
            if found is None:
                raise GoneError
            return with_letters(found, asked)
        synthetic = kind == "synthetic"
        return with_letters(SyntheticPatches.parse(asked) if synthetic else self.patches, asked)

    async def look(self, message: Any) -> dict[str, Any]:
        """Return one patch and what the models find in it: `live.answer`."""
        request = Request.parse(message, self.segmenter.names)

        def work(patches: Patches) -> dict[str, Any]:
            with self.work.turn:
                return answer(self.segmenter, patches, request)

        return await self._answer(self._live, message, work)

    async def browse(self, message: Any) -> dict[str, Any]:
        """Return the contents of a set: `catalogue.catalogue`."""
        return await self._answer(self._lists, message, partial(catalogue, raw=message))

    async def _answer(
        self, pool: ThreadPoolExecutor, message: Any, work: Callable[[Patches], dict[str, Any]]
    ) -> dict[str, Any]:
        try:
            patches = self.find_set(message)
        except GoneError:
            return {"error": GONE, "gone": True}
        return await asyncio.get_running_loop().run_in_executor(pool, work, patches)

    def keep_uploads(self, files: Sequence[tuple[str, bytes]], key: Any, client: str) -> PatchSet:
        """Keep the files (name, content) of the user `key` at an address; return what was read.

        A set without a patch is not kept. gr.Error if the key is none.
        """
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise gr.Error("The page sent no key of its user; reload it.", print_exception=False)
        with self._users_lock:
            room = self._users.room(key, client)
        found = read_uploads(files, room, self._options)
        if found.entries:
            with self._users_lock:
                self._users.keep(key, client, found)
        return found

    def forget_uploads(self, key: Any) -> None:
        """Forget the files of a user."""
        if isinstance(key, str):
            with self._users_lock:
                self._users.forget(key)

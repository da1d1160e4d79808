"""How a run is asked to stop, and stops in good order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from rich.console import Console


class Interrupted(Exception):
    """A signal asked the run to stop, and it stopped in good order."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopRequest:
    """Notes a first SIGINT or SIGTERM in `number` and tells `also`; a second one leaves at once."""

    number = 0
    also: Callable[[int], object] = staticmethod(lambda number: None)

    def __enter__(self) -> StopRequest:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {n: signal.signal(n, self._note) for n in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted where a signal has come."""
        if self.number:
            raise Interrupted(self.number)

    def _note(self, number: int, _: object) -> None:
        again, self.number = self.number, number
        self.also(number)
        if again:  # nothing is cleaned up: whatever a killed run leaves, resuming can take
            Console().show_cursor()
            os._exit(128 + number)

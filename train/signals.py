"""How a run is asked to stop, and stops in good order."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from rich.console import Console

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO = 0.3  # seconds: programs such as `timeout` send a signal twice and mean it once


class Interrupted(Exception):
    """A signal asked the run to stop, and it stopped in good order."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopRequest:
    """Notes a first SIGINT or SIGTERM in `number` and tells `also`; a second one leaves at once.

    Python runs a handler between two of its own operations only, and one of torch's may take
    seconds, in which several signals become one. So a thread counts them, through a socket.
    """

    number = 0
    also: Callable[[int], object] = staticmethod(lambda number: None)

    def __enter__(self) -> StopRequest:
        here, self._there = socket.socketpair()
        self._there.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._there.fileno())
        Thread(target=self._count, args=(here,), daemon=True).start()
        self._before = {n: signal.signal(n, self._note) for n in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._there.close()  # ends the thread

    def _note(self, number: int, _: object) -> None:
        if not self.number:
            self.number = number
            self.also(number)

    def _count(self, here: socket.socket) -> None:
        last = None
        with here:
            while byte := here.recv(1):
                number, now = byte[0], time.monotonic()
                if number not in SIGNALS or (last and now - last < _ECHO):
                    continue
                if last:  # nothing is cleaned up: resuming can take whatever is left
                    self.also(number)
                    Console().show_cursor()
                    os._exit(128 + number)
                last = now
                name = signal.Signals(number).name
                with suppress(OSError):  # nobody may be there to read it
                    print(f"{name}: finishing this step and saving; another one leaves at once.")
                    sys.stdout.flush()

"""Signal handling: a first SIGINT or SIGTERM stops a run after its step, a second one exits."""

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
_REPEAT_SECONDS = 0.3  # programs such as `timeout` send one request as two signals


class Interrupted(Exception):
    """A signal stopped the run, and everything is saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class StopRequest:
    """A context that handles SIGINT and SIGTERM.

    The first signal sets `signal_number` and calls `on_signal`; a second one calls `on_signal` and
    exits the process at once.

    Python runs a signal handler only between two bytecode operations. One operation of torch can
    take seconds, and several signals within it become one. So a thread counts the signals, which
    arrive through a socket.
    """

    signal_number = 0
    on_signal: Callable[[int], object] = staticmethod(lambda signal_number: None)

    def __enter__(self) -> StopRequest:
        receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._old_wakeup = signal.set_wakeup_fd(self._sender.fileno())
        Thread(target=self._count_signals, args=(receiver,), daemon=True).start()
        self._old_handlers = {n: signal.signal(n, self._handle) for n in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._sender.close()  # ends the thread

    def _handle(self, number: int, _: object) -> None:
        if not self.signal_number:
            self.signal_number = number
            self.on_signal(number)

    def _count_signals(self, receiver: socket.socket) -> None:
        last = None
        with receiver:
            while byte := receiver.recv(1):
                number, now = byte[0], time.monotonic()
                if number not in SIGNALS or (last and now - last < _REPEAT_SECONDS):
                    continue
                if last:  # no cleanup: a run resumes from any state of its folder
                    self.on_signal(number)
                    Console().show_cursor()
                    os._exit(128 + number)
                last = now
                name = signal.Signals(number).name
                with suppress(OSError):  # stdout may be closed
                    print(f"{name}: finishing this step and saving; a second signal exits at once.")
                    sys.stdout.flush()

"""Several experiments on several GPUs: a process for each, one at a time on each GPU."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from rich.console import Console
from rich.text import Text

from train.signals import StopRequest

_LONGEST_LINE = 1 << 24


def list_gpus() -> list[str]:
    """The GPUs of this machine, as --device names them."""
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def run_fleet(
    experiments: Sequence[str],
    devices: Sequence[str],
    arguments: Sequence[str],
    stop: StopRequest,
    console: Console,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Train every experiment in a process of its own, one at a time on each device.

    Args:
        experiments: numbers, as -e takes them; each line a process prints begins with its own.
        devices: as --device takes them.
        arguments: of the command line; -e and --device in it are overruled.
        stop: where a signal has come, those that run get it too, and no further one starts.
        environment: variables for the processes, beside this one's own.

    Gives the exit code: of the signal, or the first that is not 0 by the order of `experiments`.
    """
    codes = asyncio.run(
        _run_all(
            experiments, devices, arguments, stop, console, {**os.environ, **(environment or {})}
        )
    )
    return 128 + stop.number if stop.number else next((code for code in codes if code), 0)


async def _run_all(
    experiments: Sequence[str],
    devices: Sequence[str],
    arguments: Sequence[str],
    stop: StopRequest,
    console: Console,
    environment: Mapping[str, str],
) -> list[int]:
    free: asyncio.Queue[str] = asyncio.Queue()
    for device in devices:
        free.put_nowait(device)
    running: set[Process] = set()

    def tell(number: int) -> None:
        for process in running:
            with suppress(ProcessLookupError):  # it has just ended
                process.send_signal(number)

    async def train(experiment: str) -> int:
        device = await free.get()
        if stop.number:
            free.put_nowait(device)  # for those that wait behind this one
            return 0
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "train", *arguments),
            *("-e", experiment, "--device", device),  # of an option given twice the last counts
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LONGEST_LINE,
            env=environment,
            start_new_session=True,  # so that a signal comes from `tell`, and just once
        )
        running.add(process)
        if stop.number:
            process.send_signal(stop.number)
        assert process.stdout
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            console.print(Text.assemble((experiment, "dim"), f" {text}"), soft_wrap=True)
        code = await process.wait()
        running.discard(process)
        free.put_nowait(device)
        return code

    stop.also = tell
    return await asyncio.gather(*map(train, experiments))

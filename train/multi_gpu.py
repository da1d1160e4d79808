"""Several experiments on several GPUs: one process per experiment, one experiment per GPU."""

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

_MAX_LINE_BYTES = 1 << 24


def list_gpus() -> list[str]:
    """Return the GPUs of this machine, in the form that --device takes."""
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def train_on_gpus(
    experiments: Sequence[str],
    devices: Sequence[str],
    arguments: Sequence[str],
    stop: StopRequest,
    console: Console,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Train each experiment in its own process, one at a time on each device; return an exit code.

    Args:
        experiments: ids; every line that a process prints is prefixed with its id.
        devices: in the form that --device takes.
        arguments: of the command line; its -e and --device are overridden.
        stop: its signal is forwarded to the running processes, and no further process starts.
        environment: variables added to this process's environment.

    The exit code is 128 plus the signal, or the first nonzero one in the order of `experiments`.
    """
    variables = {**os.environ, **(environment or {})}
    codes = asyncio.run(_run_all(experiments, devices, arguments, stop, console, variables))
    if stop.signal_number:
        return 128 + stop.signal_number
    return next((code for code in codes if code), 0)


async def _run_all(
    experiments: Sequence[str],
    devices: Sequence[str],
    arguments: Sequence[str],
    stop: StopRequest,
    console: Console,
    environment: Mapping[str, str],
) -> list[int]:
    free_devices: asyncio.Queue[str] = asyncio.Queue()
    for device in devices:
        free_devices.put_nowait(device)
    running: set[Process] = set()

    def forward_signal(number: int) -> None:
        for process in running:
            with suppress(ProcessLookupError):  # it has just ended
                process.send_signal(number)

    async def train(experiment: str) -> int:
        device = await free_devices.get()
        if stop.signal_number:
            free_devices.put_nowait(device)  # so that the waiting experiments return too
            return 0
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "train", *arguments),
            *("-e", experiment, "--device", device),  # argparse takes the last of repeated options
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_MAX_LINE_BYTES,
            env=environment,
            start_new_session=True,  # so that `forward_signal` sends each signal exactly once
        )
        running.add(process)
        if stop.signal_number:
            process.send_signal(stop.signal_number)
        assert process.stdout
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            console.print(Text.assemble((experiment, "dim"), f" {text}"), soft_wrap=True)
        code = await process.wait()
        running.discard(process)
        free_devices.put_nowait(device)
        return code

    stop.on_signal = forward_signal
    return await asyncio.gather(*map(train, experiments))

"""Several experiments on several GPUs: one process per experiment, one experiment per GPU."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from train.signals import StopRequest

_MAX_LINE = 1 << 24  # bytes; asyncio refuses longer lines, such as a refreshed progress bar


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
    waiting, codes = list(experiments), dict.fromkeys(experiments, 0)
    processes: list[Process] = []

    def forward_signal(number: int) -> None:
        for process in processes:
            with suppress(ProcessLookupError):  # it has ended
                process.send_signal(number)

    async def use_device(device: str) -> None:
        while waiting and not stop.signal_number:
            experiment = waiting.pop(0)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "train", *arguments),
                *("-e", experiment, "--device", device),  # argparse takes the last of repetitions
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                limit=_MAX_LINE,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # so that `forward_signal` alone sends it signals
            )
            processes.append(process)
            if stop.signal_number:
                process.send_signal(stop.signal_number)
            assert process.stdout
            async for line in process.stdout:
                text = line.decode(errors="replace").rstrip()
                console.print(Text.assemble((experiment, "dim"), f" {text}"), soft_wrap=True)
            codes[experiment] = await process.wait()

    async def use_devices() -> None:
        await asyncio.gather(*map(use_device, devices))

    stop.on_signal = forward_signal
    asyncio.run(use_devices())
    return 128 + stop.signal_number if stop.signal_number else next(filter(None, codes.values()), 0)

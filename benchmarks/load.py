"""How the page bears many users: `python benchmarks/load.py` writes load.json and README's table.

Runs the real app.py on this machine and drags sliders in it as browsers do: every user has one
request under way, and when its answer is there sends where the slider is by then. First all users
at once to warm up, then 1, 8, 32 and 64 of them, ten minutes in all.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import os
import platform
import re
import secrets
import socket
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from rich.console import Console

from train.markdown_tables import replace_table

LEVELS = (1, 8, 32, 64)
SECONDS = 150.0
WARM_UP_SECONDS = 20.0
FRAME = 1 / 60  # a browser reports a moving slider once a frame
SWEEP = 4.0  # seconds in which a user drags from one end to the other
API = "/gradio_api"
ROOT = Path(__file__).parent.parent
OUTPUT = Path(__file__).with_suffix(".json")
README = ROOT / "README.md"


class User:
    """One browser, that asks for live answers by the page's own route."""

    def __init__(self, client: httpx.AsyncClient, models: list[str]) -> None:
        self.client, self.models = client, models
        self.born = time.monotonic() - secrets.randbelow(1000) / 1000 * SWEEP
        self.seconds: list[float] = []
        self.errors = 0

    async def drag(self, until: float) -> None:
        """Drag to and fro until that time, one request after the other."""
        while time.monotonic() < until:
            start = time.monotonic()
            try:
                good = await self.ask(start - self.born)
            except (httpx.HTTPError, ValueError):
                good = False
            taken = time.monotonic() - start
            if good:
                self.seconds.append(taken)
            else:
                self.errors += 1
            await asyncio.sleep(max(FRAME - taken, 0 if good else 1))

    async def ask(self, age: float) -> bool:
        """Send where the sliders are; whether the picture came."""
        place = abs(age / SWEEP % 2 - 1)
        wanted = {
            "models": self.models,
            "index": int(age / SWEEP),
            "shift": round(35 * place),
            "noise": 0.005 * (1 - place),
            "seed": 0,
        }
        reply = await self.client.post("/page/look", json=wanted)
        return reply.is_success and len(reply.json()["models"]) == len(self.models)


def track_progress(config: dict[str, Any]) -> list[str]:
    """The models that the page shows at first, which its scripts are told."""
    scripts = (str(c["props"].get("js_on_load")) for c in config["components"])
    return next(json.loads(m[1]) for s in scripts if (m := re.search(r'"shown": (\[.*?\])', s)))


async def crowd(url: str, users: int, seconds: float) -> dict[str, Any]:
    """So many users for so long; what it was like for them, times in milliseconds."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        models = track_progress((await client.get("/config")).json())
        everybody = [User(client, models) for _ in range(users)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(user.drag(until) for user in everybody))
    taken = [1000 * second for user in everybody for second in user.seconds]
    cuts = statistics.quantiles(taken, n=100, method="inclusive") if len(taken) > 1 else [0.0] * 99
    return {
        "users": users,
        "requests": len(taken),
        "errors": sum(user.errors for user in everybody),
        "per_second": round(len(taken) / seconds, 1),
        **{f"p{n}": round(cuts[n - 1], 1) for n in (50, 95, 99)},
    }


@asynccontextmanager
async def running(arguments: Sequence[str]) -> AsyncIterator[tuple[str, int, Path]]:
    """The real app.py on a free port; gives its address, process and temporary folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ROOT / "app.py"), "--preload", "--port", str(port), *arguments]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=PIPE, env={**os.environ, "TMPDIR": folder}
        )
        assert process.stdout
        try:
            while b"geoseg is at" not in (line := await process.stdout.readline()):
                if not line:
                    raise SystemExit("app.py did not start")
            yield f"http://127.0.0.1:{port}", process.pid, Path(folder)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()


def resident(pid: int) -> float:
    """MB of memory that a process has, by Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return round(int(found[1]) / 1000, 1)


def stored(folder: Path) -> int:
    """Bytes in a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def measure(
    arguments: Sequence[str], levels: Sequence[int], seconds: float
) -> dict[str, Any]:
    """Run the levels in turn against a server of our own."""
    async with running(arguments) as (url, pid, folder):
        before = stored(folder)
        await crowd(url, max(levels), min(seconds, WARM_UP_SECONDS))
        warm = resident(pid)
        rows = [await crowd(url, users, seconds) for users in levels]
        end = resident(pid)
        return {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "seconds_each": seconds,
            "levels": rows,
            "memory_mb": {"warm": warm, "end": end, "growth": round(end / warm - 1, 4)},
            "stored_bytes": {"before": before, "after": stored(folder)},
        }


def loopback(url: str) -> str:
    """The address itself; ValueError where it is not on this machine."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return url.rstrip("/")
    raise ValueError(f"{url!r} is not on this machine; load is put on no other")


def table(results: dict[str, Any]) -> str:
    """README's rows, a level each, and a line on memory."""
    memory, files = results["memory_mb"], results["stored_bytes"]
    lines = [
        f"| users, {results['machine']} | pictures | errors | a second | median | 95% | 99% |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results["levels"]:
        times = " | ".join(f"{row[name]:,.0f} ms" for name in ("p50", "p95", "p99"))
        lines.append(
            f"| {row['users']} | {row['requests']:,} | {row['errors']} | "
            f"{row['per_second']:,.0f} | {times} |"
        )
    lines.append(
        f"\nMemory: {memory['warm']:,.0f} MB when warm, {memory['end']:,.0f} MB at the end "
        f"({memory['growth']:+.1%}). Files: {files['before']:,} bytes before, "
        f"{files['after']:,} after."
    )
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each level")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, metavar="USERS")
    parser.add_argument("--url", type=loopback, help="a running page: its times only, not written")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args(given)
    console = Console()
    if options.url:
        for users in options.levels:
            console.print_json(data=asyncio.run(crowd(options.url, users, options.seconds)))
        return
    device = ["--device", options.device]
    results = asyncio.run(measure(device, options.levels, options.seconds))
    console.print_json(data=results)
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(README, "load", table(results))


if __name__ == "__main__":
    main()

"""Measure how many users the page serves at once: `python benchmarks/load.py`.

Run the real app.py on this machine and drag its sliders as browsers do: every user has one request
in flight, and after its answer sends the slider's position at that time. All users run at once to
warm up; then 1, 8, 32 and 64 users run for ten minutes in all. Write benchmarks/load.json and the
table in docs/performance.md.
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
SWEEP = 4.0  # seconds in which a user drags a slider from one end to the other
API = "/gradio_api"
ROOT = Path(__file__).parent.parent
OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "performance.md"


class User:
    """One browser that requests live pictures as the viewer does, by a function of the server.

    `viewer` is the number of the component.
    """

    def __init__(self, client: httpx.AsyncClient, viewer: int, models: list[str]) -> None:
        self.client, self.models = client, models
        self.call = {
            "component_id": viewer,
            "fn_name": "look",
            "session_hash": secrets.token_hex(6),
        }
        self.start = time.monotonic() - secrets.randbelow(1000) / 1000 * SWEEP
        self.seconds: list[float] = []
        self.errors = 0

    async def drag(self, until: float) -> None:
        """Drag back and forth until the time `until`, one request after the other."""
        while time.monotonic() < until:
            sent = time.monotonic()
            try:
                succeeded = await self.request_picture(sent - self.start)
            except (httpx.HTTPError, ValueError):
                succeeded = False
            elapsed = time.monotonic() - sent
            if succeeded:
                self.seconds.append(elapsed)
            else:
                self.errors += 1
            await asyncio.sleep(max(FRAME - elapsed, 0 if succeeded else 1))

    async def request_picture(self, age: float) -> bool:
        """Send the sliders' positions after `age` seconds; return whether a picture came."""
        position = abs(age / SWEEP % 2 - 1)
        request = {
            "models": self.models,
            "index": int(age / SWEEP),
            "shift": round(35 * position),
            "noise": 0.005 * (1 - position),
            "seed": 0,
        }
        call = {"data": request, **self.call}
        reply = await self.client.post(f"{API}/component_server/", json=call)
        return reply.is_success and len(reply.json()["models"]) == len(self.models)


def find_viewer(config: dict[str, Any]) -> tuple[int, list[str]]:
    """Return the number of the viewer and the models that it shows first."""
    viewer = next(c for c in config["components"] if c["props"].get("elem_id") == "viewer")
    shown = re.search(r'"shown": (\[.*?\])', viewer["props"]["js_on_load"])
    assert shown
    return viewer["id"], json.loads(shown[1])


async def simulate_users(url: str, users: int, seconds: float) -> dict[str, Any]:
    """Run `users` users for `seconds`; return counts, and times in milliseconds."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        viewer, models = find_viewer((await client.get("/config")).json())
        all_users = [User(client, viewer, models) for _ in range(users)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(user.drag(until) for user in all_users))
    milliseconds = [1000 * second for user in all_users for second in user.seconds]
    percentiles = [0.0] * 99
    if len(milliseconds) > 1:
        percentiles = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {
        "users": users,
        "requests": len(milliseconds),
        "errors": sum(user.errors for user in all_users),
        "per_second": round(len(milliseconds) / seconds, 1),
        **{f"p{n}": round(percentiles[n - 1], 1) for n in (50, 95, 99)},
    }


@asynccontextmanager
async def start_app(arguments: Sequence[str]) -> AsyncIterator[tuple[str, int, Path]]:
    """Run app.py on a free port; yield its address, process id and temporary folder."""
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


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process on Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match
    return round(int(match[1]) / 1000, 1)


def stored_bytes(folder: Path) -> int:
    """Return the total size of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def measure(
    arguments: Sequence[str], levels: Sequence[int], seconds: float
) -> dict[str, Any]:
    """Start app.py and run each level of users in turn."""
    async with start_app(arguments) as (url, pid, folder):
        before = stored_bytes(folder)
        await simulate_users(url, max(levels), min(seconds, WARM_UP_SECONDS))
        warm = resident_megabytes(pid)
        rows = [await simulate_users(url, users, seconds) for users in levels]
        end = resident_megabytes(pid)
        return {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "seconds_each": seconds,
            "levels": rows,
            "memory_mb": {"warm": warm, "end": end, "growth": round(end / warm - 1, 4)},
            "stored_bytes": {"before": before, "after": stored_bytes(folder)},
        }


def require_local_url(url: str) -> str:
    """Return `url` without a final slash; raise ValueError if it is not on this machine."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return url.rstrip("/")
    raise ValueError(f"{url!r} is not on this machine; this benchmark loads no other machine")


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table, a row for each level, and a line on memory."""
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="duration of each level (default: %(default)g)",
    )
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, metavar="USERS")
    parser.add_argument(
        "--url", type=require_local_url, help="measure a running page on this machine; print only"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args(argv)
    console = Console()
    if options.url:
        for users in options.levels:
            console.print_json(
                data=asyncio.run(simulate_users(options.url, users, options.seconds))
            )
        return
    device = ["--device", options.device]
    results = asyncio.run(measure(device, options.levels, options.seconds))
    console.print_json(data=results)
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(DOCUMENT, "load", table(results))


if __name__ == "__main__":
    main()

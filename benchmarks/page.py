"""Measure how soon the page answers: `python -m benchmarks.page`.

Drive the real page in Chromium with the packaged samples and the shipped models. Write
benchmarks/page.json and the table in docs/performance.md. A time runs from the event in the browser
(a key press, a slider input) to the end of the frame with the answer. "browse" presses the right
arrow twice a second, when the page has fetched the next patch in advance; "jump" goes to a patch by
its number; "slider" moves shift and noise to new values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Page
from rich.console import Console
from rich.progress import track

from benchmarks.browser import Screen, chromium, screens
from benchmarks.server import serve
from train.markdown_tables import replace_table

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "performance.md"
# Models, and the targets in milliseconds: median and 95th percentile.
MODEL_SETS: dict[str, tuple[list[str], tuple[int, int] | None]] = {
    "one: U-Net": (["402-unet"], None),
    "three small ones": (["300-vanilla", "402-unet", "1004-flexible-unet-8bit"], (35, 60)),
    "the report's three families": (["200-stacked", "300-vanilla", "402-unet"], (60, 120)),
    "five": (
        ["200-stacked", "300-vanilla", "402-unet", "1004-flexible-unet", "3000-ring-unet"],
        None,
    ),
}
ACTIONS = ("browse", "jump", "slider")
WAIT_MS = {"browse": 500, "jump": 150, "slider": 150}

# Resolves with the milliseconds from the event to the end of the frame that shows its answer.
MEASURE_ACTION = """([act, value]) => new Promise(resolve => {
    const root = document.querySelector('.gs');
    let began = 0;
    const begin = event => { began = event.timeStamp; };
    document.addEventListener('keydown', begin, { capture: true, once: true });
    document.addEventListener('input', begin, { capture: true, once: true });
    const observer = new MutationObserver(() => {
        if (!geoseg.settled) return;
        observer.disconnect();
        document.removeEventListener('keydown', begin, true);
        document.removeEventListener('input', begin, true);
        requestAnimationFrame(() => {
            const channel = new MessageChannel(); // its message arrives after the frame
            channel.port1.onmessage = () => resolve(performance.now() - began);
            channel.port2.postMessage(0);
        });
    });
    observer.observe(root, { attributes: true, attributeFilter: ['data-ticket'] });
    if (act === 'browse') {
        root.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
    } else if (act === 'jump') {
        const place = root.querySelector('.gs-position');
        place.value = value;
        place.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
        place.dispatchEvent(new Event('change', { bubbles: true }));
    } else {
        for (const [name, level] of Object.entries(value)) geoseg.state[name] = level;
        const shift = root.querySelector('[name=shift]');
        shift.value = value.shift;
        shift.dispatchEvent(new Event('input', { bubbles: true }));
    }
})"""


def measure(page: Page, action: str, times: int, generator: np.random.Generator) -> dict[str, Any]:
    """Return percentiles of `times` actions, and the server's share, in milliseconds."""
    milliseconds, server = [], []
    page.evaluate("geoseg.looks.forget()")
    count = page.evaluate("geoseg.scene.count")
    for step in track(range(times), description=action, transient=True):
        value: Any = None
        if action == "jump":
            here = page.evaluate("geoseg.state.index")
            value = 1 + (here + int(generator.integers(2, count - 2))) % count
            page.evaluate("geoseg.looks.forget()")
        if action == "slider":
            value = {"shift": 1 + step % 35, "noise": 0.001 + 1e-6 * step, "seed": step}
        milliseconds.append(page.evaluate(MEASURE_ACTION, [action, value]))
        server.append(page.evaluate("geoseg.scene.stages"))
        page.wait_for_timeout(WAIT_MS[action] + int(generator.integers(50)))
    quantiles = np.percentile(milliseconds, [50, 95, 99])
    return {
        **{f"p{k}": round(float(q), 1) for k, q in zip((50, 95, 99), quantiles, strict=True)},
        "server": {k: round(statistics.median(s[k] for s in server), 1) for k in server[0]},
    }


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table: a row for each set of models."""
    lines = [
        "| models | next patch: p50 / p95 / p99 | any patch | slider | server: patch + models + "
        "message | target p50 / p95 |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results["loads"].items():
        cells = [" / ".join(f"{row[a][f'p{k}']:.0f}" for k in (50, 95, 99)) for a in ACTIONS]
        server = " + ".join(f"{ms:.1f}" for ms in row["slider"]["server"].values())
        target = " / ".join(map(str, MODEL_SETS[name][1] or ()))
        lines.append(f"| {name} | {' | '.join(cells)} | {server} | {target} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="of each action (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    generator, loads = np.random.default_rng(0), {}
    threads = str(os.cpu_count())
    with chromium() as browser:
        for name, (models, _) in MODEL_SETS.items():
            with (
                serve(
                    ["-e", *models, "--preload", "--precision", "fast"], OMP_NUM_THREADS=threads
                ) as url,
                screens(browser, url) as open_page,
            ):
                screen: Screen = open_page()
                measure(screen.page, "slider", 10, generator)  # warm up
                loads[name] = {
                    action: measure(screen.page, action, arguments.times, generator)
                    for action in ACTIONS
                }
            Console().print(name, loads[name])
    results = {
        "loads": loads,
        "times": arguments.times,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    if not arguments.keep:
        OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
        replace_table(DOCUMENT, "page", table(results))


if __name__ == "__main__":
    main()

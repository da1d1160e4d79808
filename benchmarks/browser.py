"""One user's page in Chromium, and what a test asks of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Through a copy, as Chromium warns where a canvas on the screen is read more than once.
READ = """shown => {
    const copy = new OffscreenCanvas(shown.width, shown.height);
    const context = copy.getContext('2d', { willReadFrequently: true });
    context.drawImage(shown, 0, 0);
    return Array.from(context.getImageData(0, 0, shown.width, shown.height).data);
}"""


class Screen:
    """A page that is open, with every fault that its browser reported."""

    def __init__(self, page, url: str) -> None:
        self.page, self.faults = page, []
        page.on("console", lambda m: m.type in ("error", "warning") and self._report(m.text))
        page.on("pageerror", lambda e: self.faults.append(str(e)))
        page.on("request", lambda r: self._check(r.url, url.split("#")[0]))
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_selector(".gs")
        self.settle()

    def _report(self, text: str) -> None:
        if "status of 410" not in text:  # own files that are gone: the page says so itself
            self.faults.append(text)

    def _check(self, address: str, url: str) -> None:
        if not address.startswith((url, "data:", "blob:")):
            self.faults.append(f"a request to {address}")

    def settle(self) -> None:
        """Wait until the last thing asked for is on the screen."""
        self.page.wait_for_function("window.geoseg && geoseg.scene && geoseg.settled")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def slide(self, name: str, value: object) -> None:
        self.page.locator(f".gs-sliders [name={name}]").fill(str(value))
        self.settle()

    def state(self, key: str):
        return self.page.evaluate(f"geoseg.state.{key}")

    @property
    def name(self) -> str:
        return self.page.locator(".gs-jump").input_value()

    def map(self, what: str, model: str | None = None) -> np.ndarray:
        """`patch`, `truth`, or a model's `probability` or `classes`, as the browser holds it."""
        owner = f"geoseg.scene.models.find(m => m.name === '{model}')" if model else "geoseg.scene"
        values = self.page.evaluate(f"Array.from({owner}.{what}).map(v => v !== v ? null : v)")
        rows = self.page.evaluate("geoseg.scene.rows")
        return np.array([np.nan if v is None else v for v in values]).reshape(rows, -1)

    def colours(self, card: str) -> set[tuple[int, ...]]:
        """The colours that a card's canvas shows."""
        pixels = self.page.locator(f"{card} canvas").evaluate(READ)
        return {tuple(rgb) for rgb in np.array(pixels).reshape(-1, 4)[:, :3].tolist()}

    def shown_scores(self, model: str) -> list[str]:
        return self.page.locator(f"[data-model='{model}'] dd").all_inner_texts()

    def upload(self, *files: Path) -> None:
        self.page.locator(".gs-files").set_input_files([str(f) for f in files])
        self.page.wait_for_function("geoseg.state.source === 'uploads'")
        self.settle()


@contextmanager
def chromium() -> Iterator:
    """A browser; without one the test is skipped, or fails under GEOSEG_REQUIRE_BROWSER=1."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _unavailable("playwright is not installed; pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        _unavailable("there is no Chromium on the path; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def screens(browser, url: str) -> Iterator[Callable[..., Screen]]:
    """A function that opens a page as another user; at the end none may have reported a fault."""
    contexts, opened = [], []

    def open_one(
        width: int = 1366, height: int = 768, scheme: str = "light", link: str = url, **options
    ) -> Screen:
        size = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme, **options))
        opened.append(Screen(contexts[-1].new_page(), link))
        return opened[-1]

    yield open_one
    faults = [fault for screen in opened for fault in screen.faults]
    for context in contexts:
        context.close()
    assert not faults


def _unavailable(reason: str) -> None:
    if os.environ.get("GEOSEG_REQUIRE_BROWSER") == "1":
        pytest.fail(f"GEOSEG_REQUIRE_BROWSER is set, but {reason}")
    pytest.skip(reason)

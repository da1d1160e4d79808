"""The page of one user in Chromium: open it, operate it, read what it shows."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# The headless shell comes first: it opens the page three times as fast as the whole browser.
EXECUTABLES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Reads a copy, as Chromium warns if a canvas on the screen is read more than once.
READ = """shown => {
    const copy = new OffscreenCanvas(shown.width, shown.height);
    const context = copy.getContext('2d', { willReadFrequently: true });
    context.drawImage(shown, 0, 0);
    return Array.from(context.getImageData(0, 0, shown.width, shown.height).data);
}"""


class BrowserUnavailableError(RuntimeError):
    """Playwright or Chromium is not installed; the message says what to install."""


class Screen:
    """An open page, and in `faults` every error and warning that its browser reports.

    A request to any other server than `url` is a fault as well.
    """

    def __init__(self, page, url: str) -> None:
        self.page, self.faults = page, []
        self._origin = url.split("#")[0]
        self._listeners = {
            "console": self._on_console,
            "pageerror": self._on_error,
            "request": self._on_request,
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_selector(".gs")
        self.settle()

    def _on_console(self, message) -> None:
        # Gradio's own: a deprecated call for its texts, and what its plots say of their versions.
        if "svelte-i18n" in message.text or message.text.startswith("WARN "):
            return
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _on_error(self, error) -> None:
        self.faults.append(str(error))

    def _on_request(self, request) -> None:
        if not request.url.startswith((self._origin, "data:", "blob:")):
            self.faults.append(f"a request to {request.url}")

    def leave(self) -> None:
        """Empty the tab and forget its user, so that the next screen in it is a new user's."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.unroute_all()
        self.page.evaluate("sessionStorage.clear(); localStorage.clear()")
        self.page.goto("about:blank")
        self.page.mouse.move(0, 0)

    def settle(self) -> None:
        """Wait until the page shows the answer to its latest request."""
        self.page.wait_for_function("window.geoseg && geoseg.scene && geoseg.settled")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, then wait for the answer."""
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def slide(self, name: str, value: object) -> None:
        """Set a slider, or the seed, then wait for the answer."""
        kind = "number" if name == "seed" else "range"
        self.page.locator(f"#control-{name} input[type={kind}]").fill(str(value))
        self.settle()

    def state(self, key: str):
        """Return a value of the page's state."""
        return self.page.evaluate(f"geoseg.state.{key}")

    @property
    def name(self) -> str:
        """Name of the patch that is shown."""
        return self.page.locator(".gs-jump").input_value()

    def array(self, key: str, model: str | None = None) -> np.ndarray:
        """Return an array (Z, A) that the browser holds.

        `key` is `patch` or `truth` (the label), or of a model `probability` or `classes`.
        """
        owner = f"geoseg.scene.models.find(m => m.name === '{model}')" if model else "geoseg.scene"
        values = self.page.evaluate(f"Array.from({owner}.{key}).map(v => v !== v ? null : v)")
        rows = self.page.evaluate("geoseg.scene.rows")
        return np.array([np.nan if v is None else v for v in values]).reshape(rows, -1)

    def colours(self, card: str) -> set[tuple[int, ...]]:
        """Return the colours (R, G, B) of a card's canvas."""
        pixels = self.page.locator(f"{card} canvas").evaluate(READ)
        return {tuple(rgb) for rgb in np.array(pixels).reshape(-1, 4)[:, :3].tolist()}

    def shown_scores(self, model: str) -> list[str]:
        """Return the scores of a model as the page writes them."""
        return self.page.locator(f"[data-model='{model}'] dd").all_inner_texts()

    def upload(self, *files: Path) -> None:
        """Open files of the user's own."""
        self.page.locator("#header input[type=file]").set_input_files(
            [str(f) for f in files]
        )
        self.page.wait_for_function("geoseg.state.source === 'uploads'")
        self.settle()


@contextmanager
def chromium() -> Iterator:
    """Run Chromium until the block ends; raise BrowserUnavailableError where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise BrowserUnavailableError(
            "playwright is not installed; pip install playwright"
        ) from error
    path = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if path is None:
        raise BrowserUnavailableError(
            "no Chromium on the path; apt-get install chromium-headless-shell"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def screens(browser, url: str) -> Iterator[Callable[..., Screen]]:
    """Give a function that opens the page as a new user; at the end check that none had a fault."""
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

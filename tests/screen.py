"""One user's page in Chromium, and what a test asks of it."""

from pathlib import Path

import numpy as np

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
        page.on("console", lambda m: m.type in ("error", "warning") and self.faults.append(m.text))
        page.on("pageerror", lambda e: self.faults.append(str(e)))
        page.on("request", lambda r: self._check(r.url, url))
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_selector(".gs")
        self.settle()

    def _check(self, address: str, url: str) -> None:
        if not address.startswith((url, "data:", "blob:")):
            self.faults.append(f"a request to {address}")

    def settle(self) -> None:
        """Wait until the last thing asked for is on the screen."""
        self.page.wait_for_function(
            "window.geoseg && geoseg.scene && geoseg.scene.ticket === geoseg.ticket"
        )

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
        return self.page.locator(".gs-name").inner_text()

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

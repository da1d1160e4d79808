"""Draw the documents' pictures of the page from the page itself: `python -m docs.draw`.

docs/page.png is one view, of the patches in `--patches` if given. docs/page.webp is a short film of
the packaged samples: browsing, shift, noise, the sheets.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from benchmarks.browser import Screen, chromium, screens
from benchmarks.server import serve

HERE = Path(__file__).resolve().parent
SIZE = (1280, 720)
QUALITY = 60
QUICK, SLOW, LONG = 70, 600, 1800  # milliseconds that a frame is shown


class Film:
    """Screenshots of a page, each with its duration in milliseconds."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []

    def add_frame(self, milliseconds: int) -> None:
        """Add a screenshot of the page."""
        self.screen.settle()
        picture = Image.open(io.BytesIO(self.screen.page.screenshot()))
        self.frames.append(picture.convert("RGB"))
        self.durations.append(milliseconds)

    def slide(self, name: str, values: range, unit: float = 1) -> None:
        """Drag a slider through values."""
        for value in values:
            self.screen.slide(name, round(value * unit, 4))
            self.add_frame(QUICK)

    def press(self, key: str, milliseconds: int) -> None:
        """Press a key and add the result."""
        self.screen.press(key)
        self.add_frame(milliseconds)

    def save(self, path: Path) -> None:
        """Write the film as an endless loop."""
        first, *rest = self.frames
        first.save(
            path,
            save_all=True,
            append_images=rest,
            duration=self.durations,
            loop=0,
            quality=QUALITY,
            method=6,
        )


@contextmanager
def open_page(browser, arguments: list[str]) -> Iterator[Screen]:
    """Open the page on its own server."""
    with serve([*arguments, "--preload"]) as url, screens(browser, url) as open_screen:
        yield open_screen(*SIZE)


def record(film: Film) -> None:
    """Record the scenes of the film."""
    screen = film.screen
    film.add_frame(SLOW)
    for _ in range(3):
        film.press("ArrowRight", SLOW)
    film.slide("shift", range(1, 15))
    film.slide("noise", range(2, 26, 3), 1e-4)
    film.press("p", SLOW)
    film.press("d", SLOW)
    film.press("r", SLOW)
    film.press("s", SLOW)
    screen.page.locator(".gs-main").click()
    screen.page.locator(".gs-table").wait_for()
    film.add_frame(LONG)
    film.press("i", SLOW)
    screen.page.get_by_text("All curves are drawn.").wait_for()
    film.add_frame(LONG)
    film.press("y", SLOW)
    film.press("y", SLOW)


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--patches", metavar="DIR", help="patches of page.png (default: the samples)"
    )
    parser.add_argument("--patch", default="", metavar="NAME", help="the patch of page.png")
    arguments = parser.parse_args()
    with chromium() as browser:
        with open_page(browser, ["-i", arguments.patches] if arguments.patches else []) as screen:
            screen.page.keyboard.press("/")
            screen.page.keyboard.type(arguments.patch)
            screen.press("Enter")
            screen.page.wait_for_timeout(500)
            screen.page.screenshot(path=HERE / "page.png")
        with open_page(browser, []) as screen:
            film = Film(screen)
            record(film)
            film.save(HERE / "page.webp")


if __name__ == "__main__":
    main()

"""Progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def track_progress(items: Sequence[T], description: str) -> Iterable[T]:
    """Return the items, with a bar on standard error that disappears at the end.

    There is no bar for fewer than two items, or if standard error is not a terminal.
    """
    console = Console(stderr=True)
    if len(items) < 2 or not console.is_terminal:
        return items
    return track(items, description, console=console, transient=True)

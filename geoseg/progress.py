"""Showing how far something is, on a terminal only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def track_progress(items: Sequence[T], what: str) -> Iterable[T]:
    """The items, with a bar on standard error that goes when it is full; none for a single one."""
    console = Console(stderr=True)
    if len(items) < 2 or not console.is_terminal:
        return items
    return track(items, what, console=console, transient=True)

"""Parse and validate requests from the browser. Input is untrusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from geoseg.page.browse import MAX_PIXELS

SOURCES = ("start", "uploads", "synthetic")
MAX_NOISE = 0.005  # the original viewer's range, in the unit of the patches
MAX_SHIFT = MAX_PIXELS - 1  # one column short of a full turn of the widest patch
MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class Request:
    """A request of a browser.

    Attributes:
        source: the set: "start", the user's own "uploads", or "synthetic" pipes.
        index: of the patch in its set, counted round and round.
        name: of the patch; where the set has it, it counts instead of the index.
        shift: columns, 0 to MAX_SHIFT, beyond a patch's width round and round. noise: standard
            deviation, 0 to MAX_NOISE. seed: of it.
        models: names of models that exist, in their usual order.
    """

    source: str
    index: int
    name: str
    shift: int
    noise: float
    seed: int
    models: tuple[str, ...]

    @classmethod
    def parse(cls, raw: Any, names: tuple[str, ...]) -> Request:
        """Parse a message; clamp values that are out of range."""
        message = fields(raw)
        name = message.get("name")
        return cls(
            source=source(message),
            index=int(number(message.get("index"), -(2**31), 2**31)),
            name=name if isinstance(name, str) else "",
            shift=int(number(message.get("shift"), 0, MAX_SHIFT)),
            noise=number(message.get("noise"), 0, MAX_NOISE),
            seed=int(number(message.get("seed"), 0, MAX_SEED)),
            models=models(message, names),
        )


def fields(raw: Any) -> dict[str, Any]:
    """Return the message if it is a dictionary, else an empty one."""
    return raw if isinstance(raw, dict) else {}


def source(message: dict[str, Any]) -> str:
    """Return the set that a message asks for, one of SOURCES."""
    return next((name for name in SOURCES if name == message.get("source")), SOURCES[0])


def models(message: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models of a message that are in `names`, in that order; all if it has none."""
    wanted = message.get("models")
    chosen = wanted if isinstance(wanted, list) else names
    return tuple(name for name in names if name in chosen)


def number(value: Any, low: float, high: float) -> float:
    """Return a finite number clamped to the range, or the value in the range nearest to 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = 0
    if isinstance(value, float) and not math.isfinite(value):
        value = 0
    return min(max(value, low), high)

"""Users' own files: read from a form, kept in memory for who has the key.

A key is made at random by a user's page, which sends it with every question.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from geoseg.measurements import DEFAULT, MeasurementOptions
from geoseg.natural_sort import natural_key
from geoseg.page.browse import MAX_STACK, Entry, PatchSet, Rejected, read_entries
from geoseg.page.uploads import MAX_FILES, check_length, clean
from geoseg.patches import PatchError

MAX_TOTAL_PIXELS = 2**22  # of one user: 3,236 patches of 36x36, or 16 MiB of memory
# Of all users at once: 256 MiB, and ten times that where all were scored by six models and have
# letters stamped on them.
MAX_HELD_PIXELS = 2**26
MAX_CLIENT_PIXELS = MAX_HELD_PIXELS // 4  # of all users at one address
LEAST_PIXELS = 2**14  # that a set counts for: its names and arrays take memory too
KEPT_SECONDS = 4 * 3600


@dataclass
class _Kept:
    patches: PatchSet
    client: str
    seen: float

    @property
    def pixels(self) -> int:
        return max(LEAST_PIXELS, sum(entry.patch.size for entry in self.patches.entries))


class Users:
    """The uploads of all users, each forgotten KEPT_SECONDS after it was last asked for.

    Not safe to use from several threads.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the latest seen comes last

    def uploads(self, key: Any) -> PatchSet | None:
        """Return the uploads of the user with that key, or None."""
        self.sweep()
        kept = self._kept.get(key) if isinstance(key, str) else None
        if kept is None:
            return None
        kept.seen = time.monotonic()
        self._kept.move_to_end(key)
        return kept.patches

    def keep(self, key: str, client: str, patches: PatchSet) -> None:
        """Replace the uploads of a user at the address `client`."""
        self._kept[key] = _Kept(patches, _network(client), time.monotonic())
        self._kept.move_to_end(key)

    def forget(self, key: str) -> None:
        """Forget what a user has uploaded."""
        self._kept.pop(key, None)

    def room(self, key: str, client: str) -> int:
        """Return the pixels that this user may still keep, within the share of the address."""
        self.sweep()
        others = [kept for one, kept in self._kept.items() if one != key]
        held = sum(kept.pixels for kept in others)
        near = sum(kept.pixels for kept in others if kept.client == _network(client))
        room = min(MAX_HELD_PIXELS - held, MAX_CLIENT_PIXELS - near)
        return room if room >= LEAST_PIXELS else 0

    def sweep(self) -> None:
        """Forget uploads that were not used for KEPT_SECONDS."""
        limit = time.monotonic() - KEPT_SECONDS
        while self._kept and next(iter(self._kept.values())).seen < limit:
            self._kept.popitem(last=False)


def _network(host: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address: one house has all of it."""
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))


def read_uploads(
    files: Iterable[tuple[str, bytes]],
    room: int = MAX_HELD_PIXELS,
    options: MeasurementOptions = DEFAULT,
) -> PatchSet:
    """Read the patches among uploaded files (name, content); list the rest with reasons.

    `room` is how many pixels the server still has; `options` say what the files measure. Unlike a
    set from `load_set` it may be empty.
    """
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    pixels = 0
    named = sorted(((clean(name), content) for name, content in files), key=_by_name)
    for number, (name, content) in enumerate(named):
        try:
            if number >= MAX_FILES:
                raise PatchError(f"Only {MAX_FILES} files fit in one upload; send it in parts.")
            found = read_entries(name, check_length(content), options)
            more = sum(entry.patch.size for entry in found)
            if len(entries) + len(found) > MAX_STACK:
                raise PatchError(f"The upload is beyond {MAX_STACK:,} patches; send it in parts.")
            if pixels + more > MAX_TOTAL_PIXELS:
                raise PatchError(
                    f"The upload is beyond {MAX_TOTAL_PIXELS:,} pixels; send it in parts."
                )
            if pixels + more > room:
                raise PatchError("The server's memory for patches is full; try again later.")
        except PatchError as error:
            rejected.append(Rejected(name, str(error)))
        else:
            pixels += more
            entries += found
    return PatchSet("Your files", tuple(entries), tuple(rejected))


def _by_name(file: tuple[str, bytes]) -> list[str | int]:
    return natural_key(file[0])

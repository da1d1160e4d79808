"""Natural order of names: by the numbers in them."""

from __future__ import annotations

import re


def natural_key(text: str) -> list[str | int]:
    """Return a sort key that orders patch_2 before patch_10, ignoring case.

    >>> sorted(["patch_10", "patch_2"], key=natural_key)
    ['patch_2', 'patch_10']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text.casefold())]

"""Tables that a command writes into a Markdown file, between two marker comments."""

from __future__ import annotations

import re
from pathlib import Path

from geoseg.atomic_files import atomic_write_text


def replace_table(path: Path, name: str, body: str) -> None:
    """Replace the lines between `<!-- name: COMMAND -->` and `<!-- /name -->`.

    Raise ValueError unless each marker occurs exactly once.
    """
    start, end = rf"<!-- {re.escape(name)}: [^\n]* -->\n", f"<!-- /{name} -->"
    pattern = re.compile(f"({start})(.*?)({re.escape(end)})", re.DOTALL)
    text, count = pattern.subn(
        lambda match: f"{match[1]}{body}\n{match[3]}", path.read_text("utf-8")
    )
    if count != 1 or text.count(end) != 1:
        raise ValueError(
            f"{path} must contain the lines <!-- {name}: COMMAND --> and {end} around the table, "
            "once each"
        )
    atomic_write_text(path, text)

"""Tables that a command writes into a Markdown file, between two marks."""

from __future__ import annotations

import re
from pathlib import Path

from geoseg.atomic_files import atomic_write_text


def replace_table(path: Path, name: str, body: str) -> None:
    """Replace what stands between `<!-- name: ... -->` and `<!-- /name -->`, lines of their own.

    The first mark says by which command. ValueError where they are not there, once each.
    """
    start, end = rf"<!-- {re.escape(name)}: [^\n]* -->\n", f"<!-- /{name} -->"
    pattern = re.compile(f"({start})(.*?)({re.escape(end)})", re.DOTALL)
    text = path.read_text()
    if len(pattern.findall(text)) != 1 or text.count(end) != 1:
        raise ValueError(
            f"{path} needs the lines <!-- {name}: COMMAND --> and {end} round its table, once each"
        )
    atomic_write_text(path, pattern.sub(lambda found: f"{found[1]}{body}\n{found[3]}", text))

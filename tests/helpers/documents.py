"""Read the fenced blocks of Markdown documents."""

import re
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fenced_blocks(path: Path) -> list[tuple[str, str, int]]:
    """Return (language, text, line) of each fenced block; `line` is that of its first line."""
    text = path.read_text()
    return [
        (block[1], block[2], text.count("\n", 0, block.start(2)) + 1)
        for block in _BLOCK.finditer(text)
    ]

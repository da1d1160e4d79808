"""The parts of a page: a single HTML file without scripts, fit for light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from train.report.stylesheet import STYLE


def document(title: str, heading: str, about: str, content: str) -> str:
    """A whole page; `content` is HTML, the others are plain text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<header><h1>{escape(heading)}</h1><p>{escape(about)}</p></header>\n"
        f"<main>\n{content}</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str, note: str, raw_note: bool = False) -> str:
    """A part of a page; `content` is HTML, and so is a raw note."""
    words = note if raw_note else escape(note)
    return f'<section><h2>{escape(title)}</h2>\n<p class="note">{words}</p>\n{content}</section>\n'


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    colours: Sequence[str] = (),
    words: Sequence[str] = (),
) -> str:
    """A table of plain texts; the first of a row names it, beside its colour where it has one.

    The columns headed as in `words` are set as words, all others as numbers.
    """
    kinds = [' class="words"' if heading in words else "" for heading in headings]
    head = "".join(
        f"<th{kind}>{escape(heading)}</th>" for kind, heading in zip(kinds, headings, strict=True)
    )
    body = ""
    for place, (first, *cells) in enumerate(rows):
        key = f'<i class="line" style="background:{colours[place]}"></i>' if colours else ""
        values = "".join(
            f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], cells, strict=True)
        )
        body += f'<tr><th>{key}<span class="name">{escape(first)}</span></th>{values}</tr>\n'
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )

"""Texts in a picture: a font that shows them, and the rows that they fill; in pixels."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Pillow's own font has ASCII and little else; these know more, where a system has them.
_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc"),  # Linux
    *("Arial Unicode.ttf", "arial.ttf", "msyh.ttc"),  # macOS, Windows
)
_NOWHERE = "\U0010ffff"  # no character, so that each font draws its sign for what it lacks
_FINE = 8  # a small font has widths in whole pixels; one so many times larger is measured


def lettering(text: str, size: float) -> tuple[str, Font]:
    r"""What to draw for a text, and in which font: the one that shows most of it.

    What even that one lacks is escaped, as in `\u6c34`, so that texts which differ still do.
    """
    text = unicodedata.normalize("NFC", text)  # macOS keeps an umlaut as a vowel and two dots
    font = max(_fonts(size, text.isascii()), key=lambda font: sum(_shows(font, c) for c in text))
    return "".join(char if _shows(font, char) else ascii(char)[1:-1] for char in text), font


def length(text: str, size: float) -> float:
    """How long a text is when it is drawn."""
    shown, font = lettering(text, size * _FINE)
    return font.getlength(shown) / _FINE


def wrapped(text: str, width: float, size: float) -> list[str]:
    """The rows of a text, none longer than `width`, broken where a path or a name has a joint."""
    shown, font = lettering(text, size * _FINE)
    rows = [""]
    for word in re.findall(r"[^-/\\_ ]*[-/\\_ ]?", shown):
        for part in [word] if font.getlength(word) <= width * _FINE else word:
            if rows[-1] and font.getlength(rows[-1] + part) > width * _FINE:
                rows.append("")
            rows[-1] += part
    return rows


@cache
def _fonts(size: float, plain: bool) -> list[Font]:
    """Pillow's own, which is enough for plain ASCII and the same on every machine; then others."""
    fonts: list[Font] = [ImageFont.load_default(size)]
    for name in () if plain else _FONTS:
        with suppress(OSError):  # not on this machine
            fonts.append(ImageFont.truetype(name, size))
    return fonts


@cache
def _shows(font: Font, char: str) -> bool:
    return char.isprintable() and (char.isascii() or _drawn(font, char) != _drawn(font, _NOWHERE))


def _drawn(font: Font, char: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(char)
    return mask.size, bytes(mask)

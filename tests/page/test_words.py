"""Every English text of the page is in words.json, once, and is used."""

import json
import re
from html.parser import HTMLParser

import pytest

from geoseg.page.blocks import SCRIPTS, asset

SIGNS = {"geoseg"}  # a name
CODE = {name: asset(name) for name in SCRIPTS}


def flatten(words: dict, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in words.items():
        place = f"{prefix}{key}"
        keys += flatten(value, f"{place}.") if isinstance(value, dict) else [place]
    return keys


KEYS = flatten(json.loads(asset("words.json")))


class Page(HTMLParser):
    """The texts in page.html, and the keys that it uses."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.asked: list[str] = []
        self._in: list[str] = []

    def handle_starttag(self, tag, attrs):
        self._in.append(tag)
        for name, value in attrs:
            if name in ("data-word", "data-tip", "data-name"):
                self.asked.append(value)
            elif name in ("title", "aria-label", "placeholder", "alt"):
                self.texts.append(value)

    def handle_endtag(self, tag):
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data):
        if "kbd" not in self._in:
            self.texts.append(data.strip())


@pytest.fixture(scope="module")
def page() -> Page:
    parser = Page()
    parser.feed(asset("page.html"))
    return parser


def test_the_page_template_holds_no_text(page):
    assert {text for text in page.texts if re.search("[A-Za-z]", text)} == SIGNS


def test_every_text_key_exists(page):
    asked = set(page.asked)
    for code in CODE.values():
        asked |= set(re.findall(r"\bsay\('([\w.]+)'", code))
        asked |= {
            f"counts.{k}.one"
            for k in re.findall(r"\bmany\([^()]*(?:\([^()]*\)[^()]*)*, '(\w+)'\)", code)
        }
    assert asked <= set(KEYS), asked - set(KEYS)


def test_every_text_key_is_used(page):
    code = "\n".join(CODE.values())
    for key in KEYS:
        section = key.split(".")[0]
        known = key in page.asked or re.search(rf"['\"`]{re.escape(key)}['\"`]", code)
        # Composed keys, such as say(`scores.${name}`), have their last part elsewhere.
        composed = f"`{key.rsplit('.', 1)[0]}." in code or section == "counts"
        assert known or composed, key


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_hold_no_english_text(name):
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", CODE[name], flags=re.DOTALL)
    shown = re.findall(r"(?:textContent|title|innerText|ariaLabel)\s*=\s*[`'\"]([^`'\"]*)", code)
    shown += re.findall(r"setAttribute\('(?:aria-label|title)', [`'\"]([^`'\"]*)", code)
    shown += re.findall(r"\bel\('\w+', '[^']*', [`'\"]([^`'\"]*)", code)
    shown += re.findall(r"\bnotify\([`'\"]([^`'\"]*)", code)
    plain = [re.sub(r"\$\{[^}]*\}|\\u[0-9a-f]{4}", "", text) for text in shown]
    assert [text for text in plain if re.search("[A-Za-z]{2}", text)] == []


def test_scripts_declare_no_name_twice():
    top = re.compile(r"^(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
    names = [name for code in CODE.values() for name in top.findall(code)]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)

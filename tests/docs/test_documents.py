"""The documents agree with the repository: links, modules and messages."""

import ast
import re
from pathlib import Path

import pytest

from tests.helpers import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(ROOT.glob("docs/*.md")),
]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_architecture_has_a_line_for_each_module():
    library, training = (ROOT / "docs" / "architecture.md").read_text().split("\n## The training")
    for package, text in (("geoseg", library), ("train", training.split("\n## ")[0])):
        listed = re.findall(r"^\| `([\w/]+\.py)` \|", text, re.MULTILINE)
        modules = {
            path.relative_to(ROOT / package).as_posix()
            for path in (ROOT / package).rglob("*.py")
            if path.name != "__init__.py"
        }
        assert sorted(modules - set(listed)) == []
        assert sorted(set(listed) - modules - {"__init__.py"}) == []


def source_texts() -> list[str]:
    """Return every string of the source; an expression inside an f-string becomes `…`."""
    texts = []
    for path in [ROOT / "app.py", *ROOT.glob("geoseg/**/*.py"), *ROOT.glob("train/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(value, "value", "…") for value in node.values]
                texts.append("".join(part if isinstance(part, str) else "…" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return [*texts, (ROOT / "Makefile").read_text()]


def quoted_messages() -> list[str]:
    """Return the messages that docs/errors.md quotes, one in each heading."""
    text = (ROOT / "docs" / "errors.md").read_text()
    return re.findall(r"^### `([^`]+)`$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def source() -> str:
    return "\n".join(source_texts())


@pytest.mark.parametrize("message", quoted_messages())
def test_quoted_message_is_in_the_source(message, source):
    pattern = r".*?".join(map(re.escape, message.strip("… ").split("…")))
    assert re.search(pattern, source), f"no string of the source is like {message!r}"


def test_errors_document_has_the_common_messages():
    assert len(quoted_messages()) >= 20

"""Hostile files, by every way that users have: nothing breaks, leaks or grows."""

import itertools
import json
from pathlib import Path

import pytest

from tests.helpers.attacks import is_harmless
from tests.helpers.hostile_files import hostile_files
from tests.helpers.requests import API, ask, call, form, post, send, send_files, upload

FILES, BATCH = 5_000, 512
USER = "a_user_who_browses"
GROWTH = 48 * 2**20  # bytes that the server may grow by: the largest uploads of three users
LEAKS = ("inbox", "geoseg/", "temporary/")  # parts of the server's paths


def files_in(folder: Path) -> set[Path]:
    """Return every file below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


def escape(name: str) -> str:
    """Escape a file name in a form as a browser does."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def test_thousands_of_hostile_uploads_do_no_harm(server, root):
    on_disk = files_in(root / "temporary")
    files = [(escape(name), content) for name, content in hostile_files(FILES, seed=20240601)]
    accepted = before = 0
    for start in range(0, FILES, BATCH):
        user, batch = f"a_user_of_batch_{start}", files[start : start + BATCH]
        receipt = send_files(server.url, user, batch)
        assert is_harmless(json.dumps(receipt), *LEAKS)
        assert receipt["accepted"] + len(receipt["rejected"]) == len(batch)
        assert all(r["reason"].endswith(".") for r in receipt["rejected"])
        accepted += receipt["accepted"]
        before = before or server.memory()
    assert accepted > FILES // 25, "some of them are sound"
    assert server.memory() - before < GROWTH
    assert files_in(root / "temporary") <= on_disk, "an upload is left on the disk"
    assert server.output() == []
    assert not Path("/tmp/pwned").exists()


def test_the_endpoint_answers_each_hostile_file_in_one_line(server):
    for name, content in itertools.islice(hostile_files(5_000, seed=7), 0, 150):
        (path,) = upload(server.url, [(escape(name), content)]).json
        answer = call(server.url, "segment", path, ["300"])
        assert is_harmless(json.dumps(answer), *LEAKS)
        assert isinstance(answer, dict) or answer.count("\n") == 0
    assert server.output() == []


def test_accepted_uploads_can_be_viewed(server):
    """Every sound one of a batch through the models, as a user who browses it."""
    files = [(f"{i}.npy", content) for i, (_, content) in enumerate(hostile_files(200, seed=3))]
    count = send_files(server.url, USER, files)["accepted"]
    asked = {"source": "uploads", "models": ["300-vanilla", "200-stacked"]}
    for index in range(count):
        shown = ask(server.url, "look", USER, index=index, **asked)
        assert shown["count"] == count
        assert is_harmless(json.dumps(shown), *LEAKS)
    assert server.output() == []


@pytest.mark.parametrize(
    "broken", ['"', "\r\n", "\0", "\t\x1b[31m", "\r\nX-Evil: 1\r\n\r\n", '"; name="other']
)
def test_names_that_break_the_form_do_no_harm(server, broken):
    body, kind = form([(f"a{broken}b.npy", b"0")])
    reply = send(server.url, f"{API}/upload", body, Content_Type=kind)
    assert reply.status in (200, 400)
    paths = reply.json if reply.status == 200 else []
    text = post(server.url, f"{API}/run/segment", {"data": [paths]}).text
    assert is_harmless(text, *LEAKS)
    assert server.output() == []

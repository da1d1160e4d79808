"""5,000 hostile files through the doors that users have: nothing breaks, leaks or grows."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server import Server, make_checkpoints, make_folder, running
from tests.helpers.hostile_files import hostile_files
from tests.helpers.requests import API, ask, call, form, post, send, send_files, upload

FILES = 5_000
BATCH = 512
USER = "somebody_who_looks"
GROWTH = 48 * 2**20  # bytes that the server may grow by: three users' patches at their largest


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(temporary, tmp_path_factory) -> Iterator[Server]:
    images = make_folder(tmp_path_factory.mktemp("set"), 2)
    models = make_checkpoints(tmp_path_factory.mktemp("checkpoints"))
    arguments = ["-i", str(images), "--checkpoints", str(models), "--preload"]
    with running(arguments, TMPDIR=str(temporary), PYTHONWARNINGS="") as one:
        yield one


def harmless(text: str, temporary: Path) -> bool:
    """No path of the server, no traceback, nothing of a file that was not sent."""
    leaks = (str(temporary), "inbox", "Traceback", "site-packages", "geoseg/", "root:x:")
    return not any(leak in text for leak in leaks)


def in_a_form(name: str) -> str:
    """As a browser escapes a name."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def test_thousands_of_files_do_no_harm(server, temporary):
    files = [(in_a_form(name), content) for name, content in hostile_files(FILES, seed=20240601)]
    accepted = before = 0
    for start in range(0, FILES, BATCH):
        batch = files[start : start + BATCH]
        reply = send_files(server.url, f"a_user_of_batch_{start}", batch)
        assert reply.status == 200, reply.text
        assert harmless(reply.text, temporary)
        receipt = reply.json
        assert receipt["accepted"] + len(receipt["rejected"]) == len(batch)
        assert all(r["reason"].endswith(".") for r in receipt["rejected"])
        accepted += receipt["accepted"]
        before = before or server.memory()
    assert accepted > FILES // 20, "some of them are sound"
    assert server.memory() - before < GROWTH
    assert not [path for path in temporary.rglob("*") if path.is_file()], "it was on the disk"
    assert server.said() == []
    assert not Path("/tmp/pwned").exists()


def test_the_endpoint_says_of_each_what_is_wrong(server, temporary):
    for name, content in itertools.islice(hostile_files(5_000, seed=7), 0, 150):
        (path,) = upload(server.url, [(in_a_form(name), content)]).json
        answer = call(server.url, "segment", path, ["300"])
        assert harmless(json.dumps(answer), temporary)
        assert isinstance(answer, dict) or answer.count("\n") == 0
    assert server.said() == []


def test_what_was_accepted_can_be_looked_at(server, temporary):
    """Every sound one of a batch through the models, as a user who browses it."""
    files = [(f"{i}.npy", content) for i, (_, content) in enumerate(hostile_files(200, seed=3))]
    count = send_files(server.url, USER, files).json["accepted"]
    asked = {"source": "uploads", "models": ["300-vanilla", "200-stacked"]}
    for index in range(count):
        shown = ask(server.url, "look", USER, index=index, **asked)
        assert shown["count"] == count
        assert harmless(json.dumps(shown), temporary)
    assert server.said() == []


@pytest.mark.parametrize(
    "broken", ['"', "\r\n", "\0", "\t\x1b[31m", "\r\nX-Evil: 1\r\n\r\n", '"; name="other']
)
def test_a_name_that_breaks_the_form_breaks_nothing_else(server, temporary, broken):
    body, kind = form([(f"a{broken}b.npy", b"0")])
    reply = send(server.url, f"{API}/upload", body, Content_Type=kind)
    assert reply.status in (200, 400)
    paths = reply.json if reply.status == 200 else []
    text = post(server.url, f"{API}/run/segment", {"data": [paths]}).text
    assert harmless(text, temporary)
    assert server.said() == []

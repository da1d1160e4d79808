"""What Gradio leaves open, and `geoseg.page.security` closes: each hole is shown, and shut."""

import ast
import re
import sys
from collections.abc import Callable, Iterator

import pytest

from benchmarks.server import EXACT, ROOT, Server, running
from geoseg.page.guard import MAX_BODY, MAX_SESSION
from geoseg.page.uploads import MAX_FILES, MAX_TOTAL_BYTES
from tests.helpers.attacks import HELLO
from tests.helpers.requests import API, find_component, post, send, upload

EVIL = "http://evil.test"
FILE = {"_type": "gradio.FileData"}
MODELS = {"data": []}


def call_the_viewer(url: str, message: object, session: str = "x") -> int:
    viewer = find_component(url, "viewer")
    body = {"data": message, "component_id": viewer, "fn_name": "look", "session_hash": session}
    return post(url, f"{API}/component_server/", body).status


def answers_another_host(url: str) -> bool:
    return "402-unet" in send(url, "/config", Host="evil.test").text


def answers_the_page_of_another_site(url: str) -> bool:
    host = {} if "127.0.0.1" not in url else {"Host": "localhost"}
    return "402-unet" in post(url, f"{API}/run/models", MODELS, Origin=EVIL, **host).text


def gives_one_path_to_equal_files(url: str) -> bool:
    return upload(url, [("a.npy", b"1")]).json == upload(url, [("a.npy", b"1")]).json


def gives_an_upload_to_who_knows_its_path(url: str) -> bool:
    (path,) = upload(url, [("a.npy", b"somebody's")]).json
    return "somebody's" in send(url, f"{API}/file={path}").text


def keeps_any_number_of_files(url: str) -> bool:
    reply = upload(url, [(f"{i}.npy", b"%d" % i) for i in range(MAX_FILES + 1)])
    return reply.status == 200


def keeps_any_number_of_bytes(url: str) -> bool:
    number = MAX_TOTAL_BYTES // 2**20 + 2
    return upload(url, [(f"{i}.npy", b"%9d" % i * 2**16) for i in range(2 * number)]).status == 200


def reads_a_body_of_any_size(url: str) -> bool:
    return call_the_viewer(url, {"name": "x" * MAX_BODY}) == 200


def keeps_a_name_of_a_session_of_any_size(url: str) -> bool:
    return call_the_viewer(url, {}, "x" * (MAX_SESSION + 1)) == 200


def tells_where_it_looks_for_files(url: str) -> bool:
    asked = [{"path": "x", "meta": FILE}, None, 0, 0, 0, None, False, "negative", "auto"]
    return str(ROOT) in post(url, f"{API}/run/segment", {"data": asked}).text


def fetches_addresses(url: str) -> bool:
    """Whether it looks up an address, which it does not fetch if it is of its own network."""
    asked = [{"path": f"{url}/x", "meta": FILE}, None, 0, 0, 0, None, False, "negative", "auto"]
    return "failed validation" in post(url, f"{API}/run/segment", {"data": asked}).text


def passes_addresses_on(url: str) -> bool:
    return "not allowed" in send(url, f"{API}/file={url}/config").text


def tells_everybody_what_the_first_claims(url: str) -> bool:
    send(url, f"{API}/info", X_Forwarded_Host="evil.test")
    return "evil.test" in send(url, f"{API}/info").text


def may_be_framed(url: str) -> bool:
    return send(url, "/").headers["Content-Security-Policy"] is None


HOLES = (
    tells_everybody_what_the_first_claims,  # before another asks for it
    answers_another_host,
    answers_the_page_of_another_site,
    gives_one_path_to_equal_files,
    gives_an_upload_to_who_knows_its_path,
    keeps_any_number_of_files,
    keeps_any_number_of_bytes,
    reads_a_body_of_any_size,
    keeps_a_name_of_a_session_of_any_size,
    tells_where_it_looks_for_files,
    fetches_addresses,
    passes_addresses_on,
    may_be_framed,
)


@pytest.fixture(scope="module")
def bare(arguments, root) -> Iterator[Server]:
    """Run the page as Gradio alone serves it."""
    program = [sys.executable, "-m", "tests.helpers.bare_app", *EXACT]
    with running(arguments, program, TMPDIR=str(root / "temporary"), PYTHONWARNINGS="") as one:
        yield one


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_of_gradio_is_closed(bare, server, hole: Callable[[str], bool]):
    assert hole(bare.url), "Gradio has closed this itself: delete what closes it here"
    assert not hole(server.url)


def test_the_login_of_gradio_leaves_agents_in(arguments, root):
    program = [sys.executable, "-m", "tests.helpers.bare_app", *EXACT]
    accept = "application/json, text/event-stream"
    tool = {"method": "tools/call", "params": {"name": "list_models", "arguments": {}}}
    for number, login in enumerate(([], ["ann:secret"])):
        with running([*arguments, "--auth", "ann:secret"], *([] if number else [program])) as one:
            said = post(one.url, f"{API}/mcp/", {**HELLO, **tool}, Accept=accept)
            assert ("402-unet" in said.text) == (not login)


def test_no_private_attribute_of_gradio_is_used():
    """Nor is a method of Gradio's classes replaced: `gr` is used for calls alone."""
    ours = {"self", "cls", "torch"}
    for path in (*ROOT.glob("geoseg/page/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "app.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                assert not any(base.startswith("gr.") for base in bases), path.name
            if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
                owner = ast.unparse(node.value)
                assert owner in ours or node.attr in ("_asdict", "_replace"), path.name

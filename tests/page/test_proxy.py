"""Behind a reverse proxy that shows the page below a path, as a site's administrator sets it up."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from benchmarks.browser import Screen, chromium
from benchmarks.server import ROOT, free_port, make_checkpoints, make_folder, running
from tests.helpers.requests import API, basic, call, post, send, upload_paths

PREFIX = "/tools/geoseg"


@contextmanager
def proxy(target: str, cut: bool, port: int = 0) -> Iterator[str]:
    """A proxy that passes PREFIX on, with or without it; gives its own address."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.helpers.reverse_proxy", str(port), target, PREFIX]
    process = subprocess.Popen(command + ["--cut"] * cut, cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(ConnectionError):
                send(f"http://127.0.0.1:{port}", "/favicon.ico")
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}{PREFIX}"
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "checkpoints").mkdir()
    make_checkpoints(folder / "checkpoints")
    make_folder(folder / "set")
    return folder


@pytest.fixture(scope="module")
def target(root) -> Iterator[str]:
    arguments = ["-i", str(root / "set" / "images"), "--checkpoints", str(root / "checkpoints")]
    with running([*arguments, "--root-path", PREFIX, "--auth", "ann:secret"]) as server:
        yield server.url


@pytest.fixture(scope="module")
def whole(root) -> Iterator[tuple[str, str]]:
    """A server that was told the whole address at which a proxy will show it, and that address."""
    address = f"http://127.0.0.1:{free_port()}{PREFIX}"
    arguments = ["-i", str(root / "set" / "images"), "--checkpoints", str(root / "checkpoints")]
    with running([*arguments, "--root-path", address]) as server:
        yield server.url, address


CLIENT = """
import json, sys
from gradio_client import Client, handle_file
login = json.loads(sys.argv[2])
client = Client(sys.argv[1] + "/", headers=login, verbose=False, analytics_enabled=False)
print(json.dumps(client.predict(handle_file(sys.argv[3]), api_name="/segment")))
"""


@pytest.mark.parametrize("cut", [True, False])
def test_page_and_endpoints_work_below_a_path(target, root, cut):
    login = basic("ann:secret")
    patch = root / "set" / "images" / "well_9_patch_0.npy"
    with proxy(target, cut) as url:
        assert send(url, "/").status == 401
        assert f'"root":"{url}"' in send(url, "/", **login).text
        assert send(url, "/config", **login).json["root"] == url
        assert send(url, f"{API}/file=/etc/passwd", **login).status == 404
        (path,) = upload_paths(url, patch, **login)
        assert "402-unet" in call(url, "segment", path, **login)["models"]
        command = [sys.executable, "-c", CLIENT, url, json.dumps(login), str(patch)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "402-unet" in json.loads(done.stdout.splitlines()[-1])["models"], done.stderr
        assert post(url, "/page/look", {}, **login).json["index"] == 0


@pytest.mark.parametrize("cut", [True, False])
def test_the_root_path_may_be_a_whole_address(whole, root, cut):
    patch = root / "set" / "images" / "well_9_patch_0.npy"
    target, address = whole
    with proxy(target, cut, urlsplit(address).port) as url:
        assert url == address
        claimed = {"X_Forwarded_Host": "evil.test"}
        assert f'"root":"{url}"' in send(url, "/", **claimed).text
        assert send(url, "/config").json["root"] == url
        assert "402-unet" in call(url, "segment", *upload_paths(url, patch))["models"]
        assert post(url, "/page/look", {}).json["index"] == 0
        assert send(url, f"{API}/file=/etc/passwd").status == 404


def test_the_path_itself_leads_into_it(whole, target):
    for server, login in ((whole[0], {}), (target, basic("ann:secret"))):
        with proxy(server, cut=False) as url:
            claims = {"X_Forwarded_Host": "evil.test", "X_Forwarded_Proto": "https"}
            reply = send(url, "?index=3&name=a%20b", **claims, **login)
            assert reply.status == 307
            assert reply.headers["Location"] == "./geoseg/?index=3&name=a%20b"
            arrived = urljoin(url, reply.headers["Location"])
            assert "geoseg" in send(arrived, "", **login).text
            assert send(url, "", method="HEAD", **login).headers["Location"] == "./geoseg/"
            assert send(url, "", b"{}", **login).status == 404
            assert send(url + "2", "", **login).status == 404
            assert send(url, "//evil.test", **login).status == 404
    assert send(target, PREFIX).status == 401


@pytest.mark.browser
def test_a_browser_shows_the_page_below_a_path_to_a_user(target):
    with proxy(target, cut=True) as url, chromium() as browser:
        context = browser.new_context(http_credentials={"username": "ann", "password": "secret"})
        browse(Screen(context.new_page(), url + "/"))
        context.close()


@pytest.mark.browser
def test_a_browser_finds_the_page_at_a_whole_address(whole):
    target, address = whole
    with proxy(target, False, urlsplit(address).port) as url, chromium() as browser:
        browse(Screen(browser.new_page(), url))


def browse(screen: Screen) -> None:
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_5.npy"
    assert not screen.faults

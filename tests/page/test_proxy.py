"""The page below a path, behind a reverse proxy."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import pytest
from gradio_client import Client, handle_file

from benchmarks.browser import Screen
from benchmarks.server import free_port, serve
from tests.helpers.http_servers import running_app
from tests.helpers.requests import API, ask, basic, call, component_call, send, upload_paths
from tests.helpers.reverse_proxy import make_proxy

PREFIX = "/tools/geoseg"


@contextmanager
def proxy(target: str, cut: bool, port: int = 0) -> Iterator[str]:
    """Run a proxy that shows `target` below PREFIX, which it cuts off or not; give its address."""
    with running_app(make_proxy(target, PREFIX, cut), port or free_port()) as address:
        yield address + PREFIX


@pytest.fixture(scope="module")
def target(arguments) -> Iterator[str]:
    """Run a page that knows the path below which it is shown, and asks for a login."""
    with serve([*arguments, "--root-path", PREFIX, "--auth", "ann:secret"]) as address:
        yield address


@pytest.fixture(scope="module")
def target_of_address(arguments) -> Iterator[tuple[str, str]]:
    """Run a page that knows the whole address of its proxy; give its own address and that."""
    public = f"http://127.0.0.1:{free_port()}{PREFIX}"
    with serve([*arguments, "--root-path", public]) as address:
        yield address, public


@pytest.mark.parametrize("cut", [True, False])
def test_page_and_endpoints_work_below_a_path(target, images, cut):
    login = basic("ann:secret")
    patch = images / "well_9_patch_0.npy"
    with proxy(target, cut) as url:
        assert send(url, "/").status == 401
        assert f'"root":"{url}"' in send(url, "/", **login).text
        assert send(url, "/config", **login).json["root"] == url
        assert send(url, f"{API}/file=/etc/passwd", **login).status == 404
        (path,) = upload_paths(url, patch, **login)
        assert "402-unet" in call(url, "segment", path, **login)["models"]
        client = Client(f"{url}/", headers=login, verbose=False, analytics_enabled=False)
        answer = client.predict(handle_file(str(patch)), api_name="/segment")
        assert "402-unet" in answer["models"]
        assert component_call(url, "look", {}, **login).json["index"] == 0


@pytest.mark.parametrize("cut", [True, False])
def test_the_root_path_may_be_a_whole_address(target_of_address, images, cut):
    patch = images / "well_9_patch_0.npy"
    target, address = target_of_address
    with proxy(target, cut, urlsplit(address).port) as url:
        assert url == address
        claimed = {"X_Forwarded_Host": "evil.test"}
        assert "start(" in send(url, "/page/static/viewer.js").text
        assert f'"root":"{url}"' in send(url, "/", **claimed).text
        assert send(url, "/config").json["root"] == url
        assert "402-unet" in call(url, "segment", *upload_paths(url, patch))["models"]
        assert ask(url, "look")["index"] == 0
        assert send(url, f"{API}/file=/etc/passwd").status == 404


def test_the_root_path_without_a_slash_redirects(target_of_address, target):
    for server, login in ((target_of_address[0], {}), (target, basic("ann:secret"))):
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
def test_a_browser_shows_the_page_below_a_path_to_a_user(browser, target):
    with proxy(target, cut=True) as url:
        context = browser.new_context(http_credentials={"username": "ann", "password": "secret"})
        browse(Screen(context.new_page(), url + "/"))
        context.close()


@pytest.mark.browser
def test_a_browser_finds_the_page_at_a_whole_address(browser, target_of_address):
    target, address = target_of_address
    with proxy(target, False, urlsplit(address).port) as url:
        context = browser.new_context()
        browse(Screen(context.new_page(), url))
        context.close()


def browse(screen: Screen) -> None:
    """Go to the next patch without a fault."""
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_5.npy"
    assert not screen.faults

"""Where the tests find what is not in the repository, and a browser."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from benchmarks.browser import chromium, screens
from tests.helpers import SHARED

# Before torch is there: what tests compute is small, and threads that wait for each other take
# several times as long where other processes want the cores as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# A failure of the default profile repeats; the nightly one looks further, elsewhere each time.
settings.register_profile("default", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name} beside the repository")
    return folder


@pytest.fixture(scope="session")
def original() -> Path:
    """The original project's parity files."""
    return _folder("original")


@pytest.fixture(scope="session")
def real() -> Path:
    """Real patches, logs and proxy masks."""
    return _folder("real")


@pytest.fixture(scope="module")
def browser():
    """Chromium, for a file of tests at a time: its event loop would be in the way of others."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def images(request, tmp_path_factory) -> Path:
    """What the file's page shows: as many patches as its COUNT says, or five."""
    from benchmarks.server import make_folder  # not above: it brings torch

    return make_folder(tmp_path_factory.mktemp("set"), getattr(request.module, "COUNT", 5))


@pytest.fixture(scope="module")
def url(browser, images, tmp_path_factory):
    """The address of the file's own page."""
    from benchmarks.server import make_checkpoints, serve

    models = make_checkpoints(tmp_path_factory.mktemp("checkpoints"))
    with serve(["-i", str(images), "--checkpoints", str(models), "--preload"]) as address:
        yield address


@pytest.fixture
def open_page(browser, url):
    """A function that opens a page of the file's own server, `url`, as another user."""
    with screens(browser, url) as open_one:
        yield open_one


@pytest.fixture
def screen(open_page):
    """A page with its strip."""
    opened = open_page()
    opened.page.wait_for_selector(".gs-cell")  # the list of the set comes after its first patch
    return opened


@pytest.fixture(scope="session")
def hub_server():
    """Run one fake Hub for all tests."""
    from tests.helpers.hub_server import serving  # not above: it brings torch

    with serving() as running:
        yield running


@pytest.fixture
def hub(hub_server, monkeypatch, tmp_path):
    """Empty the fake Hub and use it instead of huggingface.co."""
    from tests.helpers.hub_server import use

    hub_server.reset()
    use(hub_server.url, monkeypatch, tmp_path)
    return hub_server

"""Fixtures of several packages, the settings of hypothesis, and the order of the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from benchmarks.browser import BrowserUnavailableError, chromium
from tests.helpers import SHARED

# Set before torch is imported: the tests compute little, and threads that wait for each other take
# several times as long where other processes need the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# A failure of the default profile repeats; the nightly profile tries other examples each time.
settings.register_profile("default", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with browser tests last: while Playwright runs, `asyncio.run` fails."""
    last = {item.path for item in items if item.get_closest_marker("browser")}
    items.sort(key=lambda item: item.path in last)


def _shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name} beside the repository")
    return folder


@pytest.fixture(scope="session")
def original() -> Path:
    """Return the folder of the original project's parity files."""
    return _shared_folder("original")


@pytest.fixture(scope="session")
def real() -> Path:
    """Return the folder of real patches, logs and proxy masks."""
    return _shared_folder("real")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Run one Chromium for all tests of a worker."""
    try:
        with chromium() as running:
            yield running
    except BrowserUnavailableError as error:
        if os.environ.get("GEOSEG_REQUIRE_BROWSER") == "1":
            pytest.fail(f"GEOSEG_REQUIRE_BROWSER is set, but {error}")
        pytest.skip(str(error))


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

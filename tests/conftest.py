"""Fixtures of several packages, the settings of hypothesis, and the order of the tests."""

import asyncio
import os
from collections.abc import Generator, Iterator
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


# The folders with the longest files, which start servers, browsers and training processes.
LONG_FOLDERS = ("tests/page", "tests/train", "tests/benchmarks", "tests/docs")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run long files first, so that at the end no process works alone."""
    long = tuple(str(config.rootpath / folder) for folder in LONG_FOLDERS)
    items.sort(key=lambda item: not str(item.path).startswith(long))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _hide_loop_of_playwright(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _hide_loop_of_playwright(item))


def _hide_loop_of_playwright(item: pytest.Item) -> Generator[None, object, object]:
    """Run a step of a test; without the fixture `browser`, no event loop runs in it.

    From its start to its end Playwright leaves its loop registered as the running one of this
    thread, and `asyncio.run` would refuse to start another.
    """
    loop = asyncio._get_running_loop()
    hidden = loop is not None and "browser" not in item.fixturenames
    if hidden:
        asyncio._set_running_loop(None)
    try:
        return (yield)
    finally:
        if hidden:
            asyncio._set_running_loop(loop)


def _shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name} beside the repository")
    return folder


@pytest.fixture(scope="session", autouse=True)
def quick_pages() -> Iterator[None]:
    """Fork app.py from a process that has imported Gradio, instead of starting Python anew."""
    from benchmarks.server import APP, Server, start_process  # not above: it brings torch

    def start(command, environment):
        if tuple(command[:2]) != APP[:2]:
            return start_process(command, environment)
        from tests.helpers.app_process import AppProcess  # not above: it imports Gradio

        return AppProcess(command[2:], environment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "start", staticmethod(start))
        yield


@pytest.fixture(scope="session")
def original() -> Path:
    """Return the folder of the original project's parity files."""
    return _shared_folder("original")


@pytest.fixture(scope="session")
def real() -> Path:
    """Return the folder of real patches, logs and proxy masks."""
    return _shared_folder("real")


@pytest.fixture(scope="session")
def cases() -> Path:
    return _shared_folder("cases")


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

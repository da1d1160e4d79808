"""Servers, a browser tab and small models that the tests of the page share.

A server is started once per worker, for the first test that needs it. A file whose tests need
another one defines its own fixture `url`.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from starlette.routing import BaseRoute, Mount

from benchmarks.browser import Screen, screens
from benchmarks.server import (
    ROOT,
    Server,
    make_checkpoints,
    make_folder,
    make_patch,
    running,
    serve,
)
from geoseg.checkpoint import find_checkpoints
from geoseg.page import PatchSet, build, load_set
from geoseg.page.security import launch_options
from geoseg.segmenter import Segmenter
from tests.helpers.attacks import SECRET
from tests.helpers.requests import API
from tests.helpers.tabs import EMPTIED, FORMULA, SHIFTED, SHIPPED


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """Make the folder of the server: models, patches, temporary files, and secrets beside them."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "checkpoints").mkdir()
    make_checkpoints(folder / "checkpoints")
    make_folder(folder / "set")
    (folder / "secret.txt").write_text(SECRET)
    # A link to a saved state would read this file if it could climb out of its folder.
    (folder / "state.json").write_text(json.dumps([{"id": 1, "props": {"value": SECRET}}]))
    (folder / "temporary").mkdir()
    return folder


@pytest.fixture(scope="session")
def checkpoints(root) -> Path:
    """Return the folder of three small models of random weights."""
    return root / "checkpoints"


@pytest.fixture(scope="session")
def images(root) -> Path:
    """Return the folder of five patches; the third has nulls, the last no label."""
    return root / "set" / "images"


@pytest.fixture(scope="session")
def arguments(images, checkpoints) -> list[str]:
    """Return the arguments of an app.py that shows `images` with `checkpoints`."""
    return ["-i", str(images), "--checkpoints", str(checkpoints), "--preload"]


@pytest.fixture(scope="session")
def segmenter(checkpoints) -> Segmenter:
    """Load the models of the server in this process."""
    return Segmenter(sorted(checkpoints.iterdir()), "cpu")


@pytest.fixture(scope="session")
def server(arguments, root) -> Iterator[Server]:
    """Run the page; its temporary files go to `root / "temporary"`."""
    with running(arguments, TMPDIR=str(root / "temporary"), PYTHONWARNINGS="") as one:
        yield one


@pytest.fixture(scope="session")
def url(server) -> str:
    """Return the address of the page."""
    return server.url


@pytest.fixture(scope="session")
def large_set_url(checkpoints, tmp_path_factory) -> Iterator[str]:
    """Run a page of 66 patches: wells 3, 9 (60 patches) and 12, then z1.npy to z4.npy.

    The last four have 144, 72, 36 and 144 columns.
    """
    folder = make_folder(tmp_path_factory.mktemp("large_set"), 60)
    for well in (3, 12):
        np.save(folder / f"well_{well}_patch_2.npy", make_patch(100 + well))
    double = np.hstack([make_patch(3), make_patch(4)])
    wide = [np.hstack([double, double]), double, make_patch(1), np.hstack([double, double])]
    for number, patch in enumerate(wide, 1):
        np.save(folder / f"z{number}.npy", patch)
    with serve(["-i", str(folder), "--checkpoints", str(checkpoints), "--preload"]) as address:
        yield address


@pytest.fixture(scope="session")
def routes(segmenter, images) -> list[tuple[str, str]]:
    """Return method and path of every route that Gradio has, new ones included."""

    async def make() -> list[BaseRoute]:  # without a loop Gradio opens one and leaves it open
        demo = build(segmenter, load_set([str(images)], ""))
        kwargs = launch_options("127.0.0.1", "", ())["app_kwargs"]
        return gr.routes.App.create_app(demo, mcp_server=True, app_kwargs=kwargs).routes

    found = set(walk(asyncio.run(make())))
    assert {("GET", f"{API}/file={{path_or_url:path}}"), ("POST", f"{API}/upload")} <= found
    assert ("POST", f"{API}/component_server") in found
    assert len(found) > 60
    return sorted(found)


def walk(routes: list[BaseRoute], start: str = "") -> Iterator[tuple[str, str]]:
    """Yield method and path of routes and of those mounted below them."""
    for route in routes:
        if isinstance(route, Mount):
            yield "POST", start + route.path + "/"
            yield from walk(route.routes or [], start + route.path)
        elif hasattr(route, "path"):
            yield from ((m, start + route.path) for m in route.methods or ["GET"])
        else:  # a router that FastAPI resolves at the first request
            yield from walk(route.original_router.routes, start)


@pytest.fixture(scope="session")
def spoilt_set(tmp_path_factory) -> Path:
    """Copy two wells of the samples; return the folder of the patches.

    The label EMPTIED is empty, SHIFTED is shifted by 3 columns, that of well_2_patch_8.npy is
    missing. One more file belongs to no well; its name is FORMULA.
    """
    root, samples = (
        tmp_path_factory.mktemp("spoilt_set"),
        ROOT / "geoseg" / "samples" / "validation",
    )
    names = [f"well_{well}_patch_{k}.npy" for well, k in [(1, 2), (1, 3), (1, 5), (2, 5), (2, 6)]]
    names += ["well_2_patch_7.npy", "well_2_patch_8.npy"]
    for kind in ("images", "labels"):
        (root / kind).mkdir()
        for name in names:
            shutil.copy(samples / kind / name, root / kind / name)
        shutil.copy(samples / kind / "well_3_patch_12.npy", root / kind / FORMULA)
    label = np.load(root / "labels" / EMPTIED)
    assert label.any()
    np.save(root / "labels" / EMPTIED, np.zeros_like(label))
    np.save(root / "labels" / SHIFTED, np.roll(np.load(root / "labels" / SHIFTED), 3, 1))
    (root / "labels" / "well_2_patch_8.npy").unlink()
    return root / "images"


@pytest.fixture(scope="session")
def spoilt_patches(spoilt_set) -> PatchSet:
    """Load the spoilt set."""
    return load_set([str(spoilt_set)], "")


@pytest.fixture(scope="session")
def shipped() -> Segmenter:
    """Load two checkpoints that ship."""
    files = find_checkpoints(ROOT / "checkpoints")
    return Segmenter([f for f in files if f.stem in SHIPPED], "cpu")


@pytest.fixture(scope="session")
def spoilt_probabilities(spoilt_patches, shipped) -> dict[str, np.ndarray]:
    """Return what the shipped checkpoints answer for the spoilt set: (B, Z, A) by name."""
    return shipped.probabilities(np.stack([e.patch for e in spoilt_patches.entries]), SHIPPED)


@pytest.fixture
def open_page(browser, url):
    """Give a function that opens the page of `url` as a new user."""
    with screens(browser, url) as open_one:
        yield open_one


@pytest.fixture(scope="session")
def tab(browser) -> Iterator:
    """Open a tab that `screen` uses again and again: a new context takes three times as long."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="light")
    yield context.new_page()
    context.close()


@pytest.fixture
def screen(tab, url) -> Iterator[Screen]:
    """Open the page with its strip, as a new user."""
    opened = Screen(tab, url)
    opened.page.wait_for_selector(".gs-cell")  # the list of patches comes after the first patch
    yield opened
    opened.leave()
    assert not opened.faults

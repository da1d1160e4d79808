"""One notebook and one run of it for all tests of `python -m train.remote`."""

import os
import subprocess
import sys

import pytest

from tests.helpers.remote_training import COMMAND, SMALL
from tests.helpers.synthetic_data import make_data
from train.remote.__main__ import main

# Run the cells of a notebook in one process and one namespace, as a kernel does.
KERNEL = """
import json, sys
space = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
"""


@pytest.fixture(scope="session")
def notebook_folder(tmp_path_factory):
    """Write a notebook and its metadata without pushing them."""
    folder = tmp_path_factory.mktemp("remote") / "folder"
    assert main([*COMMAND, "--folder", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="session")
def results(notebook_folder, tmp_path_factory):
    """Run the notebook with a mounted data set; return the folder that Kaggle would keep."""
    place = tmp_path_factory.mktemp("kaggle")
    make_data(place / "input" / "slb-set" / "deep", 4, 40)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("WANDB")},
        "GEOSEG_INPUT": str(place / "input"),
        "GEOSEG_OUTPUT": str(place / "working"),
        "TMPDIR": str(place),
        "HOME": str(place),
        "OMP_NUM_THREADS": "1",
    }
    answer = subprocess.run(
        [sys.executable, "-c", KERNEL, str(notebook_folder / "train.ipynb")],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "epoch 1/1" in answer.stdout
    assert "tracks offline" in answer.stdout
    return place / "working"


@pytest.fixture(scope="session")
def kaggle_server():
    """Run one fake Kaggle for all tests."""
    pytest.importorskip("kaggle", reason="needs pip install kaggle")
    from tests.helpers.kaggle_server import serving

    with serving() as server:
        yield server


@pytest.fixture
def kaggle(kaggle_server, monkeypatch, tmp_path):
    """Use the fake Kaggle, with a login and no notebook."""
    from tests.helpers.kaggle_server import use

    kaggle_server.reset()
    use(kaggle_server.url, monkeypatch, str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    kaggle_server.answers["GetKernelSessionStatus"] = (200, {"status": "COMPLETE"})
    return kaggle_server


@pytest.fixture
def finished_notebook(kaggle, results):
    """Let the fake Kaggle serve the results of the notebook."""
    files = []
    for path in results.iterdir():
        kaggle.answers[f"/files/{path.name}"] = (200, path.read_bytes())
        files.append({"fileName": path.name, "url": f"{kaggle.url}/files/{path.name}"})
    kaggle.answers["ListKernelSessionOutput"] = (200, {"files": files, "log": ""})
    return kaggle

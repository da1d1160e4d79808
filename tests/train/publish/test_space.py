"""The bundle of a Space: what is in it, how it gets to the Hub, and that it runs by itself."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from huggingface_hub import RepoCard
from packaging.requirements import Requirement

from benchmarks.server import ROOT, make_patch, running
from tests.helpers.hub_server import interrupt_during
from tests.helpers.synthetic_data import exit_code, make_checkpoint
from tests.helpers.zerogpu_scheduler import lending
from train import space
from train.publish import upload

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SHOWN_FIRST = {"402-unet", "1004-flexible-unet-8bit", "3000-ring-unet"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One small checkpoint."""
    folder = tmp_path_factory.mktemp("small")
    return str(make_checkpoint(folder / "300-vanilla.safetensors", "vanilla", widths=[4]))


@pytest.fixture
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def bundle(folder: Path, *arguments: str) -> Path:
    """The bundle that the command writes into a new folder."""
    assert space.main(["--to", "me/geoseg", "--dry-run", str(folder), *arguments]) == 0
    return folder


def pins(folder: Path) -> dict[str, str]:
    lines = (folder / "requirements.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if not line.startswith(("#", "--"))]
    return {one.name: str(one.specifier) for one in wanted}


def test_a_bundle_is_what_the_page_needs_and_no_more(tmp_path):
    (ROOT / "geoseg" / "__pycache__").mkdir(exist_ok=True)
    folder = bundle(tmp_path / "space")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    top = {name.split("/")[0] for name in found}
    wanted = {"README.md", "requirements.txt", "app.py", "LICENSE", "geoseg", "checkpoints"}
    assert top == wanted
    assert {f"checkpoints/{name}.safetensors" for name in SHOWN_FIRST} == {
        name for name in found if name.startswith("checkpoints/")
    }
    assert "geoseg/page/page.css" in found
    assert any(name.endswith(".npy") for name in found)
    assert not [name for name in found if "__pycache__" in name or "/." in name]


def test_checkpoints_are_chosen(tmp_path, small):
    def held(folder: Path) -> set[str]:
        return {path.name for path in (folder / "checkpoints").iterdir()}

    shipped = {path.name for path in ROOT.glob("checkpoints/*.safetensors")}
    assert held(bundle(tmp_path / "all", "--all")) == shipped
    folder = bundle(tmp_path / "one", "--checkpoints", small)
    assert held(folder) == {"300-vanilla.safetensors"}
    assert held(bundle(tmp_path / "again", "--checkpoints", str(folder / "checkpoints"))) == held(
        folder
    )


@pytest.mark.parametrize(
    ("hardware", "torch"),
    [("zero-gpu", "==2.11.0"), ("t4-small", "==2.10.0"), ("l40sx1", "==2.10.0"), ("cpu-basic", "")],
)
def test_requirements_are_pinned_to_what_the_hardware_has(tmp_path, small, hardware, torch):
    folder = bundle(tmp_path / "space", "--hardware", hardware, "--checkpoints", small)
    found = pins(folder)
    assert found["torch"].startswith(torch or "==")
    assert ("spaces" in found) == (hardware == "zero-gpu")
    assert "wandb" not in found
    text = (folder / "requirements.txt").read_text()
    assert ("https://download.pytorch.org/whl/cpu" in text) == (hardware == "cpu-basic")
    assert all(pin.startswith("==") for name, pin in found.items() if name != "spaces")
    front = RepoCard((folder / "README.md").read_text()).data
    assert f"=={front['sdk_version']}" == found["gradio"]
    assert (front["sdk"], front["app_file"], front["python_version"]) == (
        "gradio",
        "app.py",
        "3.12",
    )
    for name in ("title", "emoji", "colorFrom", "colorTo", "short_description", "tags", "license"):
        assert front[name]
    assert len(front["short_description"]) <= 60  # what the Hub takes
    suggested = front.get("suggested_hardware")
    assert suggested == (None if hardware == "zero-gpu" else hardware)


def test_a_space_is_made_in_one_commit_and_replaced_as_a_whole(logged_in, small, capsys):
    where = ["--to", "me/geoseg", "--checkpoints", small]
    assert space.main(where) == 0
    assert "https://huggingface.co/spaces/me/geoseg" in capsys.readouterr().out
    made = logged_in.repositories["spaces/me/geoseg"]
    assert made.messages == ["", "The page of geoseg"]
    assert (made.facts["sdk"], made.facts["hardware"]) == ("gradio", "zero-a10g")
    made.commit({**made.files(), "geoseg/old.py": b"", "notes.txt": b""})
    assert space.main([*where, "--hardware", "t4-small"]) == 0
    assert not {"geoseg/old.py", "notes.txt"} & made.files().keys()
    assert b"torch==2.10.0" in made.files()["requirements.txt"]
    assert made.facts["hardware"] == "t4-small"
    assert len(made.commits) == 4


def test_a_page_is_not_moved_to_other_hardware_unasked(logged_in, small, capsys):
    where = ["--to", "me/geoseg", "--checkpoints", small]
    assert space.main([*where, "--hardware", "t4-small"]) == 0
    assert space.main(where) == 1
    told = capsys.readouterr()
    assert "me/geoseg runs on t4-small; add --hardware t4-small, or --hardware zero" in told.err
    assert "for t4-small:" in told.out
    assert space.main([*where, "--hardware", "zero-gpu"]) == 0
    assert logged_in.repositories["spaces/me/geoseg"].facts["hardware"] == "zero-a10g"


def test_nothing_goes_that_only_lies_there(tmp_path):
    root = tmp_path / ".hidden" / "clone"
    for name in ("app.py", "LICENSE", "geoseg/a.py", "geoseg/notes.txt", "geoseg/.b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "geoseg" / "link.txt").symlink_to("/etc/passwd")

    def names():
        return {path.relative_to(root).as_posix() for path in space.find_code(root)}

    assert names() == {"app.py", "LICENSE", "geoseg/a.py", "geoseg/notes.txt"}
    for command in (["init", "--quiet"], ["add", "app.py", "LICENSE", "geoseg/a.py"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    assert names() == {"app.py", "LICENSE", "geoseg/a.py"}
    assert space.find_unknown(root) == ["geoseg/.b.py", "geoseg/link.txt", "geoseg/notes.txt"]


def test_hardware_is_as_before_after_an_interrupt(logged_in, small, capsys, monkeypatch):
    where = ["--to", "me/geoseg", "--checkpoints", small]
    assert space.main([*where, "--hardware", "cpu-basic"]) == 0
    interrupt_during("request_space_hardware", monkeypatch)
    assert space.main([*where, "--hardware", "t4-small"]) == 130
    assert logged_in.repositories["spaces/me/geoseg"].facts["hardware"] == "cpu-basic"


def test_hardware_is_as_before_where_the_commit_fails(logged_in, small, capsys):
    where = ["--to", "me/geoseg", "--checkpoints", small]
    assert space.main([*where, "--hardware", "cpu-basic"]) == 0
    made = logged_in.repositories["spaces/me/geoseg"]
    logged_in.failing["POST .*/commit/"] = 500
    assert space.main([*where, "--hardware", "t4-small"]) == 1
    assert made.facts["hardware"] == "cpu-basic"
    assert len(made.commits) == 2
    logged_in.failing = {"POST .*/hardware": 402}
    assert space.main([*where, "--hardware", "t4-small"]) == 1
    assert "it must be paid for" in capsys.readouterr().err
    assert len(made.commits) == 2


def test_another_space_is_not_touched(logged_in, small, capsys):
    logged_in.make("spaces/me/shiny", {"app.R": b""}, facts={"sdk": "docker"})
    logged_in.make("spaces/me/other", {"app.py": b"", "README.md": b""}, facts={"sdk": "gradio"})
    logged_in.make("models/me/model", {})
    for name, said in (
        ("shiny", "me/shiny is a Space of docker; choose another name"),
        ("other", "me/other holds another app; choose another name"),
        ("model", "me/model is a model, and two of one name"),
    ):
        assert space.main(["--to", f"me/{name}", "--checkpoints", small]) == 1
        assert said in capsys.readouterr().err
    logged_in.make("spaces/me/fresh", {"README.md": b""}, facts={"sdk": "gradio"})
    assert space.main(["--to", "me/fresh", "--checkpoints", small]) == 0


def test_mistakes_of_the_command_line(tmp_path, monkeypatch, capsys):
    for arguments, said in (
        (["--to", "geoseg"], "write USER/NAME of a space"),
        (["--to", "me/geoseg", "--hardware", "abacus"], "invalid choice: 'abacus'"),
        (["--to", "me/geoseg", "--all", "--checkpoints", "x"], "not allowed with argument"),
        (["--to", "me/geoseg", "--checkpoints", "none.safetensors"], "there is no such file"),
        (["--to", "me/geoseg", "--checkpoints", str(tmp_path)], "holds no checkpoint"),
    ):
        assert exit_code(space.main, arguments) == 2
        assert said in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(upload, "get_token", lambda: None)
    assert space.main(["--to", "me/geoseg"]) == 1
    assert "nobody is logged in" in capsys.readouterr().err


def segment(url: str, folder: Path) -> np.ndarray:
    """The mask of one patch, by the endpoint."""
    np.save(folder / "patch.npy", make_patch(1))
    client = Client(url, verbose=False)
    answer = client.predict(handle_file(str(folder / "patch.npy")), api_name="/segment")
    (model,) = answer["models"].values()
    return np.array(model["mask"])


def test_the_bundle_runs_as_a_space_starts_it(tmp_path, small):
    """On ZeroGPU where the package `spaces` is at hand, else on a machine of its own."""
    folder = bundle(tmp_path / "space", "--checkpoints", small)
    told = {"GRADIO_SERVER_NAME": "127.0.0.1", "SPACE_ID": "me/geoseg"}
    zero = find_spec("spaces") is not None
    script = ROOT / "tests" / "lent.py" if zero else folder / "app.py"
    with lending() as lender:
        if zero:
            told["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
            told |= lender.environment
        with running(program=[sys.executable, str(script)], **told) as server:
            assert segment(server.url, tmp_path).shape == (36, 36)
        assert lender.names() == ["startup-report"] * zero


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_bundle_runs_with_exactly_its_requirements(tmp_path, small):
    """In an environment of its own, with the Space's Python where it is on the path.

    PyPI's PyTorch is one with CUDA, as on ZeroGPU, some gigabytes; without a GPU it computes on the
    processor. All of `spaces` is real.
    """
    folder = bundle(tmp_path / "space", "--checkpoints", small)
    python = make_environment(tmp_path / "venv", folder / "requirements.txt")
    told = {"GRADIO_SERVER_NAME": "127.0.0.1", "SPACE_ID": "me/geoseg", "PYTHONPATH": ""}
    program = [str(python), str(folder / "app.py")]
    with lending() as lender, running(program=program, **lender.environment, **told) as server:
        assert segment(server.url, tmp_path).shape == (36, 36)
        assert lender.names() == ["startup-report"]


def make_environment(folder: Path, requirements: Path) -> Path:
    """A fresh environment with these requirements; gives its Python."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def ask(*command: object) -> str:
        line = [str(part) for part in command]
        return subprocess.run(line, env=clean, check=True, stdout=subprocess.PIPE, text=True).stdout

    try:
        ask(f"python{space.PYTHON}", "-m", "venv", folder)
    except (OSError, subprocess.CalledProcessError):
        ask(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    ask(*pip, "install", "--quiet", "-r", requirements)
    ask(*pip, "check")
    installed = ask(*pip, "freeze").splitlines()
    print(ask(python, "-V"), *(line for line in installed if line.startswith(("torch", "spaces"))))
    return python

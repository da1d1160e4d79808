"""`python -m train.space`: its files, their upload to a fake Hub, and that they run."""

import os
import shutil
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
from tests.helpers.synthetic_data import exit_code, make_checkpoint
from tests.helpers.zerogpu_scheduler import lending
from train import space

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SHOWN_FIRST = {"402-unet", "1004-flexible-unet-8bit", "3000-ring-unet"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return one small checkpoint."""
    folder = tmp_path_factory.mktemp("small")
    return str(make_checkpoint(folder / "300-vanilla.safetensors", "vanilla", widths=[4]))


@pytest.fixture
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def bundle(folder: Path, *arguments: str) -> Path:
    """Write the files of a Space into a new folder and return it."""
    assert space.main(["--to", "me/geoseg", "--dry-run", str(folder), *arguments]) == 0
    return folder


def pins(folder: Path) -> dict[str, str]:
    lines = (folder / "requirements.txt").read_text().splitlines()
    required = [Requirement(line) for line in lines if not line.startswith(("#", "--"))]
    return {one.name: str(one.specifier) for one in required}


def test_bundle_holds_only_what_the_page_needs(tmp_path):
    (ROOT / "geoseg" / "__pycache__").mkdir(exist_ok=True)
    folder = bundle(tmp_path / "space")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert len(found) <= 250  # what huggingface_hub uploads in one commit
    top = {name.split("/")[0] for name in found}
    expected = {"README.md", "requirements.txt", "app.py", "LICENSE", "geoseg", "checkpoints"}
    assert top == expected
    assert {f"checkpoints/{name}.safetensors" for name in SHOWN_FIRST} == {
        name for name in found if name.startswith("checkpoints/")
    }
    assert "geoseg/page/page.css" in found
    assert any(name.endswith(".npy") for name in found)
    assert not [name for name in found if "__pycache__" in name or "/." in name]
    assert not [name for name in found if "/validation/" in name and name.endswith(".py")]


def test_options_choose_the_checkpoints(tmp_path, small):
    def names(folder: Path) -> set[str]:
        return {path.name for path in (folder / "checkpoints").iterdir()}

    shipped = {path.name for path in ROOT.glob("checkpoints/*.safetensors")}
    assert names(bundle(tmp_path / "all", "--all")) == shipped
    folder = bundle(tmp_path / "one", "--checkpoints", small)
    assert names(folder) == {"300-vanilla.safetensors"}
    assert names(bundle(tmp_path / "again", "--checkpoints", str(folder / "checkpoints"))) == names(
        folder
    )


@pytest.mark.parametrize(
    ("hardware", "torch"),
    [("zero-gpu", "==2.11.0"), ("t4-small", "==2.10.0"), ("l40sx1", "==2.10.0"), ("cpu-basic", "")],
)
def test_requirements_are_pinned_for_the_hardware(tmp_path, small, hardware, torch):
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
    assert len(front["short_description"]) <= 60  # the Hub's limit
    suggested = front.get("suggested_hardware")
    assert suggested == (None if hardware == "zero-gpu" else hardware)


def test_space_is_created_in_one_commit_and_replaced_as_a_whole(logged_in, small, capsys):
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


def test_existing_space_changes_hardware_only_on_request(logged_in, small, capsys):
    where = ["--to", "me/geoseg", "--checkpoints", small]
    assert space.main([*where, "--hardware", "t4-small"]) == 0
    assert space.main(where) == 1
    output = capsys.readouterr()
    assert "me/geoseg runs on t4-small; add --hardware t4-small, or --hardware zero" in output.err
    assert "for t4-small:" in output.out
    assert space.main([*where, "--hardware", "zero-gpu"]) == 0
    assert logged_in.repositories["spaces/me/geoseg"].facts["hardware"] == "zero-a10g"


def test_untracked_files_are_not_sent(tmp_path):
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
    untracked = space.list_files(root, "--others", "--exclude-standard")
    assert untracked == ["geoseg/.b.py", "geoseg/link.txt", "geoseg/notes.txt"]


def test_refused_hardware_or_commit_changes_no_file(logged_in, small, capsys):
    where = ["--to", "me/geoseg", "--checkpoints", small]
    assert space.main([*where, "--hardware", "cpu-basic"]) == 0
    made = logged_in.repositories["spaces/me/geoseg"]
    before = made.files()
    logged_in.failing["POST .*/commit/"] = 500
    assert space.main([*where, "--hardware", "t4-small"]) == 1
    assert "the Hub answers 500; check the login" in capsys.readouterr().err
    assert made.files() == before
    logged_in.failing = {"POST .*/hardware": 402}
    assert space.main([*where, "--hardware", "l4x1"]) == 1
    assert "the Hub answers 402; check the login" in capsys.readouterr().err
    assert made.files() == before
    logged_in.failing.clear()
    assert space.main([*where, "--hardware", "l4x1"]) == 0
    assert made.facts["hardware"] == "l4x1"
    assert len(made.commits) == 3


def test_other_spaces_are_not_overwritten(logged_in, small, capsys):
    logged_in.make("spaces/me/shiny", {"app.R": b""}, facts={"sdk": "docker"})
    logged_in.make("spaces/me/other", {"app.py": b"", "README.md": b""}, facts={"sdk": "gradio"})
    for name in ("shiny", "other"):
        assert space.main(["--to", f"me/{name}", "--checkpoints", small]) == 1
        assert f"me/{name} holds another app; choose another name" in capsys.readouterr().err
    logged_in.make("spaces/me/fresh", {"README.md": b""}, facts={"sdk": "gradio"})
    assert space.main(["--to", "me/fresh", "--checkpoints", small]) == 0


def test_wrong_command_line_exits_with_2(tmp_path, capsys):
    for arguments, message in (
        (["--to", "geoseg"], "'geoseg' is not the name of a space; write USER/NAME"),
        (["--to", "me/geoseg", "--hardware", "abacus"], "invalid choice: 'abacus'"),
        (["--to", "me/geoseg", "--all", "--checkpoints", "x"], "not allowed with argument"),
        (["--to", "me/geoseg", "--checkpoints", "none.safetensors"], "there is no such file"),
        (["--to", "me/geoseg", "--checkpoints", str(tmp_path)], "holds no checkpoint"),
    ):
        assert exit_code(space.main, arguments) == 2
        assert message in capsys.readouterr().err


def segment(url: str, folder: Path) -> np.ndarray:
    """Return the mask of one patch from the API."""
    np.save(folder / "patch.npy", make_patch(1))
    client = Client(url, verbose=False)
    answer = client.predict(handle_file(str(folder / "patch.npy")), api_name="/segment")
    (model,) = answer["models"].values()
    return np.array(model["mask"])


def test_bundle_runs_as_a_space_starts_it(tmp_path, small):
    """Simulate ZeroGPU if the package `spaces` is installed, else a Space with its own hardware."""
    folder = bundle(tmp_path / "space", "--checkpoints", small)
    variables = {"GRADIO_SERVER_NAME": "127.0.0.1", "SPACE_ID": "me/geoseg"}
    zero = find_spec("spaces") is not None
    script = folder / "app.py"
    with lending() as lender:
        if zero:
            script = folder / "zerogpu_app.py"  # there, so that it imports the bundle's app.py
            shutil.copy(ROOT / "tests" / "helpers" / script.name, script)
            variables |= lender.environment
        with running(program=[sys.executable, str(script)], **variables) as server:
            assert segment(server.url, tmp_path).shape == (36, 36)
        assert lender.names() == ["startup-report"] * zero


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_bundle_runs_with_exactly_its_requirements(tmp_path, small):
    """Use a fresh environment, with the Space's Python if it is on the path.

    PyPI's PyTorch has CUDA, as on ZeroGPU: some gigabytes. Without a GPU it computes on the CPU.
    """
    folder = bundle(tmp_path / "space", "--checkpoints", small)
    python = make_environment(tmp_path / "venv", folder / "requirements.txt")
    variables = {"GRADIO_SERVER_NAME": "127.0.0.1", "SPACE_ID": "me/geoseg", "PYTHONPATH": ""}
    program = [str(python), str(folder / "app.py")]
    with lending() as lender, running(program=program, **lender.environment, **variables) as server:
        assert segment(server.url, tmp_path).shape == (36, 36)
        assert lender.names() == ["startup-report"]


def make_environment(folder: Path, requirements: Path) -> Path:
    """Create an environment with these requirements and return its Python."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: object) -> str:
        line = [str(part) for part in command]
        return subprocess.run(line, env=clean, check=True, stdout=subprocess.PIPE, text=True).stdout

    try:
        run(f"python{space.PYTHON}", "-m", "venv", folder)
    except (OSError, subprocess.CalledProcessError):
        run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "-r", requirements)
    run(*pip, "check")
    installed = run(*pip, "freeze").splitlines()
    print(run(python, "-V"), *(line for line in installed if line.startswith(("torch", "spaces"))))
    return python

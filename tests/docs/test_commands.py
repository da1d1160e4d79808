"""Run every command and every Python example of the documents.

Each distinct command runs once, in this process where possible, in a folder with the names that the
documents use: small checkpoints, few patches, two short runs. `REDUCED` and `NOT_RUN` say what is
changed and what cannot be run here, and why. A command inside a sentence may be incomplete: it runs
with `--help`.
"""

import importlib
import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from functools import partial
from glob import glob
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from geoseg import Normalisation, create_model, save_checkpoint, synthesize
from tests.helpers import ROOT
from tests.helpers.documents import fenced_blocks
from tests.helpers.synthetic_data import exit_code, make_data

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
RUN_ELSEWHERE = {"api.md": "tests/page/test_api.py runs its examples against a server"}

# Command prefixes that are not run, each with the reason.
NOT_RUN = {
    "hf buckets": "writes to an account at Hugging Face; a program of huggingface_hub",
}
# (pattern, replacement, reason): what is changed in a command before it runs.
REDUCED = [
    (r"^torchrun --nproc-per-node 2 -m", "python -m", "tests/train/test_distributed.py starts two"),
    (r"^(python -m train( .*)?)$", r"\1 --epochs 1 --device cpu", "recipes take hours"),
    (r"--fresh\b", "--fresh 32", "8,192 patches an epoch take minutes"),
    (r"--wandb-mode offline", "--wandb-mode disabled", "tests/train/test_tracking.py tracks runs"),
    (r"^(python -m train\.remote .*) -p\b", r"\1", "tests/train/remote pushes to a stand-in"),
    (
        r"^(python -m train\.remote .*) --fetch\b",
        r"\1",
        "tests/train/remote fetches from a stand-in",
    ),
    (r"^hf jobs uv run", "hf jobs uv run --dry-run", "rents a machine at Hugging Face"),
    (r"dataset download", "dataset download --dry-run --out new", "asks Kaggle"),
    (r"--patches 9674", "--patches 45", "takes seconds"),
    (r"(synthetic\.compare .*)", r"\1 --wells 2 --rows 400", "takes minutes"),
    (r"^(python app\.py((?! --checkpoints).)*)$", r"\1 --checkpoints checkpoints", "small models"),
    (r"\bREAL\b", "data", "a placeholder"),
    (r"\bSRC --out data --validation 2 7", "logs --out imported", "data/ is there already"),
    (r"\bLOG\b", "well.npy", "a placeholder"),
    (r"\bPROXY\b", "mask.npy", "a placeholder"),
]
# Exit codes that are a result and no failure, by a part of the command.
RESULTS = {"geoseg.dataset check": {0, 1}}
MODELS = {
    "200-stacked": ("stacked", {"width": 4}),
    "300-vanilla": ("vanilla", {"widths": [4, 4]}),
    "402-unet": ("unet", {"width": 4}),
    "1004-flexible-unet": ("flexible_unet", {"width": 2}),
    "3000-ring-unet": ("ring_unet", {"widths": [4, 4]}),
}


def find_commands() -> dict[str, str]:
    """Return each distinct command of the documents and the place where it is first."""
    commands: dict[str, str] = {}
    for path in DOCUMENTS:
        if path.name in RUN_ELSEWHERE:
            continue
        for language, text, first in fenced_blocks(path):
            if language in ("", "sh"):
                for number, line in enumerate(text.splitlines(), first):
                    command = re.sub(r"(^|\s+)#.*", "", line).strip()
                    if command:
                        commands.setdefault(command, f"{path.name}:{number}")
        prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for command in re.findall(r"`((?:make|pip|python) [^`\n]+)`", prose):
            is_python = command.startswith("python")
            commands.setdefault(command + " --help" * is_python, path.name)
    return commands


def find_examples() -> dict[str, str]:
    """Return the Python examples of the documents by the place where they are."""
    return {
        f"{path.name}:{line}": text
        for path in DOCUMENTS
        for language, text, line in fenced_blocks(path)
        if language == "python" and path.name not in RUN_ELSEWHERE
    }


def split_words(command: str) -> list[str]:
    """Split a command as a shell does, with unquoted patterns expanded."""
    words = []
    for word in shlex.split(command, posix=False):
        if word[0] in "\"'":
            words.append(word[1:-1])
        elif "*" in word:
            words += sorted(glob(word))
        else:
            words.append(word)
    return words


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    """Make a folder with the names that the documents use."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "geoseg").mkdir()
    (folder / "geoseg" / "samples").symlink_to(ROOT / "geoseg" / "samples")
    shutil.copy(ROOT / "README.md", folder)
    (folder / "checkpoints").mkdir()
    scores = {"iou": 0.5, "micro_iou": 0.5, "on": "10 patches"}
    for name, (architecture, arguments) in MODELS.items():
        save_checkpoint(
            folder / "checkpoints" / f"{name}.safetensors",
            create_model(architecture, **arguments),
            normalisation=Normalisation(mask=architecture == "ring_unet"),
            experiment={"id": int(name.split("-")[0])},
            metrics={"wells left out": scores},
        )
    make_data(folder / "data", 15, 45)
    images = folder / "data" / "validation" / "images"
    (folder / "my_data").symlink_to("data")
    (folder / "my_folder").symlink_to("data/validation/images")
    (folder / "data" / "test" / "images").mkdir(parents=True)
    for number, path in enumerate(sorted(images.iterdir())[:3]):
        shutil.copy(path, folder / "data" / "test" / "images" / f"well_1_patch_{number}.npy")
    image, mask = (log[0].numpy() for log in synthesize(1, 108, seed=1))
    (folder / "logs" / "labels").mkdir(parents=True)
    (folder / "my_logs").mkdir()
    for place in ("well.npy", "logs/well_1.npy", "my_logs/well_1.npy"):
        np.save(folder / place, image)
    for place in ("mask.npy", "logs/labels/well_1.npy"):
        np.save(folder / place, mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(next(text for text in EXAMPLES.values() if '"well.dlis"' in text), {})
    return folder


@pytest.fixture
def here(reader, tmp_path, monkeypatch) -> Path:
    """Enter a copy of the reader's folder; make synthetic sets small; restore the environment."""
    folder = tmp_path / "reader"
    shutil.copytree(reader, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for name in ("FRESH_WELLS", "FRESH_PATCHES"):
        monkeypatch.setattr("train.evaluate.data." + name, 8)
    for name in ("VALIDATION_WELLS", "VALIDATION_PATCHES"):
        monkeypatch.setattr("train.data." + name, 8)
    with mock.patch.dict(os.environ, {"WANDB_MODE": "disabled"}):
        yield folder


@pytest.fixture
def repositories(request):
    """Fill the stand-in Hub with the repositories that the documents name."""
    hub = request.getfixturevalue("hub")
    name = "402-unet.safetensors"
    made = hub.make("models/user/repo", {name: Path("checkpoints", name).read_bytes()})
    made.commit({name: Path("checkpoints", name).read_bytes()}, branch="v2")
    os.environ["HF_TOKEN"] = "hf_writer"


def reduce(command: str) -> str:
    """Return the command without environment variables and with `REDUCED` applied."""
    command = re.sub(r"^([A-Z_]+=\S+ )+", "", command)
    for pattern, replacement, _ in REDUCED:
        command = re.sub(pattern, replacement, command)
    return command


def run_make(words: list[str]) -> int:
    """Ask make what it would do; naming a Python saves the search for one."""
    command = ["make", "-n", f"PYTHON={sys.executable}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode


def run_pip(words: list[str]) -> int:
    """Check that an extra exists that a command installs."""
    extras = re.findall(r"\.\[([\w,]+)\]", " ".join(words))
    text = (ROOT / "pyproject.toml").read_text()
    return int(not all(f"\n{extra} = [" in text for one in extras for extra in one.split(",")))


def run_hub_client(words: list[str]) -> int:
    """Run the Hub's command line, which asks nobody in a dry run."""
    assert "--dry-run" in words
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", *words]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, env=offline, capture_output=True).returncode


def run_app(words: list[str], monkeypatch) -> int:
    """Run the page's command line up to the moment when it would listen."""
    import app

    def interrupt():
        raise KeyboardInterrupt

    page = SimpleNamespace(close=lambda **_: None)
    monkeypatch.setattr("geoseg.page.build", lambda *_: page)
    monkeypatch.setattr("geoseg.page.launch", lambda *_: "http://127.0.0.1:7860")
    waiting = SimpleNamespace(Event=lambda: SimpleNamespace(wait=interrupt))
    monkeypatch.setattr(app, "threading", waiting)
    monkeypatch.setattr(app, "_check_address", lambda *_: None)
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
    return exit_code(app.main, words)


def run_script(path: Path, words: list[str], monkeypatch) -> int:
    """Run a Python file as a program."""
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    monkeypatch.syspath_prepend(path.parent)
    return exit_code(partial(runpy.run_path, run_name="__main__"), str(path))


def run_module(name: str, words: list[str], monkeypatch) -> int:
    """Run `python -m name`."""
    if name.startswith(("benchmarks", "docs")):
        return run_script(ROOT / f"{name.replace('.', '/')}.py", words, monkeypatch)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    package = spec.submodule_search_locations is not None
    return exit_code(importlib.import_module(name + ".__main__" * package).main, words)


def remove_output(words: list[str]) -> None:
    """Remove the output that the command makes, where the reader's folder has it already."""
    for option, value in pairwise(words):
        if option in ("-o", "--out") and Path(value).is_dir():
            shutil.rmtree(value)


def run(command: str, monkeypatch) -> int:
    """Run a command; return its exit code."""
    program, *rest = split_words(command)
    if program == "make":
        return run_make(shlex.split(command)[1:])
    if program == "pip":
        return run_pip(rest)
    if program == "hf":
        return run_hub_client(rest)
    assert program == "python", f"nothing here runs {program}; add it to NOT_RUN with the reason"
    if "--help" not in rest:
        remove_output(rest)
    if rest[0] == "app.py":
        return run_app(rest[1:], monkeypatch)
    if rest[0] == "-m":
        return run_module(rest[1], rest[2:], monkeypatch)
    return run_script(ROOT / rest[0], rest[1:], monkeypatch)


COMMANDS = {c: place for c, place in find_commands().items() if not c.startswith(tuple(NOT_RUN))}
EXAMPLES = find_examples()


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's upload
@pytest.mark.parametrize("command", COMMANDS, ids=[f"{p} {c}" for c, p in COMMANDS.items()])
def test_command_of_documents_runs(command, here, request, monkeypatch):
    if "hf://" in command or "--to " in command:
        request.getfixturevalue("repositories")
    if "train.report" in command:
        assert run("python -m train -e 300 301 --epochs 1 --cpu -nowb", monkeypatch) == 0
    elif "--checkpoints runs" in command:
        shutil.copytree("checkpoints", "runs")
    expected = next((codes for part, codes in RESULTS.items() if part in command), {0, None})
    assert run(reduce(command), monkeypatch) in expected


@pytest.mark.parametrize("place", EXAMPLES)
def test_python_example_of_documents_runs(place, here, request):
    if "hf://" in EXAMPLES[place]:
        request.getfixturevalue("repositories")
    exec(compile(EXAMPLES[place], place, "exec"), {})


def test_every_exception_is_used():
    found = find_commands()
    for prefix in NOT_RUN:
        assert any(command.startswith(prefix) for command in found), prefix
    reduced = [re.sub(r"^([A-Z_]+=\S+ )+", "", command) for command in found]
    for pattern, replacement, _ in REDUCED:
        assert any(re.search(pattern, command) for command in reduced), pattern
        reduced = [re.sub(pattern, replacement, command) for command in reduced]

"""Data walks one way: who may import what."""

import ast
import subprocess
import sys

import pytest

from tests.helpers import ROOT

SOURCES = sorted([ROOT / "app.py", *ROOT.glob("geoseg/**/*.py"), *ROOT.glob("train/**/*.py")])
# The one place that opens files of torch.save.
PICKLES = ROOT / "geoseg" / "original" / "weights.py"


def imports(path):
    """The modules that a file imports anywhere in it, functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def uses(path, package):
    return any(name == package or name.startswith(f"{package}.") for name in imports(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_import_rules(path):
    place = path.relative_to(ROOT).as_posix()
    if place.startswith("geoseg/"):
        assert not uses(path, "train")
    if not place.startswith(("geoseg/page/", "app.py")):
        assert not uses(path, "gradio")
        assert not uses(path, "geoseg.page")
    if place != "train/tracking.py":
        assert not uses(path, "wandb")
    # Beside checkpoints, the cache of a data set and the state of a run.
    if place not in {"geoseg/checkpoint.py", "geoseg/dataset/loading.py", "train/state.py"}:
        assert not uses(path, "safetensors")
    assert not uses(path, "pickle")
    if place.startswith("geoseg/") and place != "geoseg/hub.py":
        assert not uses(path, "huggingface_hub")
    if place != "geoseg/page/zerogpu.py":
        assert not uses(path, "spaces")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_patches_opens_patch_files(path):
    if path.name != "patches.py":
        loaders = {"load", "fromfile", "memmap", "open_memmap", "frombuffer", "loadtxt"}
        tree = ast.walk(ast.parse(path.read_text()))
        calls = {node.attr for node in tree if isinstance(node, ast.Attribute)} & loaders
        # PatchDataset.load and json.load are no loaders of arrays.
        assert calls <= {"load"}
        text = path.read_text()
        modules = {"np", "numpy", "torch"} - ({"torch"} if path == PICKLES else set())
        assert not any(f"{module}.load(" in text for module in modules)
        assert not any(uses(path, f"{module}.load") for module in ("numpy", "torch"))


def test_pickles_are_opened_for_their_weights_only():
    calls = [
        node
        for node in ast.walk(ast.parse(PICKLES.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load")
    ]
    assert [ast.unparse(call.func) for call in calls] == ["torch.load"]
    options = {k.arg: ast.literal_eval(k.value) for k in calls[0].keywords}
    assert options == {"map_location": "cpu", "weights_only": True}


def test_the_library_starts_without_page_tracking_or_training():
    code = "import sys, geoseg; print(*{m.split('.')[0] for m in sys.modules})"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"gradio", "wandb", "train"} & set(answer.stdout.split())


def test_the_public_names_are_there():
    import geoseg

    for name in geoseg.__all__:
        assert hasattr(geoseg, name), name
    promised = {"read_patch", "PatchError", "PatchDataset", "MODELS", "create_model", "scores"}
    promised |= {"save_checkpoint", "load_checkpoint", "import_original", "Segmenter", "synthesize"}
    assert promised <= set(geoseg.__all__)

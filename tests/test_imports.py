"""The walls of docs/architecture.md: which module may import which."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.helpers import ROOT

LIBRARY = sorted([ROOT / "app.py", *ROOT.glob("geoseg/**/*.py"), *ROOT.glob("train/**/*.py")])
AROUND = sorted([*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("docs/**/*.py")])
# The only file that opens pickles: weights of the original project.
PICKLES = "geoseg/original/weights.py"

# The only files that import a library or a package.
IMPORTERS = {
    "geoseg.page": ["geoseg/page/*", "app.py"],
    "gradio": ["geoseg/page/*", "app.py"],
    "huggingface_hub": ["geoseg/hub.py", "train/publish/*", "train/space.py"],
    "matplotlib": ["train/report/*", "train/evaluate/*"],
    "pickle": [],
    "safetensors": ["geoseg/checkpoint.py", "geoseg/dataset/*", "train/state.py"],
    "spaces": ["geoseg/page/zerogpu.py"],
    "tests": [],
    "train": ["train/*"],
    "wandb": ["train/tracking.py"],
}
# Packages that must not import another one, whatever else they import.
FORBIDDEN = [("geoseg/dataset/*", "geoseg.synthetic"), ("train/remote/*", "train.__main__")]


def place(path: Path) -> str:
    """Return a path below the root, with slashes."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text())


def imported_names(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that are imported anywhere below a node, functions included."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, "relative import"
            yield from (f"{part.module}.{alias.name}" for alias in part.names)


def is_in(name: str, package: str) -> bool:
    """Check that a dotted name is that of a package or of something in it."""
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("path", [*LIBRARY, *AROUND], ids=place)
def test_libraries_are_imported_only_where_they_belong(path):
    names = set(imported_names(tree_of(path)))
    for package, patterns in IMPORTERS.items():
        used = any(is_in(name, package) for name in names)
        allowed = any(fnmatch(place(path), pattern) for pattern in patterns)
        around = path in AROUND and package != "tests"  # benchmarks measure all of it
        assert not used or allowed or around, f"{place(path)} imports {package}"
    for pattern, package in FORBIDDEN:
        if fnmatch(place(path), pattern):
            assert not any(is_in(name, package) for name in names), package


def package_of(name: str, modules: set[str]) -> str:
    """Return the package that a dotted name belongs to; a module beside packages is one itself."""
    while name not in modules:
        name = name.rpartition(".")[0]
    depth = 2 if name.count(".") else 1
    return ".".join(name.split(".")[:depth])


@pytest.mark.parametrize("root", ["geoseg", "train"])
def test_packages_do_not_import_each_other_in_cycles(root):
    """The nodes are the modules and packages directly below the root, with all that is in them."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in LIBRARY
        if place(path).startswith(f"{root}/")
    }
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        owner = package_of(module, set(paths))
        names = (name for name in imported_names(tree_of(path)) if is_in(name, root))
        imported = {package_of(name, set(paths)) for name in names}
        graph.setdefault(owner, set()).update(imported - {owner})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the packages


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_only_patches_opens_patch_files(path):
    if path.name == "patches.py":
        return
    loaders = {"load", "fromfile", "memmap", "open_memmap", "frombuffer", "loadtxt"}
    tree = tree_of(path)
    calls = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} & loaders
    text_readers = {"geoseg/wells/csv_logs.py", "geoseg/wells/las.py"}
    # PatchDataset.load and json.load do not load arrays.
    assert calls <= {"load"} | ({"loadtxt"} if place(path) in text_readers else set())
    text, names = path.read_text(), set(imported_names(tree))
    modules = {"np", "numpy", "torch"} - ({"torch"} if place(path) == PICKLES else set())
    assert not any(f"{module}.load(" in text for module in modules)
    assert not names & {"numpy.load", "torch.load"}


def test_pickles_are_loaded_with_weights_only():
    calls = [
        node
        for node in ast.walk(tree_of(ROOT / PICKLES))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load")
    ]
    assert [ast.unparse(call.func) for call in calls] == ["torch.load"]
    options = {k.arg: ast.literal_eval(k.value) for k in calls[0].keywords}
    assert options == {"map_location": "cpu", "weights_only": True}


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_matplotlib_is_imported_inside_functions(path):
    for node in tree_of(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        assert not any(is_in(name, "matplotlib") for name in imported_names(node))


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_parsed_arguments_stay_in_the_file_that_parses_them(path):
    tree = tree_of(path)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "Namespace" not in names or "ArgumentParser" in names


def test_importing_geoseg_imports_no_gradio_wandb_or_train():
    code = "import sys, geoseg; print(*{m.split('.')[0] for m in sys.modules})"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"gradio", "wandb", "train"} & set(answer.stdout.split())


def test_the_public_names_exist():
    import geoseg

    for name in geoseg.__all__:
        assert hasattr(geoseg, name), name
    promised = {"read_patch", "PatchError", "PatchDataset", "MODELS", "create_model", "scores"}
    promised |= {"save_checkpoint", "load_checkpoint", "import_original", "Segmenter", "synthesize"}
    assert promised <= set(geoseg.__all__)

"""Put the page on a Hugging Face Space: `python -m train.space --to USER/NAME`.

One commit holds app.py, geoseg/, checkpoints, a README.md and the requirements for the hardware; it
replaces the earlier content of the Space.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import HfApi, RepoCard, SpaceHardware, SpaceInfo
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from geoseg.card import latest_per_architecture
from geoseg.checkpoint import (
    CheckpointError,
    checkpoint_name,
    find_checkpoints,
    read_card,
    resolve_checkpoint,
)
from geoseg.command_line import run_command
from geoseg.hub import CHECKPOINT_SUFFIX, HubError
from train.cards import TABLE_NOTE, load_named_models, make_summary_table
from train.git import ROOT, CloneError, run_git, warn_of_unsent_files
from train.publish.upload import (
    Bundle,
    Check,
    RepositoryInfo,
    UploadOptions,
    add_upload_arguments,
    deliver,
)

SHIPPED = ROOT / "checkpoints"
PYTHON = "3.12"
ZERO = "zero-gpu"  # its public name; the Hub's API calls it zero-a10g
HARDWARE = {
    ZERO: SpaceHardware.ZERO_A10G,
    **{h.value: h for h in SpaceHardware if h is not SpaceHardware.ZERO_A10G},
}
# ZeroGPU supports releases 2.8 to 2.11. Rented GPUs get the last release that PyPI has for CUDA 12,
# which runs with the drivers for 12 and 13.
ZERO_TORCH, GPU_TORCH = "2.11.0", "2.10.0"
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
# Not pinned: `spaces` must match the current protocol of the machine that lends the GPU.
SPACES = "spaces>=0.51,<1"
TRAINING_ONLY = ("wandb",)  # in requirements.txt, but not needed by the page
# Commands that the page does not import. huggingface_hub uploads 250 files in one commit.
COMMANDS_ONLY = (
    "geoseg/dataset/check/",
    "geoseg/synthetic/validation/",
    "geoseg/synthetic/compare",
)


@dataclass(frozen=True, kw_only=True)
class SpaceOptions(UploadOptions):
    """The command line of `python -m train.space`; None for options that were not given."""

    kind = "space"
    hardware: str | None
    checkpoints: list[str] | None


def make_bundle(files: list[Path], hardware: str) -> Bundle:
    """Return the files of a Space with these checkpoints; CheckpointError for an unusable one."""
    models = load_named_models(files)
    names = [f"checkpoints/{name}{CHECKPOINT_SUFFIX}" for name in models]
    return {
        "README.md": _make_readme(hardware, make_summary_table(models, files)).encode(),
        "requirements.txt": make_requirements(hardware).encode(),
        **{path.relative_to(ROOT).as_posix(): path for path in find_code()},
        **dict(zip(names, files, strict=True)),
    }


def find_code(root: Path = ROOT) -> list[Path]:
    """Return the files of the page that git tracks; without git all but hidden ones and links."""
    found = [root / name for name in list_files(root)]
    if not found:
        found = [root / "app.py", root / "LICENSE", *sorted((root / "geoseg").rglob("*"))]
    files = [
        path
        for path in found
        if path.is_file()
        and not path.is_symlink()
        and not path.relative_to(root).as_posix().startswith(COMMANDS_ONLY)
    ]
    return [path for path in files if path.suffix != ".pyc" and not path.name.startswith(".")]


def list_files(root: Path, *options: str) -> list[str]:
    """Return what git lists with `options`, by default the tracked ones, of the page's files."""
    try:
        names = run_git(root, "ls-files", "-z", *options, "--", "app.py", "LICENSE", "geoseg")
    except CloneError:
        return []
    return [name for name in names.decode().split("\0") if name]


def make_requirements(hardware: str) -> str:
    """Return the Space's requirements.txt: the releases installed here, PyTorch for `hardware`."""
    on_cpu = hardware.startswith("cpu")
    lines = [f"# For {hardware}, Python {PYTHON}.", *[CPU_INDEX] * on_cpu]
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if not line or line.startswith(("#", *TRAINING_ONLY)):
            continue
        required = Requirement(line)
        pin = version(required.name).split("+")[0]
        if required.name == "torch" and not on_cpu:
            pin = ZERO_TORCH if hardware == ZERO else GPU_TORCH
        required.specifier = SpecifierSet(f"=={pin}")
        lines.append(str(required))
    return "\n".join([*lines, *[SPACES] * (hardware == ZERO)]) + "\n"


def choose_checkpoints(places: Sequence[str] | None) -> list[Path]:
    """Return the checkpoints of files, folders and hf:// addresses.

    None means the shipped checkpoints that the page shows first. Raise CheckpointError for a place
    without a checkpoint.
    """
    if places is None:
        shipped = {checkpoint_name(path): path for path in find_checkpoints(SHIPPED)}
        first = latest_per_architecture({name: read_card(path) for name, path in shipped.items()})
        return [shipped[name] for name in shipped if name in first]
    found: list[Path] = []
    for place in places:
        is_file = place.endswith(CHECKPOINT_SUFFIX)
        files = [resolve_checkpoint(place)] if is_file else find_checkpoints(place)
        if not files:
            raise CheckpointError(f"{place} holds no checkpoint; name another folder")
        found += files
    return found


def make_check(hardware: str | None) -> Check:
    """Return a function that refuses other apps, and requests `hardware` if it was given."""

    def check(info: RepositoryInfo, files: set[str]) -> None:
        assert isinstance(info, SpaceInfo)
        if info.sdk not in (None, "gradio") or (files and "geoseg/__init__.py" not in files):
            raise HubError(f"{info.id} holds another app; choose another name")
        current = info.runtime and (info.runtime.requested_hardware or info.runtime.hardware)
        if hardware and current != HARDWARE[hardware]:
            HfApi().request_space_hardware(info.id, HARDWARE[hardware])
        elif files and current not in (None, HARDWARE[hardware or ZERO]):
            raise HubError(
                f"{info.id} runs on {current}; add --hardware {current}, or --hardware {ZERO} to "
                "move it"
            )

    return check


def parse_options(argv: list[str] | None) -> SpaceOptions:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.space", description=__doc__)
    add_upload_arguments(parser, "space", "The page of geoseg")
    hardware_help = f"{', '.join(HARDWARE)} (default: {ZERO}, which lends a GPU for each call)"
    parser.add_argument("--hardware", choices=list(HARDWARE), metavar="NAME", help=hardware_help)
    which = parser.add_mutually_exclusive_group()
    paths_help = "files, folders, or hf://user/repo (default: the shipped ones shown first)"
    which.add_argument("--checkpoints", nargs="+", metavar="PATH", help=paths_help)
    which.add_argument(
        "--all",
        dest="checkpoints",
        action="store_const",
        const=[str(SHIPPED)],
        help="all shipped checkpoints",
    )
    return SpaceOptions(**vars(parser.parse_args(argv)))


def send_page(options: SpaceOptions) -> int:
    """Make and upload the Space; return the exit code."""
    hardware = options.hardware or ZERO
    bundle = make_bundle(choose_checkpoints(options.checkpoints), hardware)
    warn_of_unsent_files(list_files(ROOT, "--others", "--exclude-standard"), "not tracked by git")
    print(f"for {hardware}:")
    creation = {"space_sdk": "gradio", "space_hardware": HARDWARE[hardware]}
    deliver(bundle, options, make_check(options.hardware), "*", **creation)
    if options.dry_run is None:
        print(f"the Space builds for some minutes: https://huggingface.co/spaces/{options.to}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Make and upload the Space of the command line; return the exit code."""
    stopped = "stopped; run the same command again to complete the upload"
    return run_command("space", lambda: send_page(parse_options(argv)), stopped)


def _make_readme(hardware: str, table: str) -> str:
    """Return the project's front matter for this hardware, and the table of checkpoints."""
    data = RepoCard((ROOT / "README.md").read_text("utf-8")).data
    data["sdk_version"], data["python_version"] = version("gradio"), PYTHON
    if hardware != ZERO:  # the Hub does not accept it as a suggestion
        data["suggested_hardware"] = hardware
    return f"---\n{data.to_yaml()}\n---\n\n{_TEXT}\n\n{table}\n\n{TABLE_NOTE}\n"


_TEXT = """\
# geoseg

Finds corrosion grooves in ultrasonic images of well pipes. Browse the synthetic samples, or open
your own `.npy` patches: only you see them, and they are kept in memory only, for four hours after
their last use. Help lists the addresses for programs. A mask is a proposal for a person who knows
the well."""


if __name__ == "__main__":
    sys.exit(main())

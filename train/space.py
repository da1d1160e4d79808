"""Put the page on a Hugging Face Space: `python -m train.space --to USER/NAME`.

It takes app.py, geoseg/, checkpoints, a README.md and requirements for the hardware, in one commit,
which replaces what the Space held before.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import RepoCard, SpaceHardware
from packaging.requirements import Requirement

from geoseg.card import latest_per_architecture
from geoseg.checkpoint import (
    CheckpointError,
    checkpoint_name,
    find_checkpoints,
    read_card,
    resolve_checkpoint,
)
from geoseg.hub import CHECKPOINT_SUFFIX, HubError, is_hub_address
from train.cards import MEANING, load_named, sizes, summary
from train.git import ROOT, CloneError, describe_unsent, git
from train.publish.upload import Bundle, Info, Look, add_arguments, deliver, read_target

PYTHON = "3.12"
ZERO = "zero-gpu"  # everybody but the Hub's interface calls it so
HARDWARE = {
    ZERO: SpaceHardware.ZERO_A10G,
    **{h.value: h for h in SpaceHardware if h is not SpaceHardware.ZERO_A10G},
}
# ZeroGPU has its own list of releases, 2.8 to 2.11. The GPUs that are rented get the last release
# that PyPI has for CUDA 12, which runs with the drivers for 12 and for 13.
ZERO_TORCH, GPU_TORCH = "2.11.0", "2.10.0"
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
# `spaces` speaks with the machine that lends the GPU, and must be of its day.
SPACES = "spaces>=0.51,<1"
TRAINING = {"wandb"}  # what requirements.txt has for training only


def make_bundle(files: list[Path], hardware: str) -> Bundle:
    """What a Space holds, by the path in it.

    ValueError where this is no clone of the project, or a checkpoint cannot be used.
    """
    models = load_named(files)
    code = find_code()
    if ROOT / "app.py" not in code:
        raise ValueError(f"there is no app.py in {ROOT}; run this from a clone of the project")
    return {
        "README.md": _readme(hardware, summary(models, sizes(files))).encode(),
        "requirements.txt": requirements(hardware).encode(),
        **{path.relative_to(ROOT).as_posix(): path for path in code},
        **{
            f"checkpoints/{name}{CHECKPOINT_SUFFIX}": p
            for name, p in zip(models, files, strict=True)
        },
    }


def find_code(root: Path = ROOT) -> list[Path]:
    """The files of the page: those that git knows, so that nothing goes which only lies there.

    Without git all that is no link.
    """
    found = [root / name for name in _listed(root)]
    if not found:
        found = [root / "app.py", root / "LICENSE", *sorted((root / "geoseg").rglob("*"))]
    return [path for path in found if path.is_file() and not _is_left_out(path, root)]


def find_unknown(root: Path = ROOT) -> list[str]:
    """What lies among the files of the page, and git neither knows nor ignores."""
    return _listed(root, "--others", "--exclude-standard")


def _listed(root: Path, *which: str) -> list[str]:
    try:
        names = git(root, "ls-files", "-z", *which, "--", "app.py", "LICENSE", "geoseg")
    except CloneError:
        return []
    return [name for name in names.decode().split("\0") if name]


def requirements(hardware: str) -> str:
    """What the Space installs: the releases that run here, and the PyTorch that runs there."""
    lines = []
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        wanted = Requirement(line)
        if wanted.name in TRAINING:
            continue
        pin = version(wanted.name).split("+")[0]
        if wanted.name == "torch" and not hardware.startswith("cpu"):
            pin = ZERO_TORCH if hardware == ZERO else GPU_TORCH
        if not wanted.specifier.contains(pin):
            raise ValueError(f"{wanted.name} {pin} is not what requirements.txt asks for; mend one")
        extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
        lines.append(f"{wanted.name}{extras}=={pin}")
    more = {ZERO: [SPACES]}.get(hardware, [])
    index = [CPU_INDEX] if hardware.startswith("cpu") else []
    return "\n".join([f"# For {hardware}, Python {PYTHON}.", *index, *lines, *more]) + "\n"


def choose(places: list[str] | None, everything: bool) -> list[Path]:
    """The checkpoints of files, folders and addresses; without any those that the page shows first.

    CheckpointError for a place that has none.
    """
    if places is None:
        shipped = {checkpoint_name(path): path for path in find_checkpoints(ROOT / "checkpoints")}
        first = latest_per_architecture({name: read_card(path) for name, path in shipped.items()})
        return [path for name, path in shipped.items() if everything or name in first]
    found: list[Path] = []
    for place in places:
        folder = Path(place).is_dir() or (
            is_hub_address(place) and not place.endswith(CHECKPOINT_SUFFIX)
        )
        held = find_checkpoints(place) if folder else [resolve_checkpoint(place)]
        if not held:
            raise CheckpointError(f"{place} holds no checkpoint; name another folder")
        found += held
    return found


def look(hardware: str | None) -> Look:
    """Lets nothing but an earlier page be replaced, that as a whole and where it runs.

    `hardware` is what was asked for; None for none in particular.
    """

    def check(info: Info, files: set[str]) -> set[str]:
        sdk = getattr(info, "sdk", None)
        if sdk not in (None, "gradio"):
            raise HubError(f"{info.id} is a Space of {sdk}; choose another name")
        if files and "geoseg/__init__.py" not in files:
            raise HubError(f"{info.id} holds another app; choose another name")
        runtime = getattr(info, "runtime", None)
        now = runtime and (runtime.requested_hardware or runtime.hardware)
        if files and now and hardware is None and now != HARDWARE[ZERO]:
            raise HubError(
                f"{info.id} runs on {now}; add --hardware {now}, or --hardware {ZERO} to move it"
            )
        return files

    return check


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.space", description=__doc__)
    add_arguments(parser, "space")
    parser.add_argument(
        "--hardware",
        choices=list(HARDWARE),
        metavar="NAME",
        help=f"{', '.join(HARDWARE)} (default: {ZERO}, which borrows a GPU by the call)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="PATH",
        help="files, folders, or hf://user/repo (default: of the shipped ones those that the page "
        "shows at first)",
    )
    which.add_argument("--all", action="store_true", help="all shipped checkpoints")
    arguments = parser.parse_args(argv)
    arguments.target = read_target(parser, arguments, "space", "The page of geoseg")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Make and send what the command line says; gives the exit code."""
    arguments = parse(argv)
    target, hardware = arguments.target, arguments.hardware or ZERO
    try:
        bundle = make_bundle(choose(arguments.checkpoints, arguments.all), hardware)
    except (OSError, ValueError) as error:
        print(f"space: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("space: stopped; nothing was sent.", file=sys.stderr)
        return 130
    if warning := describe_unsent(find_unknown(), "not known to git"):
        print(warning)
    print(f"for {hardware}:")
    check = look(arguments.hardware)
    code = deliver("space", bundle, target, check, arguments.dry_run, HARDWARE[hardware])
    if not code and arguments.dry_run is None:
        print(f"it is built now, some minutes: https://huggingface.co/spaces/{target.repo}")
    return code


def _is_left_out(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return hidden or path.is_symlink()


def _readme(hardware: str, table: str) -> str:
    """The front matter of the project's README, for this hardware, and what the page shows."""
    data = RepoCard((ROOT / "README.md").read_text("utf-8")).data
    data["sdk_version"], data["python_version"] = version("gradio"), PYTHON
    if hardware != ZERO:  # which cannot be suggested
        data["suggested_hardware"] = hardware
    return f"---\n{data.to_yaml()}\n---\n\n{_TEXT}\n\n{table}\n\n{MEANING}\n"


_TEXT = """\
# geoseg

Finds corrosion grooves in ultrasonic images of well pipes. Browse the samples, which are synthetic,
or open your own `.npy` patches: nobody else sees them, and they are kept in memory only, until they
have not been looked at for four hours. Help has the addresses for programs. A mask is a proposal to
a person who knows the well."""


if __name__ == "__main__":
    sys.exit(main())

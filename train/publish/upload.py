"""One commit to the Hugging Face Hub or none: what `train.publish` and `train.space` share."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelInfo,
    SpaceHardware,
    SpaceInfo,
    get_token,
    parse_hf_uri,
)
from huggingface_hub.errors import HfUriError, HTTPError
from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import name_in_errors
from geoseg.hub import HubError, explain_hub_errors
from train.signals import InterruptedTwice, defer_interrupt

Bundle = Mapping[str, Path | bytes]  # what goes there, by its path there: a file here, or a content
Kind = Literal["model", "space"]
_ALWAYS_THERE = {".gitattributes", "README.md"}
_MOST_LINES = 24  # of a list of files; more are counted by folder


@dataclass(frozen=True)
class Target:
    """Where a bundle goes.

    Attributes:
        repo: user/name.
        kind: of repository.
        message: of the commit.
        private: of a repository that must be made first; one that is there stays what it is.
        revision: the branch, made if need be; None for the main one.
    """

    repo: str
    kind: Kind
    message: str
    private: bool = False
    revision: str | None = None


Info = ModelInfo | SpaceInfo
# Looks at a repository that is there already, and gives the files of it that the commit removes;
# HubError where it must not be touched.
Look = Callable[[Info, set[str]], set[str]]


def add_arguments(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """The options that say where to, and whether; `read_target` and `deliver` read them."""
    add = parser.add_argument
    add("--to", required=True, metavar="USER/NAME", help=f"the {kind} on the Hub, made if need be")
    add("--private", action="store_true", help=f"nobody else sees the {kind}, if it must be made")
    add("--message", metavar="TEXT", help="of the commit (default: what it is)")
    add(
        "--dry-run",
        nargs="?",
        const="",
        metavar="DIR",
        help="send nothing: show what would be sent, and write it into DIR, a new or empty folder",
    )


def read_target(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, kind: Kind, message: str
) -> Target:
    """What the options mean; ends the program for a name that cannot be one."""
    prefix = "spaces/" if kind == "space" else ""
    bare = arguments.to.removeprefix("hf://").removeprefix(prefix)
    try:
        uri = parse_hf_uri(f"hf://{prefix}{bare}")
    except HfUriError:
        uri = None
    if uri is None or uri.type != kind or uri.path_in_repo or uri.revision:
        parser.error(f"--to is {arguments.to!r}; write USER/NAME of a {kind}, such as me/geoseg")
    message = message if arguments.message is None else arguments.message
    if not message.strip():
        parser.error("--message is empty; leave it away, or say what is new")
    return Target(uri.id, kind, message, arguments.private, getattr(arguments, "revision", None))


def deliver(
    program: str,
    bundle: Bundle,
    target: Target,
    look: Look,
    dry_run: str | None,
    hardware: SpaceHardware | None = None,
) -> int:
    """Show a bundle, and write it or send it; gives the exit code. `dry_run` is that option."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    show(bundle, console)
    try:
        if dry_run is None:
            console.print(send(bundle, target, look, hardware))
        else:
            console.print(f"\n{content(bundle['README.md']).decode()}")
        if dry_run:
            write(bundle, Path(dry_run))
            console.print(f"written to {dry_run}; nothing was sent")
    except (HubError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except InterruptedTwice:
        where = f"its page shows what has become of {target.repo}"
        print(f"{program}: left before the Hub had answered; {where}.", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print(f"{program}: stopped; the Hub is as it was.", file=sys.stderr)
        return 130
    return 0


def show(bundle: Bundle, console: Console) -> None:
    """Print the files and their bytes, those of a folder together where there are many."""
    sizes = {name: len(content(source)) for name, source in bundle.items()}
    counts, totals = Counter[str](), Counter[str]()
    for name, size in sizes.items():
        folder = str(PurePosixPath(name).parent)
        shown = name if len(sizes) <= _MOST_LINES or folder == "." else f"{folder}/"
        counts[shown] += 1
        totals[shown] += size
    table = Table("file", "bytes", box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    for name, size in totals.items():
        files = f" ({counts[name]} files)" if name.endswith("/") else ""
        table.add_row(name + files, f"{size:,}")
    table.add_row(f"{len(sizes)} files", f"{sum(sizes.values()):,}")
    console.print(table)


def write(bundle: Bundle, folder: Path) -> None:
    """Write a bundle into a new or empty folder; ValueError for another, OSError if it fails."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    for name, source in bundle.items():
        path = folder / name
        with name_in_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(source))


def send(bundle: Bundle, target: Target, look: Look, hardware: SpaceHardware | None = None) -> str:
    """Commit the bundle; gives the commit's address, or that of the last one if nothing is new.

    What had to be made or changed for it, a repository, a branch, the `hardware` of a Space, is as
    it was again where this fails or is interrupted. HubError says why and what to do, and what
    could not be undone.
    """
    if not get_token():
        raise HubError(
            "nobody is logged in; run `hf auth login`, or set HF_TOKEN to a token that may write, "
            "from https://huggingface.co/settings/tokens"
        )
    left: list[str] = []
    try:
        with explain_hub_errors(target.repo):
            return _commit(HfApi(), bundle, target, look, hardware, left)
    except (HubError, KeyboardInterrupt) as error:
        if not left:
            raise
        raise HubError(
            f"{str(error) or 'stopped'}; and this could not be undone on the Hub, so do it there: "
            f"{', '.join(left)}"
        ) from error


def _commit(
    api: HfApi,
    bundle: Bundle,
    target: Target,
    look: Look,
    hardware: SpaceHardware | None,
    left: list[str],
) -> str:
    """The commit's address; what could not be undone after a failure goes into `left`."""
    with ExitStack() as undo:
        info = _there(api, target)
        if info and target.private and not info.private:
            raise HubError(
                f"{target.repo} is public; make it private on its page, or leave --private away"
            )
        head = info.sha if info else None
        removed = look(info, _files(info)) - bundle.keys() if info else set()
        _prepare(api, target, info is not None, hardware, undo, left)
        added = [CommitOperationAdd(name, source) for name, source in bundle.items()]
        where: dict[str, Any] = {"repo_type": target.kind, "revision": target.revision}
        api.preupload_lfs_files(target.repo, added, **where)  # takes long, and may be broken off
        with defer_interrupt():
            commit = api.create_commit(
                target.repo,
                [*added, *(CommitOperationDelete(name) for name in sorted(removed))],
                commit_message=target.message,
                parent_commit=head,  # it is refused if somebody has changed what was looked at
                **where,
            )
            undo.pop_all()
    return str(commit.commit_url)


def _there(api: HfApi, target: Target) -> Info | None:
    """The repository as it is: its branch if there is that, else its main one; None for neither."""
    repo: dict[str, Any] = {"repo_id": target.repo, "repo_type": target.kind}
    if api.repo_exists(**repo):
        branch = target.revision
        if branch and not api.revision_exists(**repo, revision=branch):
            branch = None
        info = api.repo_info(**repo, revision=branch)
        assert isinstance(info, Info)
        return info
    for other in ("model", "space", "dataset"):
        if other != target.kind and api.repo_exists(target.repo, repo_type=other):
            raise HubError(
                f"{target.repo} is a {other}, and two of one name are easily mixed up; choose "
                f"another name for the {target.kind}"
            )
    return None


def _prepare(
    api: HfApi,
    target: Target,
    exists: bool,
    hardware: SpaceHardware | None,
    undo: ExitStack,
    left: list[str],
) -> None:
    """Make what the commit needs; `undo` takes it away again."""
    repo: dict[str, Any] = {"repo_id": target.repo, "repo_type": target.kind}

    def make(work: Callable[..., object], what: str, take_back: Callable[[], object]) -> None:
        with defer_interrupt() as held:
            work()
            undo.callback(_try, left, what, take_back)
        if held:
            raise KeyboardInterrupt

    if not exists:
        space: dict[str, Any] = {}
        if target.kind == "space":
            space = {"space_sdk": "gradio", "space_hardware": hardware}
        make(
            partial(api.create_repo, **repo, private=target.private or None, **space),
            f"delete the {target.kind} {target.repo}",
            partial(api.delete_repo, **repo),
        )
    elif hardware:
        now = api.get_space_runtime(target.repo)
        before = now.requested_hardware or now.hardware or SpaceHardware.CPU_BASIC
        if before != hardware:
            change = partial(api.request_space_hardware, target.repo)
            make(
                partial(change, hardware), f"set the hardware to {before}", partial(change, before)
            )
    if target.revision and not api.revision_exists(**repo, revision=target.revision):
        branch = {**repo, "branch": target.revision}
        make(
            partial(api.create_branch, **branch),
            f"delete the branch {target.revision}",
            partial(api.delete_branch, **branch),
        )


def _try(left: list[str], what: str, take_back: Callable[[], object]) -> None:
    """Undo what can be undone: the error that made it necessary is the one to tell."""
    try:
        with defer_interrupt():
            take_back()
    except (HTTPError, OSError):
        left.append(what)


def _files(info: Info) -> set[str]:
    """What somebody has put there."""
    return {file.rfilename for file in info.siblings or ()} - _ALWAYS_THERE


def content(source: Path | bytes) -> bytes:
    """The bytes of one file of a bundle."""
    return source if isinstance(source, bytes) else source.read_bytes()

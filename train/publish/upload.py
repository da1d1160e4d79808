"""Upload a folder to the Hugging Face Hub in one commit, for `train.publish` and `train.space`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from huggingface_hub import HfApi, ModelInfo, SpaceHardware, SpaceInfo, get_token, parse_hf_uri
from huggingface_hub.errors import HfUriError
from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import name_in_errors
from geoseg.hub import HubError, explain_hub_errors

Bundle = Mapping[str, Path | bytes]  # path in the repository -> a local file, or the content
Kind = Literal["model", "space"]
_CREATED_BY_HUB = {".gitattributes", "README.md"}
_MAX_LISTED_FILES = 24  # larger bundles are listed by folder

RepositoryInfo = ModelInfo | SpaceInfo
# Raise HubError if the existing repository, with these files, must not be overwritten.
CheckRepository = Callable[[RepositoryInfo, set[str]], None]


@dataclass(frozen=True)
class UploadTarget:
    """Where to upload a bundle.

    Attributes:
        repo: "user/name".
        kind: the kind of repository.
        message: of the commit.
        private: create the repository as private; an existing public one is refused.
        revision: the branch, created if missing; None for the main branch.
        dry_run: None to upload; otherwise send nothing, and write into this folder unless it is "".
    """

    repo: str
    kind: Kind
    message: str
    private: bool = False
    revision: str | None = None
    dry_run: str | None = None


def add_upload_arguments(parser: argparse.ArgumentParser, kind: Kind, message: str) -> None:
    """Add --to, --private, --message (default `message`) and --dry-run."""

    def repository(text: str) -> str:
        prefix = "spaces/" if kind == "space" else ""
        name = text.removeprefix("hf://").removeprefix(prefix)
        try:
            uri = parse_hf_uri(f"hf://{prefix}{name}")
        except HfUriError:
            uri = None
        if uri is None or uri.type != kind or uri.path_in_repo or uri.revision:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not the name of a {kind}; write USER/NAME, such as me/geoseg"
            )
        return uri.id

    add = parser.add_argument
    add(
        "--to",
        required=True,
        type=repository,
        metavar="USER/NAME",
        help=f"the {kind} on the Hub, created if missing",
    )
    add("--private", action="store_true", help=f"create the {kind} as private")
    add(
        "--message",
        type=require_text,
        default=message,
        metavar="TEXT",
        help="of the commit (default: %(default)s)",
    )
    add(
        "--dry-run",
        nargs="?",
        const="",
        metavar="DIR",
        help="send nothing; show what would be sent and write it into DIR, a new or empty folder",
    )


def require_text(text: str) -> str:
    """Return `text`; argparse reports an error if it is empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the value is empty; omit the option, or give a text")
    return text


def deliver(
    program: str,
    bundle: Bundle,
    target: UploadTarget,
    check: CheckRepository,
    delete_patterns: str | None = None,
    hardware: SpaceHardware | None = None,
) -> int:
    """Show a bundle, then upload it or, in a dry run, write it; return the exit code.

    Args:
        program: the name in error messages.
        bundle: the files to upload.
        target: where to upload them, and whether.
        check: raises HubError if an existing repository must not be overwritten.
        delete_patterns: files that the commit removes, unless the bundle has them.
        hardware: of a Space.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    show_files(bundle, console)
    kept = target.dry_run
    place = nullcontext(kept) if kept else tempfile.TemporaryDirectory()
    try:
        with place as folder:
            write_bundle(bundle, Path(folder))
            if target.dry_run is not None:
                console.print(f"\n{Path(folder, 'README.md').read_text('utf-8')}")
            else:
                console.print(upload(Path(folder), target, check, delete_patterns, hardware))
        if kept:
            console.print(f"written to {kept}; nothing was sent")
    except (HubError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"{program}: stopped; run the same command again to complete the upload, or see "
            f"{target.repo} on the Hub.",
            file=sys.stderr,
        )
        return 130
    return 0


def show_files(bundle: Bundle, console: Console) -> None:
    """Print each file and its size in bytes; large bundles are listed by folder."""
    sizes = {
        name: len(source) if isinstance(source, bytes) else source.stat().st_size
        for name, source in bundle.items()
    }
    counts, totals = Counter[str](), Counter[str]()
    for name, size in sizes.items():
        folder = str(PurePosixPath(name).parent)
        shown = name if len(sizes) <= _MAX_LISTED_FILES or folder == "." else f"{folder}/"
        counts[shown] += 1
        totals[shown] += size
    table = Table("file", "bytes", box=None, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    for name, size in totals.items():
        files = f" ({counts[name]} files)" if name.endswith("/") else ""
        table.add_row(name + files, f"{size:,}")
    table.add_row(f"{len(sizes)} files", f"{sum(sizes.values()):,}")
    console.print(table)


def write_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle into a new or empty folder.

    Raise ValueError if the folder is a file or not empty, OSError if it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    for name, source in bundle.items():
        path = folder / name
        with name_in_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source if isinstance(source, bytes) else source.read_bytes())


def upload(
    folder: Path,
    target: UploadTarget,
    check: CheckRepository,
    delete_patterns: str | None = None,
    hardware: SpaceHardware | None = None,
) -> str:
    """Upload a folder in one commit and return the commit's address.

    An unchanged folder makes no commit; `huggingface_hub` makes several of more than 250 files.
    Raise HubError, with the cause and a remedy.
    """
    if not get_token():
        raise HubError(
            "not logged in; run `hf auth login`, or set HF_TOKEN to a token with write access from "
            "https://huggingface.co/settings/tokens"
        )
    api = HfApi()
    repo: dict[str, Any] = {"repo_id": target.repo, "repo_type": target.kind}
    space: dict[str, Any] = {}
    if target.kind == "space":
        space = {"space_sdk": "gradio", "space_hardware": hardware}
    with explain_hub_errors(target.repo):
        exists = _check_target(api, target, check)
        api.create_repo(**repo, private=target.private or None, exist_ok=True, **space)
        if exists and hardware:
            runtime = api.get_space_runtime(target.repo)
            if (runtime.requested_hardware or runtime.hardware) != hardware:
                api.request_space_hardware(target.repo, hardware)
        if target.revision:
            api.create_branch(**repo, branch=target.revision, exist_ok=True)
        commit = api.upload_folder(
            **repo,
            folder_path=folder,
            revision=target.revision,
            commit_message=target.message,
            delete_patterns=delete_patterns,
        )
    return str(commit.commit_url)


def _check_target(api: HfApi, target: UploadTarget, check: CheckRepository) -> bool:
    """Return whether the repository exists; raise HubError if it must not be overwritten."""
    repo: dict[str, Any] = {"repo_id": target.repo, "repo_type": target.kind}
    if not api.repo_exists(**repo):
        for other in ("model", "space", "dataset"):
            if other != target.kind and api.repo_exists(target.repo, repo_type=other):
                raise HubError(
                    f"{target.repo} is a {other}, and two of one name are easily mixed up; choose "
                    f"another name for the {target.kind}"
                )
        return False
    has_branch = target.revision and api.revision_exists(**repo, revision=target.revision)
    info = api.repo_info(**repo, revision=target.revision if has_branch else None)
    assert isinstance(info, ModelInfo | SpaceInfo)
    if target.private and not info.private:
        raise HubError(f"{target.repo} is public; make it private on its page, or omit --private")
    check(info, {file.rfilename for file in info.siblings or ()} - _CREATED_BY_HUB)
    return True

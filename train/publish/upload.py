"""Upload files to the Hugging Face Hub in one commit, for `train.publish` and `train.space`."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from huggingface_hub import HfApi, ModelInfo, SpaceInfo

from geoseg.hub import HubError, explain_hub_errors

Bundle = Mapping[str, Path | bytes]  # path in the repository -> a local file, or the content
_CREATED_BY_HUB = {".gitattributes", "README.md"}

RepositoryInfo = ModelInfo | SpaceInfo
# Raise HubError if the existing repository, with these files, must not be overwritten.
Check = Callable[[RepositoryInfo, set[str]], None]


@dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """The options of every upload.

    `to` is "user/name". `private` creates a private repository and refuses a public one. `revision`
    is a branch, created if missing; None for the main branch. `dry_run` is None to upload;
    otherwise nothing is sent, and the files are written into this folder unless it is "".
    """

    kind: ClassVar[Literal["model", "space"]]
    to: str
    private: bool
    message: str
    dry_run: str | None
    revision: str | None = None


def add_upload_arguments(parser: argparse.ArgumentParser, kind: str, message: str) -> None:
    """Add --to, --private, --message (default `message`) and --dry-run."""

    def repository(text: str) -> str:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not the name of a {kind}; write USER/NAME, such as me/geoseg"
            )
        return text

    add = parser.add_argument
    to_help = f"the {kind} on the Hub, created if missing"
    add("--to", required=True, type=repository, metavar="USER/NAME", help=to_help)
    add("--private", action="store_true", help=f"create the {kind} as private")
    add("--message", default=message, help="of the commit (default: %(default)s)")
    dry_run_help = "send nothing; show what would be sent and write it into DIR, a new folder"
    add("--dry-run", nargs="?", const="", metavar="DIR", help=dry_run_help)


def deliver(
    bundle: Bundle, options: UploadOptions, check: Check, remove: str | None, **creation: Any
) -> None:
    """Show a bundle, then upload it or, in a dry run, write it.

    `check` is called before an existing repository is changed, and `creation` are further
    arguments to create one with. The commit removes files that match `remove`, unless the bundle
    has them. Raise HubError if the upload fails, ValueError if the folder of a dry run is
    not empty.
    """
    kept = options.dry_run
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty; name a new folder")
        for path, source in bundle.items():
            content = source if isinstance(source, bytes) else source.read_bytes()
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            print(f"{len(content):>12,}  {path}")
        if kept is None:
            with explain_hub_errors(options.to):
                print(_upload(folder, options, check, remove, creation))
            return
        print(f"\n{(folder / 'README.md').read_text('utf-8')}")
    if kept:
        print(f"written to {kept}; nothing was sent")


def _upload(
    folder: Path, options: UploadOptions, check: Check, remove: str | None, creation: dict[str, Any]
) -> str:
    """Upload a folder in one commit, or none if nothing changed; return the commit's address."""
    api = HfApi()
    repo: dict[str, Any] = {"repo_id": options.to, "repo_type": options.kind}
    if api.repo_exists(**repo):
        has_branch = options.revision and api.revision_exists(**repo, revision=options.revision)
        info = api.repo_info(**repo, revision=options.revision if has_branch else None)
        assert isinstance(info, RepositoryInfo)
        if options.private and not info.private:
            raise HubError(f"{info.id} is public; make it private on its page, or omit --private")
        check(info, {file.rfilename for file in info.siblings or ()} - _CREATED_BY_HUB)
    else:
        api.create_repo(**repo, private=options.private or None, **creation)
    if options.revision:
        api.create_branch(**repo, branch=options.revision, exist_ok=True)
    commit = api.upload_folder(
        **repo,
        folder_path=folder,
        revision=options.revision,
        commit_message=options.message,
        delete_patterns=remove,
    )
    return str(commit.commit_url)

"""Publish checkpoints on the Hub: `python -m train.publish CHECKPOINT ... --to USER/NAME`.

One commit holds the checkpoints unchanged, config.json, and a model card, README.md, written from
their metadata.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from geoseg.checkpoint import resolve_checkpoint
from geoseg.hub import CHECKPOINT_SUFFIX, HubError
from geoseg.models import Model
from train.cards import load_named_models, read_file_sizes
from train.git import CloneError, find_origin
from train.publish.model_card import checkpoint_addresses, make_model_card
from train.publish.upload import (
    Bundle,
    CheckRepository,
    RepositoryInfo,
    UploadTarget,
    add_upload_arguments,
    deliver,
    require_text,
)


@dataclass(frozen=True)
class PublishOptions:
    """The command line of `python -m train.publish`."""

    checkpoints: tuple[str, ...]
    target: UploadTarget
    license: str
    replace: bool


def make_bundle(files: list[Path], repo: str, license: str, revision: str | None = None) -> Bundle:
    """Return the files of the repository "user/name".

    Raise CheckpointError as `load_named_models` does.
    """
    models = load_named_models(files)
    try:
        project = find_origin()
    except CloneError:
        project = ""
    sizes = read_file_sizes(files)
    card = make_model_card(models, sizes, repo, license, revision=revision, project=project)
    return {
        "README.md": str(card).encode(),
        "config.json": _make_config(models),
        **{f"{name}{CHECKPOINT_SUFFIX}": file for name, file in zip(models, files, strict=True)},
    }


def make_check(bundle: Bundle, replace: bool) -> CheckRepository:
    """Return a check that refuses other libraries' models and checkpoints without a card."""

    def check(info: RepositoryInfo, files: set[str]) -> None:
        library = getattr(info, "library_name", None)
        if files and library != "geoseg":
            content = f"a model of {library}" if library else "something else"
            raise HubError(f"{info.id} holds {content}; choose another name")
        others = {name for name in files if name.endswith(CHECKPOINT_SUFFIX)} - bundle.keys()
        if others and not replace:
            raise HubError(
                f"{info.id} also holds {', '.join(sorted(others))}, which the new card would not "
                "describe; name it too, or add --replace to remove it"
            )

    return check


def parse_options(argv: list[str] | None) -> PublishOptions:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.publish", description=__doc__)
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="safetensors files or hf:// addresses"
    )
    add_upload_arguments(parser, "model", "Checkpoints of geoseg")
    parser.add_argument(
        "--revision",
        type=require_text,
        metavar="BRANCH",
        help="commit to this branch, created if missing",
    )
    parser.add_argument(
        "--license",
        type=require_text,
        default="apache-2.0",
        metavar="ID",
        help="the Hub's identifier of the license (default: %(default)s)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="remove the other checkpoints of the repository"
    )
    given = parser.parse_args(argv)
    return PublishOptions(
        checkpoints=tuple(given.checkpoints),
        target=UploadTarget(
            given.to,
            "model",
            given.message,
            given.private,
            given.revision,
            given.dry_run,
        ),
        license=given.license,
        replace=given.replace,
    )


def main(argv: list[str] | None = None) -> int:
    """Publish the checkpoints of the command line; return the exit code."""
    options = parse_options(argv)
    repo, revision = options.target.repo, options.target.revision
    try:
        paths = [resolve_checkpoint(name) for name in options.checkpoints]
        bundle = make_bundle(paths, repo, options.license, revision)
    except (OSError, ValueError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("publish: stopped; nothing was sent.", file=sys.stderr)
        return 130
    check = make_check(bundle, options.replace)
    removed = f"*{CHECKPOINT_SUFFIX}" if options.replace else None
    code = deliver("publish", bundle, options.target, check, removed)
    if not code and options.target.dry_run is None:
        checkpoints = [Path(name) for name in bundle if name.endswith(CHECKPOINT_SUFFIX)]
        addresses = checkpoint_addresses([path.stem for path in checkpoints], repo, revision)
        print(f"load it by {' or '.join(addresses.values())}")
    return code


def _make_config(models: dict[str, Model]) -> bytes:
    """Return JSON with the metadata of each checkpoint, to be read without a download."""
    cards = {
        f"{name}{CHECKPOINT_SUFFIX}": asdict(model.card)
        for name, model in models.items()
        if model.card
    }
    return (json.dumps({"library_name": "geoseg", "checkpoints": cards}, indent=2) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())

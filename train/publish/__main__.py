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
from geoseg.command_line import run_command
from geoseg.hub import CHECKPOINT_SUFFIX, HubError, hub_address
from train.cards import load_named_models
from train.publish.model_card import make_model_card
from train.publish.upload import (
    Bundle,
    Check,
    RepositoryInfo,
    UploadOptions,
    add_upload_arguments,
    deliver,
)


@dataclass(frozen=True, kw_only=True)
class PublishOptions(UploadOptions):
    """The command line of `python -m train.publish`."""

    kind = "model"
    checkpoints: list[str]
    license: str
    replace: bool


def make_bundle(files: list[Path], repo: str, license: str, revision: str | None = None) -> Bundle:
    """Return the files of the repository "user/name".

    config.json holds the metadata of each checkpoint, to be read without a download. Raise
    CheckpointError as `load_named_models` does.
    """
    models = load_named_models(files)
    card = make_model_card(models, files, repo, license, revision)
    cards = {f"{name}{CHECKPOINT_SUFFIX}": m.card and asdict(m.card) for name, m in models.items()}
    config = {"library_name": "geoseg", "checkpoints": cards}
    return {
        "README.md": str(card).encode(),
        "config.json": f"{json.dumps(config, indent=2)}\n".encode(),
        **dict(zip(cards, files, strict=True)),
    }


def make_check(bundle: Bundle, replace: bool) -> Check:
    """Return a function that refuses other libraries' models and checkpoints without a card."""

    def check(info: RepositoryInfo, files: set[str]) -> None:
        library = getattr(info, "library_name", None)
        if files and library != "geoseg":
            raise HubError(f"{info.id} holds a model of {library}; choose another name")
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
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="CHECKPOINT", help="safetensors files or hf:// addresses")
    add_upload_arguments(parser, "model", "Checkpoints of geoseg")
    add("--revision", metavar="BRANCH", help="commit to this branch, created if missing")
    license_help = "the Hub's identifier of the license (default: %(default)s)"
    add("--license", default="apache-2.0", metavar="ID", help=license_help)
    add("--replace", action="store_true", help="remove the other checkpoints of the repository")
    return PublishOptions(**vars(parser.parse_args(argv)))


def publish(options: PublishOptions) -> int:
    """Publish the checkpoints; return the exit code."""
    paths = [resolve_checkpoint(name) for name in options.checkpoints]
    bundle = make_bundle(paths, options.to, options.license, options.revision)
    remove = f"*{CHECKPOINT_SUFFIX}" if options.replace else None
    deliver(bundle, options, make_check(bundle, options.replace), remove)
    if options.dry_run is None:
        names = [name for name in bundle if name.endswith(CHECKPOINT_SUFFIX)]
        addresses = [hub_address(options.to, options.revision, name) for name in names]
        print(f"load it by {' or '.join(addresses)}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Publish the checkpoints of the command line; return the exit code."""
    stopped = "stopped; run the same command again to complete the upload"
    return run_command("publish", lambda: publish(parse_options(argv)), stopped)


if __name__ == "__main__":
    sys.exit(main())

"""Put checkpoints on the Hugging Face Hub: `python -m train.publish CHECKPOINT ... --to USER/NAME`.

They go as they are, with config.json and a card, README.md, written from what they say of
themselves, in one commit: all of it is there then, or nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from geoseg.checkpoint import resolve_checkpoint
from geoseg.hub import CHECKPOINT_SUFFIX, HubError
from geoseg.models import Model
from train.cards import load_named, sizes
from train.git import CloneError, find_origin
from train.publish.model_card import addresses, model_card
from train.publish.upload import Bundle, Info, Look, add_arguments, deliver, read_target


def make_bundle(files: list[Path], repo: str, licence: str, revision: str | None = None) -> Bundle:
    """What goes to "user/name"; CheckpointError as `load_named`."""
    models = load_named(files)
    try:
        project = find_origin()
    except CloneError:
        project = ""
    card = model_card(models, sizes(files), repo, licence, revision=revision, project=project)
    return {
        "README.md": str(card).encode(),
        "config.json": _config(models),
        **{f"{name}{CHECKPOINT_SUFFIX}": file for name, file in zip(models, files, strict=True)},
    }


def look(bundle: Bundle, replace: bool) -> Look:
    """Lets nothing else be overwritten, and no checkpoint stay that the card does not know."""

    def check(info: Info, files: set[str]) -> set[str]:
        library = getattr(info, "library_name", None)
        if files and library != "geoseg":
            what = f"a model of {library}" if library else "something else"
            raise HubError(f"{info.id} holds {what}; choose another name")
        others = {name for name in files if name.endswith(CHECKPOINT_SUFFIX)} - bundle.keys()
        if others and not replace:
            raise HubError(
                f"{info.id} also holds {', '.join(sorted(others))}, which the new card would not "
                "describe; name it too, or add --replace to remove it"
            )
        return others

    return check


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.publish", description=__doc__)
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="safetensors files, or hf:// addresses"
    )
    add_arguments(parser, "model")
    parser.add_argument(
        "--revision", metavar="BRANCH", help="commit to this branch, made if need be"
    )
    parser.add_argument(
        "--license",
        default="apache-2.0",
        metavar="ID",
        help="as the Hub names it (default: %(default)s)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="remove the checkpoints that are there already"
    )
    arguments = parser.parse_args(argv)
    for option in ("license", "revision"):
        if getattr(arguments, option) == "":
            parser.error(f"--{option} is empty; leave it away, or give one")
    arguments.target = read_target(parser, arguments, "model", "Checkpoints of geoseg")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Publish what the command line names; gives the exit code."""
    arguments = parse(argv)
    try:
        paths = [resolve_checkpoint(name) for name in arguments.checkpoints]
        repo, revision = arguments.target.repo, arguments.target.revision
        bundle = make_bundle(paths, repo, arguments.license, revision)
    except (OSError, ValueError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("publish: stopped; nothing was sent.", file=sys.stderr)
        return 130
    check = look(bundle, arguments.replace)
    code = deliver("publish", bundle, arguments.target, check, arguments.dry_run)
    if not code and arguments.dry_run is None:
        names = [
            name.removesuffix(CHECKPOINT_SUFFIX)
            for name in bundle
            if name.endswith(CHECKPOINT_SUFFIX)
        ]
        print(f"load it by {' or '.join(addresses(names, repo, revision).values())}")
    return code


def _config(models: dict[str, Model]) -> bytes:
    """What a program may want to know before it downloads a checkpoint."""
    told = {
        f"{name}{CHECKPOINT_SUFFIX}": asdict(model.card)
        for name, model in models.items()
        if model.card
    }
    return (json.dumps({"library_name": "geoseg", "checkpoints": told}, indent=2) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())

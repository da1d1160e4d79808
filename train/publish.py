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

from rich.console import Console

from geoseg.checkpoint import CheckpointError, checkpoint_name, load_checkpoint, locate
from geoseg.hub import ENDING, HubError
from geoseg.models import Model
from train.model_card import model_card
from train.upload import Bundle, Info, Look, add_arguments, content, read_target, send, show, write


def make_bundle(paths: list[Path], repo: str, licence: str) -> Bundle:
    """What goes to "user/name"; CheckpointError for what cannot be loaded, or two of one name."""
    files: dict[str, Path] = {}
    models: dict[str, Model] = {}
    for path in paths:
        name = checkpoint_name(path)
        if name in models:
            raise CheckpointError(f"two checkpoints are named {name!r}; rename one")
        files[name], models[name] = path, load_checkpoint(path)
    card = model_card(models, {n: path.stat().st_size for n, path in files.items()}, repo, licence)
    return {
        "README.md": str(card).encode(),
        "config.json": _config(models),
        **{f"{name}{ENDING}": path for name, path in files.items()},
    }


def look(bundle: Bundle, replace: bool) -> Look:
    """Lets nothing else be overwritten, and no checkpoint stay that the card does not know."""

    def check(info: Info, files: set[str]) -> set[str]:
        library = getattr(info, "library_name", None)
        if files and library != "geoseg":
            what = f"a model of {library}" if library else "something else"
            raise HubError(f"it holds {what}; choose another name")
        others = {name for name in files if name.endswith(ENDING)} - bundle.keys()
        if others and not replace:
            raise HubError(
                f"it also holds {', '.join(sorted(others))}, which the new card would not "
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
        "--license",
        default="apache-2.0",
        metavar="ID",
        help="as the Hub names it (default: %(default)s)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="remove the checkpoints that are there already"
    )
    arguments = parser.parse_args(argv)
    arguments.target = read_target(parser, arguments, "model", "Checkpoints of geoseg")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Publish what the command line names; gives the exit code."""
    arguments = parse(argv)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        paths = [locate(name) for name in arguments.checkpoints]
        bundle = make_bundle(paths, arguments.target.repo, arguments.license)
        if arguments.dry_run and arguments.dry_run != Path():
            write(bundle, arguments.dry_run)
    except (OSError, ValueError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    show(bundle, console)
    if arguments.dry_run:
        console.print(f"\n{content(bundle['README.md']).decode()}")
        return 0
    try:
        address = send(bundle, arguments.target, look(bundle, arguments.replace))
    except (HubError, OSError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("publish: stopped; nothing has changed on the Hub.", file=sys.stderr)
        return 130
    console.print(f"{address}\nload it by hf://{arguments.target.repo}")
    return 0


def _config(models: dict[str, Model]) -> bytes:
    """What a program may want to know before it downloads a checkpoint."""
    told = {f"{name}{ENDING}": asdict(model.card) for name, model in models.items() if model.card}
    return (json.dumps({"library_name": "geoseg", "checkpoints": told}, indent=2) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())

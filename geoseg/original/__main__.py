"""Convert published weights to a checkpoint: `python -m geoseg.original best_model.pt 1004`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.checkpoint import save_checkpoint
from geoseg.original.weights import import_original


@dataclass(frozen=True)
class Options:
    """The command line: a file of weights, its experiment, and the checkpoint to write."""

    weights: Path
    experiment: int
    output: Path | None
    force: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parse_options(arguments)
    output = options.output or Path(f"{options.experiment}-original.safetensors")
    try:
        if output.exists() and not options.force:
            raise ValueError(f"{output} is there already; choose another -o, or add --force")
        model = import_original(options.weights, options.experiment)
        assert model.card
        save_checkpoint(output, model, **model.card.provenance)
    except KeyboardInterrupt:
        print("original: stopped; nothing is written.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"original: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print(f"{output}: {model.name} of {model.count_parameters():,} parameters")
    return 0


def _parse_options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.original",
        description="Make a checkpoint from weights that the original project published.",
    )
    parser.add_argument("weights", type=Path, help="the file, such as best_model.pt")
    parser.add_argument("experiment", type=int, help="number of the experiment that made it")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the checkpoint to write (default: <experiment>-original.safetensors)",
    )
    parser.add_argument("--force", action="store_true", help="replace the checkpoint if it exists")
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())

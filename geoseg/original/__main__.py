"""`python -m geoseg.original best_model.pt 1004`: the original's weights as our checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from geoseg.checkpoint import save_checkpoint
from geoseg.original.weights import import_original


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    output: Path = options.output or Path(f"{options.experiment}-original.safetensors")
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.original",
        description="Make a checkpoint of a file of weights that the original project published.",
    )
    parser.add_argument("weights", type=Path, help="the file, such as best_model.pt")
    parser.add_argument("experiment", type=int, help="number of the experiment that it is from")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the checkpoint to write (default: <experiment>-original.safetensors)",
    )
    parser.add_argument("--force", action="store_true", help="replace the checkpoint if it exists")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Convert published weights to a checkpoint: `python -m geoseg.original best_model.pt 1004`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from geoseg.checkpoint import save_checkpoint
from geoseg.command_line import run_command
from geoseg.original.weights import import_original


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
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
    options = parser.parse_args(arguments)
    output = options.output or Path(f"{options.experiment}-original.safetensors")

    def convert() -> int:
        if output.exists() and not options.force:
            raise ValueError(f"{output} is there already; choose another -o, or add --force")
        model = import_original(options.weights, options.experiment)
        assert model.card
        save_checkpoint(output, model, **model.card.provenance)
        print(f"{output}: {model.name} of {model.count_parameters():,} parameters")
        return 0

    return run_command("original", convert, "stopped; nothing is written")


if __name__ == "__main__":
    sys.exit(main())

"""Convert published weights to a checkpoint: `python -m geoseg.original best_model.pt 1004`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.checkpoint import save_checkpoint
from geoseg.command_line import run_command
from geoseg.original.weights import import_original


@dataclass(frozen=True)
class ConvertOptions:
    """The command line; the help of each option says what it means."""

    weights: Path
    experiment: int
    output: Path
    force: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parse_options(arguments)
    return run_command("original", lambda: convert(options), "stopped; nothing is written")


def convert(options: ConvertOptions) -> int:
    """Write the checkpoint and return the exit code; raise ValueError for unusable options."""
    if options.output.exists() and not options.force:
        raise ValueError(f"{options.output} is there already; choose another -o, or add --force")
    model = import_original(options.weights, options.experiment)
    assert model.card
    save_checkpoint(options.output, model, **model.card.provenance)
    print(f"{options.output}: {model.name} of {model.count_parameters():,} parameters")
    return 0


def _parse_options(arguments: Sequence[str] | None) -> ConvertOptions:
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
    values = vars(parser.parse_args(arguments))
    output = values.pop("output") or Path(f"{values['experiment']}-original.safetensors")
    return ConvertOptions(output=output, **values)


if __name__ == "__main__":
    sys.exit(main())

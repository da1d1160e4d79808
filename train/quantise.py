"""Write a checkpoint in fewer bits: `python -m train.quantise checkpoints/402-unet.safetensors`.

Prints the size and the scores of the result beside those of the full checkpoint.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from geoseg.atomic_files import atomic_write, name_in_errors
from geoseg.checkpoint import checkpoint_name, load_checkpoint, resolve_checkpoint, save_checkpoint
from geoseg.dataset import PatchDataset
from geoseg.hub import is_hub_address
from geoseg.metrics import scores
from geoseg.quantisation import Bits, Quantisation
from geoseg.segmenter import Segmenter
from train.evaluate.data import load_labelled_patches

ALL_BITS: tuple[Bits, ...] = get_args(Bits)


@dataclass(frozen=True)
class Options:
    """The command line: which checkpoint, in which bits, scored on what, written where."""

    checkpoint: str
    bits: tuple[Bits, ...]
    compare_all: bool
    output: Path | None
    overwrite: bool
    data: Path | None
    split: str
    device: str


class Comparison(NamedTuple):
    """One file: its bytes, its scores, and the share of pixels where its mask is the full one's."""

    size: int
    micro_iou: float
    iou: float
    agreement: float


def quantise_checkpoint(source: Path, target: Path, bits: Bits) -> None:
    """Write `source` in fewer bits, without its scores: those belong to the full weights.

    CheckpointError if `source` is not a checkpoint, ValueError if it is quantised already.
    """
    model = load_checkpoint(source)
    card = model.card
    assert card
    if card.quantisation:
        raise ValueError(
            f"{source.name} is in {card.quantisation.bits} bits already; take the full checkpoint"
        )
    provenance = {**card.provenance, "metrics": {}}
    save_checkpoint(target, model, **provenance, quantisation=Quantisation(bits))


def compare_checkpoints(
    files: Sequence[Path], dataset: PatchDataset, device: str = "auto"
) -> list[Comparison]:
    """Score files on a labelled set, all at the threshold of the first, the full checkpoint."""
    segmenter = Segmenter(files, device)
    probabilities = segmenter.probabilities(dataset.images.numpy())
    labels = dataset.masks == 1
    threshold = segmenter.cards[segmenter.names[0]].threshold
    full = probabilities[segmenter.names[0]]
    valid = ~np.isnan(full)
    return [
        Comparison(
            file.stat().st_size,
            scores(array, labels, threshold=threshold, average="micro")["iou"],
            scores(array, labels, threshold=threshold)["iou"],
            float(((array > threshold) == (full > threshold))[valid].mean()),
        )
        for file, array in zip(files, probabilities.values(), strict=True)
    ]


def parse_options(argv: Sequence[str] | None) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.quantise", description=__doc__)
    add = parser.add_argument
    add("checkpoint", help="safetensors file with float32 weights, or hf://user/repo on the Hub")
    add("--bits", type=int, choices=ALL_BITS, default=8, help="default: %(default)s")
    add("--all", action="store_true", help="compare every --bits, and keep files only with -o")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="file, or folder with --all (default: NAME-8bit.safetensors beside the checkpoint, or "
        "here for one of the Hub)",
    )
    add("--overwrite", action="store_true", help="replace existing files")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set in the SLB layout to score on (default: fresh synthetic wells)",
    )
    add("--split", default="validation", help="folder of --data (default: validation)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    values = vars(parser.parse_args(argv))
    compare_all, bits = values.pop("all"), values.pop("bits")
    return Options(bits=ALL_BITS if compare_all else (bits,), compare_all=compare_all, **values)


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise and compare; return the exit code."""
    options = parse_options(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _run(options, Path(folder))
    except KeyboardInterrupt:
        print("quantise: stopped; nothing is written.", file=sys.stderr)
        return 130


def _run(options: Options, folder: Path) -> int:
    """Quantise into a temporary folder, print the comparison, then keep the files."""
    console = Console(highlight=False, markup=False)
    try:
        checkpoint = resolve_checkpoint(options.checkpoint)
        name = checkpoint_name(checkpoint)
        files = [folder / f"{name}-{bits}bit.safetensors" for bits in options.bits]
        targets = _choose_targets(options, checkpoint, files)
        for file, bits in zip(files, options.bits, strict=True):
            quantise_checkpoint(checkpoint, file, bits)
        dataset, about = load_labelled_patches(options.data, options.split, console)
        comparisons = compare_checkpoints([checkpoint, *files], dataset, options.device)
    except (OSError, ValueError) as error:
        print(f"quantise: {error}", file=sys.stderr)
        return 2
    console.print(_make_table(f"{name} on {about}", (32, *options.bits), comparisons))
    try:
        for file, target in zip(files, targets, strict=False):
            with name_in_errors(target), atomic_write(target) as temporary:
                shutil.copyfile(file, temporary)
            console.print(f"wrote {target}", soft_wrap=True)
    except OSError as error:
        print(f"quantise: {error}", file=sys.stderr)
        return 1
    return 0


def _choose_targets(options: Options, checkpoint: Path, files: Sequence[Path]) -> list[Path]:
    """Return where to keep `files`, which may be nowhere; ValueError if a target exists."""
    if options.compare_all:
        targets = [options.output / file.name for file in files] if options.output else []
    else:
        folder = Path() if is_hub_address(options.checkpoint) else checkpoint.parent
        targets = [options.output or folder / files[0].name]
    for target in targets:
        if target.resolve() == checkpoint.resolve():
            raise ValueError(f"{target} is the full checkpoint itself; choose another -o")
        if target.exists() and not options.overwrite:
            raise ValueError(f"{target} is there already; choose another -o, or add --overwrite")
    return targets


def _make_table(title: str, bits: Sequence[int], comparisons: Sequence[Comparison]) -> Table:
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
    for heading in ("bits", "bytes", "micro IoU", "mean IoU", "same mask"):
        table.add_column(heading, justify="right")
    for number, comparison in zip(bits, comparisons, strict=True):
        values = (f"{value:.3f}" for value in (comparison.micro_iou, comparison.iou))
        table.add_row(f"{number}", f"{comparison.size:,}", *values, f"{comparison.agreement:.2%}")
    return table


if __name__ == "__main__":
    sys.exit(main())

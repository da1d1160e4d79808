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

from geoseg.atomic_files import atomic_write
from geoseg.checkpoint import checkpoint_name, load_checkpoint, resolve_checkpoint, save_checkpoint
from geoseg.command_line import run_command
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
    bits: Sequence[Bits]
    output: Path | None
    overwrite: bool
    data: Path | None
    split: str
    device: str


class Comparison(NamedTuple):
    """The bytes of a file, its scores, and the share of pixels where its mask is the full one's."""

    size: int
    micro_iou: float
    iou: float
    agreement: float


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise and compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.quantise", description=__doc__)
    add = parser.add_argument
    add("checkpoint", help="safetensors file with float32 weights, or hf://user/repo on the Hub")
    bits = parser.add_mutually_exclusive_group().add_argument
    bits("--bits", type=int, choices=ALL_BITS, nargs=1, default=[8], help="default: 8")
    bits(
        "--all",
        dest="bits",
        action="store_const",
        const=ALL_BITS,
        help="compare every --bits, and keep files only with -o",
    )
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
    options = Options(**vars(parser.parse_args(argv)))
    return run_command("quantise", lambda: _quantise_and_compare(options))


def _quantise_and_compare(options: Options) -> int:
    """Quantise into a temporary folder, print the comparison, then keep the files."""
    console = Console(highlight=False, markup=False)
    checkpoint = resolve_checkpoint(options.checkpoint)
    name = checkpoint_name(checkpoint)
    names = [f"{name}-{bits}bit.safetensors" for bits in options.bits]
    targets = _choose_targets(options, checkpoint, names)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in names]
        for file, bits in zip(files, options.bits, strict=True):
            quantise_checkpoint(checkpoint, file, bits)
        dataset, about = load_labelled_patches(options.data, options.split, console)
        comparisons = compare_checkpoints([checkpoint, *files], dataset, options.device)
        console.print(f"{name} on {about}", soft_wrap=True)
        console.print("bits       bytes  micro IoU  mean IoU  same mask")
        for width, (size, micro, mean, same) in zip((32, *options.bits), comparisons, strict=True):
            console.print(f"{width:4} {size:11,} {micro:10.3f} {mean:9.3f} {same:10.2%}")
        for file, target in zip(files, targets, strict=False):
            with atomic_write(target) as temporary:
                shutil.copyfile(file, temporary)
            console.print(f"wrote {target}", soft_wrap=True)
    return 0


def _choose_targets(options: Options, checkpoint: Path, names: Sequence[str]) -> list[Path]:
    """Return where to keep the files, which may be nowhere; ValueError if a target exists."""
    if len(names) > 1:
        targets = [options.output / name for name in names] if options.output else []
    else:
        folder = Path() if is_hub_address(options.checkpoint) else checkpoint.parent
        targets = [options.output or folder / names[0]]
    for target in targets:
        if target.resolve() == checkpoint.resolve():
            raise ValueError(f"{target} is the full checkpoint itself; choose another -o")
        if target.exists() and not options.overwrite:
            raise ValueError(f"{target} is there already; choose another -o, or add --overwrite")
    return targets


def quantise_checkpoint(source: Path, target: Path, bits: Bits) -> None:
    """Write `source` in fewer bits, without its scores: those belong to the full weights.

    CheckpointError if `source` is not a checkpoint, ValueError if it is quantised already.
    """
    model = load_checkpoint(source)
    assert model.card
    if now := model.card.quantisation:
        raise ValueError(f"{source.name} is in {now.bits} bits already; take the full checkpoint")
    provenance = {**model.card.provenance, "metrics": {}}
    save_checkpoint(target, model, **provenance, quantisation=Quantisation(bits))


def compare_checkpoints(
    files: Sequence[Path], dataset: PatchDataset, device: str = "auto"
) -> list[Comparison]:
    """Score files on a labelled set, all at the threshold of the first, the full checkpoint."""
    segmenter = Segmenter(files, device)
    probabilities = segmenter.probabilities(dataset.images.numpy(), interpret=False)
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


if __name__ == "__main__":
    sys.exit(main())

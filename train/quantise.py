"""Write a checkpoint in fewer bits: `python -m train.quantise checkpoints/402-unet.safetensors`.

Prints what that does to its size and its scores.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
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
from geoseg.quantisation import Bits, Per, Quantisation
from geoseg.segmenter import Segmenter
from train.evaluate.data import load_labelled_patches

ALL = tuple(Quantisation(bits, per) for bits in get_args(Bits) for per in get_args(Per))


class Outcome(NamedTuple):
    """One file: its bytes, its scores, and the share of pixels with the mask of the full one."""

    size: int
    micro_iou: float
    iou: float
    agreement: float


def quantised_name(name: str, quantisation: Quantisation) -> str:
    """What a checkpoint is called in fewer bits.

    >>> quantised_name("402-unet", Quantisation(8)), quantised_name("a", Quantisation(4, "layer"))
    ('402-unet-8bit', 'a-4bit-layer')
    """
    suffix = "" if quantisation.per == "channel" else f"-{quantisation.per}"
    return f"{name}-{quantisation.bits}bit{suffix}"


def quantise(source: Path, target: Path, quantisation: Quantisation) -> None:
    """Write `source` in fewer bits. Its scores stay behind: they are those of the full weights.

    CheckpointError where `source` is no checkpoint, ValueError where it is quantised already.
    """
    model = load_checkpoint(source)
    card = model.card
    assert card
    if card.quantisation:
        raise ValueError(
            f"{source.name} is in {card.quantisation.bits} bits already; take the full checkpoint"
        )
    told = {**card.provenance, "metrics": {}}  # they are the full one's
    save_checkpoint(target, model, **told, quantisation=quantisation)


def compare(files: list[Path], dataset: PatchDataset, device: str = "auto") -> list[Outcome]:
    """What became of each file on a labelled set, the first being the full one."""
    segmenter = Segmenter(files, device)
    probabilities = segmenter.probabilities(dataset.images.numpy())
    truth = dataset.masks == 1
    threshold = segmenter.cards[segmenter.names[0]].threshold  # one for all
    full = probabilities[segmenter.names[0]]
    same = ~np.isnan(full)
    return [
        Outcome(
            file.stat().st_size,
            scores(array, truth, threshold=threshold, average="micro")["iou"],
            scores(array, truth, threshold=threshold)["iou"],
            float(((array > threshold) == (full > threshold))[same].mean()),
        )
        for file, array in zip(files, probabilities.values(), strict=True)
    ]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.quantise", description=__doc__)
    add = parser.add_argument
    add("checkpoint", help="safetensors file with float32 weights, or hf://user/repo on the Hub")
    add("--bits", type=int, choices=get_args(Bits), default=8, help="default: %(default)s")
    add(
        "--per",
        choices=get_args(Per),
        default="channel",
        help="what has a scale of its own (default: channel)",
    )
    add("--all", action="store_true", help="compare every --bits and --per, and keep only with -o")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="file, or folder with --all (default: NAME-8bit.safetensors beside the checkpoint, or "
        "here for one of the Hub)",
    )
    add("--overwrite", action="store_true", help="replace what is there")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set in the SLB layout to score on (default: fresh synthetic wells)",
    )
    add("--split", default="validation", help="folder of --data (default: validation)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Quantise and compare as the command line says; gives the exit code."""
    try:
        return _run(parse(argv))
    except KeyboardInterrupt:
        print("quantise: stopped; nothing is written.", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    console = Console(highlight=False, markup=False)
    chosen = ALL if arguments.all else (Quantisation(arguments.bits, arguments.per),)
    with tempfile.TemporaryDirectory() as folder:
        try:
            checkpoint = resolve_checkpoint(arguments.checkpoint)
            name = checkpoint_name(checkpoint)
            files = [Path(folder, f"{quantised_name(name, q)}.safetensors") for q in chosen]
            beside = Path() if is_hub_address(arguments.checkpoint) else checkpoint.parent
            targets = _targets(arguments, checkpoint, beside, files)
            for file, quantisation in zip(files, chosen, strict=True):
                quantise(checkpoint, file, quantisation)
            dataset, about = load_labelled_patches(arguments.data, arguments.split, console)
            outcomes = compare([checkpoint, *files], dataset, arguments.device)
        except (OSError, ValueError) as error:
            print(f"quantise: {error}", file=sys.stderr)
            return 2
        console.print(_render(f"{name} on {about}", chosen, outcomes))
        try:
            for file, target in zip(files, targets, strict=False):
                with name_in_errors(target), atomic_write(target) as temporary:
                    shutil.copyfile(file, temporary)
                console.print(f"wrote {target}", soft_wrap=True)
        except OSError as error:
            print(f"quantise: {error}", file=sys.stderr)
            return 1
    return 0


def _targets(
    arguments: argparse.Namespace, checkpoint: Path, beside: Path, files: list[Path]
) -> list[Path]:
    """Where to keep `files`, if anywhere; ValueError where something is already there."""
    output: Path | None = arguments.output
    if arguments.all:
        targets = [output / file.name for file in files] if output else []
    else:
        targets = [output or beside / files[0].name]
    for target in targets:
        if target.resolve() == checkpoint.resolve():
            raise ValueError(f"{target} is the full checkpoint itself; choose another -o")
        if target.exists() and not arguments.overwrite:
            raise ValueError(f"{target} is there already; choose another -o, or add --overwrite")
    return targets


def _render(title: str, chosen: tuple[Quantisation, ...], outcomes: list[Outcome]) -> Table:
    # Narrow enough for 80 columns: a log file has no more.
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
    for heading in ("bits", "scale", "bytes", "micro IoU", "mean IoU", "same mask"):
        table.add_column(heading, justify="left" if heading == "scale" else "right")
    stored = [("32", "none"), *((f"{q.bits}", f"a {q.per}") for q in chosen)]
    for (bits, scale), outcome in zip(stored, outcomes, strict=True):
        values = (f"{value:.3f}" for value in (outcome.micro_iou, outcome.iou))
        table.add_row(bits, scale, f"{outcome.size:,}", *values, f"{outcome.agreement:.2%}")
    return table


if __name__ == "__main__":
    sys.exit(main())

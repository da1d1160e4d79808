"""Score checkpoints on labelled patches: `python -m train.evaluate checkpoints/*.safetensors`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from geoseg.checkpoint import checkpoint_name, load_checkpoint, save_checkpoint
from geoseg.dataset import PatchDataset
from geoseg.metrics import METRICS, EmptyRule, average_scores, count
from geoseg.segmenter import Segmenter
from geoseg.synthetic import synthetic_dataset

# Wells of another seed than the trainer's own set and than any that a user would choose by chance:
# no run has seen them, not even to choose an epoch.
FRESH_WELLS, FRESH_PATCHES, FRESH_SEED = 15, 2400, 1_000_003


def evaluate(
    segmenter: Segmenter, dataset: PatchDataset, empty: EmptyRule = "challenge"
) -> dict[str, dict[str, float]]:
    """Scores of every model on a labelled set, at its checkpoint's threshold.

    The five metrics are means over patches; `micro_iou` and `micro_dice` pool all pixels;
    `threshold` is the one that was used.
    """
    truth = dataset.masks == 1
    table = {}
    for name, array in segmenter.probabilities(dataset.images.numpy()).items():
        probability = torch.from_numpy(array)
        mask = probability > segmenter.cards[name].threshold
        counts = count(mask, truth, ~probability.isnan())
        pooled = average_scores(counts, empty=empty, average="micro")
        table[name] = {
            "micro_iou": pooled["iou"],
            "micro_dice": pooled["dice"],
            **average_scores(counts, empty=empty),
            "threshold": segmenter.cards[name].threshold,
        }
    return table


def record(paths: list[Path], key: str, table: dict[str, dict[str, float]], about: str) -> None:
    """Keep the scores in the checkpoints, under `key`, with what they were measured on."""
    for path in paths:
        model = load_checkpoint(path)
        card = model.card
        assert card
        entry = {**{k: round(v, 6) for k, v in table[checkpoint_name(path)].items()}, "on": about}
        save_checkpoint(
            path,
            model,
            normalisation=card.normalisation,
            threshold=card.threshold,
            experiment=card.experiment,
            data=card.data,
            metrics={**card.metrics, key: entry},
            quantisation=card.quantisation,
        )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="safetensors files")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set in the SLB layout (default: fresh synthetic wells)",
    )
    parser.add_argument(
        "--split", default="validation", help="folder of --data to score on (default: validation)"
    )
    parser.add_argument(
        "--empty",
        choices=get_args(EmptyRule),
        default="challenge",
        help="what a patch without a groove is worth (default: challenge)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores here")
    parser.add_argument(
        "--record", metavar="NAME", help="also keep the scores in the checkpoints, under NAME"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    arguments = parser.parse_args(argv)
    if arguments.record and arguments.empty != "challenge":
        parser.error("--record keeps scores by the challenge's rule only; leave --empty away")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Score what the command line names; gives the exit code."""
    arguments = parse(argv)
    console = Console(highlight=False)
    try:
        segmenter = Segmenter(arguments.checkpoints, arguments.device)
        if arguments.json:
            arguments.json.touch()  # better to fail now than after the scoring
        dataset, about = labelled_set(arguments, console)
        table = evaluate(segmenter, dataset, arguments.empty)
    except (OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    console.print(_render(table, segmenter, f"{about}; empty truth: {arguments.empty} rule"))
    try:
        if arguments.json:
            report = {"on": about, "empty": arguments.empty, "scores": table}
            arguments.json.write_text(json.dumps(report, indent=2) + "\n")
        if arguments.record:
            record(arguments.checkpoints, arguments.record, table, about)
    except OSError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    return 0


def labelled_set(arguments: argparse.Namespace, console: Console) -> tuple[PatchDataset, str]:
    """What `--data` and `--split` name, or fresh synthetic wells, and what it is in words.

    Says which files were rejected. ValueError where nothing has a label.
    """
    if arguments.data is None:
        dataset = synthetic_dataset(FRESH_WELLS, FRESH_PATCHES, FRESH_SEED)
        about = f"{len(dataset):,} synthetic patches, {FRESH_WELLS} wells, seed {FRESH_SEED}"
        return dataset, about
    whole = PatchDataset.load(arguments.data, [arguments.split], cache=False)
    if whole.rejections:
        console.print(whole.rejection_summary())
    dataset = whole.select(whole.labelled)
    if not len(dataset):
        raise ValueError(f"{arguments.split} of {arguments.data} has no labels to score against")
    name = f"{arguments.data.resolve().name}/{arguments.split}"
    rejected = f" ({len(whole.rejections):,} files rejected)" if whole.rejections else ""
    return dataset, f"{len(dataset):,} patches of {name}{rejected}"


def _render(table: dict[str, dict[str, float]], segmenter: Segmenter, title: str) -> Table:
    # Narrow enough for 80 columns: a log file has no more.
    rendered = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
    rendered.add_column("model @ threshold", no_wrap=True)
    columns = ("micro_iou", "micro_dice", *METRICS[::-1])
    for heading in columns:
        rendered.add_column(heading.replace("_", "\n"), justify="right", vertical="bottom")
    for name, values in table.items():
        label = f"{name} @ {segmenter.cards[name].threshold:g}"
        rendered.add_row(label, *(f"{values[c]:.3f}" for c in columns))
    return rendered


if __name__ == "__main__":
    sys.exit(main())

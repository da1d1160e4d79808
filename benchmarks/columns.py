"""Measure masks at other numbers of columns: `python benchmarks/columns.py`.

Segment synthetic wells that are sampled at A places round the pipe, once with all A columns given
to the model and once as the segmenter does it, and compare the masks with the truth at these
places. Write benchmarks/columns.json and the table in docs/measurements.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from geoseg.azimuth import ColumnSets
from geoseg.metrics import compute_iou
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.synthetic import synthesize
from train.markdown_tables import replace_table

WIDTHS = (24, 36, 48, 60, 72, 90, 100, 120, 144, 180, 200, 360)
CHECKPOINTS = ("3000-ring-unet", "402-unet")
WELLS, ROWS, SEED = 16, 360, 7
ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = ROOT / "docs" / "measurements.md"


def measure_ious(
    segmenter: Segmenter, name: str, width: int, *, wells: int = WELLS, rows: int = ROWS
) -> dict[str, float]:
    """Return the IoU over all pixels, with `width` columns as they are and brought to the card's.

    The grooves are the same at every width; noise, spikes and nulls are drawn for each.
    """
    images, masks = synthesize(wells, rows, columns=width, seed=SEED)
    segmenter.model(name)
    card = segmenter.cards[name]
    found = {}
    for way, columns in (("as it is", width), ("brought", card.columns)):
        segmenter.cards[name] = replace(card, columns=columns)
        probability = segmenter.probabilities(images.numpy(), [name], interpret=False)[name]
        mask = torch.from_numpy(probability > card.threshold)
        iou = compute_iou(*(x.flatten()[None] for x in (mask, masks == 1, ~images.isnan())))
        found[way] = round(float(iou), 3)
    segmenter.cards[name] = card
    return found


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table."""
    heads = [f"{name}, {way}" for name in results["iou"] for way in ("as it is", "brought to 36")]
    lines = [
        f"| columns | {' | '.join(heads)} | pixels computed |",
        "|---" * (len(heads) + 2) + "|",
    ]
    for width, factor in results["pixels"].items():
        cells = [f"{iou:.3f}" for rows in results["iou"].values() for iou in rows[width].values()]
        lines.append(f"| {width} | {' | '.join(cells)} | {factor:g} times |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    segmenter = Segmenter([ROOT / "checkpoints" / f"{name}.safetensors" for name in CHECKPOINTS])
    ious: dict[str, dict[str, dict[str, float]]] = {name: {} for name in CHECKPOINTS}
    for width in track_progress(WIDTHS, "Columns"):
        for name, rows in ious.items():
            rows[str(width)] = measure_ious(segmenter, name, width)
    results = {
        "wells": WELLS,
        "rows": ROWS,
        "pixels": {str(w): round(ColumnSets(w, 36).number * 36 / w, 2) for w in WIDTHS},
        "iou": ious,
    }
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(DOCUMENT, "columns", table(results))
    Console().print_json(data=results)


if __name__ == "__main__":
    main()

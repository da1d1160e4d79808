"""Measure the spread between seeds: `python benchmarks/seeds.py CHECKPOINT ...`.

Score checkpoints of one recipe, trained with several seeds, on synthetic wells left out and on the
patches of --data. Write benchmarks/seeds.json and the table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console

from geoseg.checkpoint import read_card
from geoseg.segmenter import Segmenter
from train.evaluate import evaluate
from train.evaluate.data import load_labelled_patches
from train.markdown_tables import replace_table

OUTPUT = Path(__file__).with_suffix(".json")
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
SCORES = ("micro_iou", "iou", "tolerant_dice", "ece")


def table(results: dict[str, Any]) -> str:
    """Format the Markdown table: mean and standard deviation between seeds."""
    lines = [
        "| " + " | ".join([results["recipe"], *(s.replace("_", " ") for s in SCORES)]) + " |",
        "|---" * (len(SCORES) + 1) + "|",
    ]
    for about, seeds in results["scores"].items():
        cells = []
        for score in SCORES:
            values = [row[score] for row in seeds.values()]
            cells.append(f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")
        lines.append(f"| {about}, {len(seeds)} seeds | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="one for each seed, at least two")
    parser.add_argument("--data", type=Path, help="labelled patches to score on as well")
    arguments = parser.parse_args()
    console = Console()
    cards = [read_card(path).experiment for path in arguments.checkpoints]
    if len({card["id"] for card in cards}) > 1 or len({card["seed"] for card in cards}) < 2:
        parser.error("give at least two checkpoints of one recipe, each with another seed")
    results: dict[str, Any] = {"recipe": "", "scores": {}}
    for folder in [None, arguments.data] if arguments.data else [None]:
        dataset, about = load_labelled_patches(folder, "validation", console)
        rows = {}
        for path in arguments.checkpoints:
            segmenter = Segmenter([path])
            (name,) = segmenter.names
            experiment = segmenter.cards[name].experiment
            (scores,) = evaluate(segmenter, dataset).values()
            rows[str(experiment["seed"])] = {s: round(scores[s], 4) for s in SCORES}
            results["recipe"] = f"{experiment['id']}-{experiment['name']}"
        results["scores"][about] = rows
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n")
    replace_table(DOCUMENT, "seeds", table(results))
    console.print_json(data=results)


if __name__ == "__main__":
    main()

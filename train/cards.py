"""Write the cards of checkpoints and a table of them: `python -m train.cards checkpoints`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from geoseg.atomic_files import atomic_write_text
from geoseg.card import Card
from geoseg.checkpoint import (
    CheckpointError,
    checkpoint_name,
    find_checkpoints,
    load_checkpoint,
)
from geoseg.command_line import run_command
from geoseg.models import Model
from train.markdown_tables import replace_table

_RUN = ("epochs", "epochs_done", "seconds", "device", "threads", "precision", "seed", "torch")
_SCORES = ("micro_iou", "micro_dice", "iou", "dice", "precision", "recall", "accuracy", "ece")
_ROBUSTNESS = ("same_mask_at_every_shift", "kept_at_half_gain")


def make_summary_table(models: dict[str, Model], files: Sequence[Path]) -> str:
    """Return a Markdown table with a row per checkpoint.

    Scores against a proxy are left to `describe_checkpoint`.
    """
    recorded = {name: find_recorded_scores(get_card(model)) for name, model in models.items()}
    kinds = list(dict.fromkeys(kind for scores in recorded.values() for kind in scores))
    kinds = [kind for kind in kinds if not kind.startswith("proxy")]
    titles = [
        *("checkpoint", "parameters", "file", "training"),
        *(f"{_escape(kind)}: IoU micro / mean" for kind in kinds),
        *("same mask at every shift", "IoU kept at half gain"),
    ]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for (name, model), path in zip(models.items(), files, strict=True):
        card = get_card(model)
        seconds = card.experiment.get("seconds")
        file = f"{path.stat().st_size / 1000:,.0f} kB"
        if card.quantisation:
            file += f", {card.quantisation.bits} bits"
        scores = [recorded[name].get(kind, {}) for kind in kinds]
        row = [
            *(f"`{name}`", f"{model.count_parameters():,}", file),
            "" if seconds is None else f"{seconds / 60:.0f} min",
            *(
                f"{s['micro_iou']:.3f} / {s['iou']:.3f}" if {"micro_iou", "iou"} <= s.keys() else ""
                for s in scores
            ),
        ]
        for key in _ROBUSTNESS:
            values = [table[key] for table in recorded[name].values() if key in table]
            row.append(f"{values[0]:.0%}" if values else "")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def describe_checkpoint(name: str, model: Model) -> str:
    """Return the model, the training and the scores of one checkpoint in Markdown."""
    card = get_card(model)
    horizontal, vertical = model.receptive_field()
    run, quantisation = card.experiment, card.quantisation
    facts = {
        "Architecture": f"`{card.architecture}`, {_inline(card.arguments)}",
        "Parameters": f"{model.count_parameters():,}",
        "Weights": f"{quantisation.bits} bits, a scale per channel" if quantisation else "32 bits",
        "Receptive field": f"{horizontal} columns, {vertical} rows",
        "Input": f"{_inline(vars(card.normalisation))}; threshold {card.threshold:g}",
        "Trained on": card.data or "not recorded",
        "Command": f"`{run['command']}`" if "command" in run else "not recorded",
        "Run": _inline({key: run[key] for key in _RUN if key in run}) or "not recorded",
    }
    lines = [f"## {name}", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    scored = find_recorded_scores(card) or find_trained_scores(card)
    if not scored:
        return "\n".join([*lines, "No scores were measured."])
    lines += ["| scored on | " + " | ".join(s.replace("_", " ") for s in _SCORES) + " |"]
    lines += ["|---" * (len(_SCORES) + 1) + "|"]
    for kind, scores in scored.items():
        cells = " | ".join(f"{scores[s]:.3f}" if s in scores else "" for s in _SCORES)
        lines.append(f"| {_escape(kind)} ({_escape(scores['on'])}) | {cells} |")
    return "\n".join(lines)


def find_recorded_scores(card: Card) -> dict[str, dict[str, Any]]:
    """Return the scores that `train.evaluate --record` wrote, by kind; "on" names the data."""
    return {kind: scores for kind, scores in _numeric_scores(card).items() if "on" in scores}


def find_trained_scores(card: Card) -> dict[str, dict[str, Any]]:
    """Return the scores that the trainer wrote, by kind; "on" says how they were measured."""
    return {
        kind: {**s, "on": f"threshold {s.get('threshold', 0.5):g}; the best epoch was chosen by it"}
        for kind, s in _numeric_scores(card).items()
        if "on" not in s
    }


def _numeric_scores(card: Card) -> dict[str, dict[str, Any]]:
    """Return the finite numbers of a card, by kind; the file may hold anything."""
    tables: dict[str, dict[str, Any]] = {}
    for kind, scores in card.metrics.items():
        for key, value in scores.items() if isinstance(scores, dict) else ():
            if key == "on" or (isinstance(value, int | float) and isfinite(value)):
                tables.setdefault(kind, {})[key] = str(value) if key == "on" else value
    return tables


def load_named_models(files: Sequence[Path]) -> dict[str, Model]:
    """Load checkpoints by name; raise CheckpointError for an unusable file or a repeated name."""
    models: dict[str, Model] = {}
    for file in files:
        name = checkpoint_name(file)
        if name in models:
            raise CheckpointError(f"two checkpoints are named {name!r}; rename one")
        models[name] = load_checkpoint(file)
    return models


def get_card(model: Model) -> Card:
    """Return the card of a model from a checkpoint."""
    assert model.card
    return model.card


def write_cards(folder: Path, readme: Path) -> int:
    """Write the README of the folder and the table in the project's; return the exit code."""
    files = find_checkpoints(folder)
    if not files:
        raise ValueError(f"no checkpoint in {folder}; name the folder that holds them")
    models = load_named_models(files)
    table = make_summary_table(models, files)
    cards = [describe_checkpoint(name, model) for name, model in models.items()]
    replace_table(readme, "checkpoints", table)
    text = "\n\n".join([_HEAD, table, _FOOTNOTE, *cards]) + "\n"
    atomic_write_text(folder / "README.md", text)
    return 0


@dataclass(frozen=True)
class CardsOptions:
    """The command line; the help of each option says what it means."""

    folder: Path
    readme: Path


def main(argv: list[str] | None = None) -> int:
    """Write the cards that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.cards", description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", default=Path("checkpoints"))
    add("--readme", type=Path, default=Path("README.md"), help="the file with the table to update")
    options = CardsOptions(**vars(parser.parse_args(argv)))
    return run_command("cards", lambda: write_cards(options.folder, options.readme))


_HEAD = "# Checkpoints\n\nWritten by `python -m train.cards` from the metadata of each file."
TABLE_NOTE = (
    "Micro pools the pixels of all patches; mean averages the patches by the challenge's rule (1 "
    "if label and mask are both empty, 0 if only one is). Same mask at every shift: the share of "
    "patches whose mask is the same after each of the 36 shifts, shifted back. The last column is "
    "the mean IoU between the masks of halved values and of the unchanged values. Each checkpoint "
    "is one run with one seed, so a difference of a few hundredths is not significant."
)
_FOOTNOTE = (
    f"{TABLE_NOTE} Thresholds were chosen on the validation wells of the training set, not on real "
    "data. Scored with `python -m train.evaluate checkpoints/*.safetensors --record NAME`, and "
    "with `--data DIR --all` for the real patches. A proxy mask is one on which two public models "
    "agree that were trained on these same wells, with `--log LOG --log-truth PROXY`; it is not a "
    "label."
)


def _escape(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def _inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


if __name__ == "__main__":
    sys.exit(main())

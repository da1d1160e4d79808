"""Write what the checkpoints say of themselves: `python -m train.cards checkpoints`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
from geoseg.models import Model
from train.markdown_tables import replace_table

_RUN = ("epochs", "epochs_done", "seconds", "device", "threads", "precision", "seed", "torch")
_SCORES = ("micro_iou", "micro_dice", "iou", "dice", "precision", "recall", "accuracy", "ece")
_ROBUSTNESS = ("same_mask_at_every_shift", "kept_at_half_gain")


def summary(models: dict[str, Model], sizes: dict[str, int]) -> str:
    """One Markdown table of all checkpoints, a row each; `sizes` are the files' in bytes.

    What was scored against a proxy of the truth is left to the details.
    """
    kinds = list(dict.fromkeys(kind for m in models.values() for kind in recorded_scores(_card(m))))
    kinds = [kind for kind in kinds if not kind.startswith("proxy")]
    lines = [
        "| checkpoint | parameters | file | training |"
        + "".join(f" {_cell(k)}: IoU micro / mean |" for k in kinds)
        + " masks turn with the pipe | IoU kept at half gain |",
        "|---|---|---|---|" + "---|" * (len(kinds) + 2),
    ]
    for name, model in models.items():
        scores = [recorded_scores(_card(model)).get(kind, {}) for kind in kinds]
        cells = [
            f"{s['micro_iou']:.3f} / {s['iou']:.3f}" if {"micro_iou", "iou"} <= s.keys() else ""
            for s in scores
        ]
        seconds = _card(model).experiment.get("seconds")
        time = "" if seconds is None else f"{seconds / 60:.0f} min"
        file = f"{sizes[name] / 1000:,.0f} kB"
        if quantisation := _card(model).quantisation:
            file += f", {quantisation.bits} bits"
        cells += [_robustness(model, key) for key in _ROBUSTNESS]
        row = [f"`{name}`", f"{model.count_parameters():,}", file, time, *cells]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def details(name: str, model: Model) -> str:
    """One checkpoint in Markdown: what it is, how it came to be, how good it is."""
    card = _card(model)
    horizontal, vertical = model.receptive_field()
    run, quantisation = card.experiment, card.quantisation
    facts = {
        "Architecture": f"`{card.architecture}`, {_inline(card.arguments)}",
        "Parameters": f"{model.count_parameters():,}",
        "Weights": f"{quantisation.bits} bits, a scale a channel" if quantisation else "32 bits",
        "Receptive field": f"{horizontal} columns, {vertical} rows",
        "Input": f"{_inline(vars(card.normalisation))}; threshold {card.threshold:g}",
        "Trained on": card.data or "not said",
        "Command": f"`{run['command']}`" if "command" in run else "not said",
        "Run": _inline({key: run[key] for key in _RUN if key in run}) or "not said",
    }
    lines = [f"## {name}", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    scored = recorded_scores(card) or trained_scores(card)
    if not scored:
        return "\n".join([*lines, "Nothing was measured."])
    lines += ["| scored on | " + " | ".join(s.replace("_", " ") for s in _SCORES) + " |"]
    lines += ["|---" * (len(_SCORES) + 1) + "|"]
    for kind, scores in scored.items():
        cells = " | ".join(f"{scores[s]:.3f}" if s in scores else "" for s in _SCORES)
        label = _cell(f"{kind} ({scores['on']})")
        lines.append(f"| {label} | {cells} |")
    return "\n".join(lines)


def recorded_scores(card: Card) -> dict[str, dict[str, Any]]:
    """The scores that `train.evaluate --record` put there, by kind, with "on" what."""
    return {kind: scores for kind, scores in _scores(card).items() if "on" in scores}


def trained_scores(card: Card) -> dict[str, dict[str, Any]]:
    """The scores that the trainer itself took, by kind, each with what to know of it as "on"."""
    return {
        kind: {**s, "on": f"threshold {s.get('threshold', 0.5):g}; the best epoch was chosen by it"}
        for kind, s in _scores(card).items()
        if "on" not in s
    }


def _scores(card: Card) -> dict[str, dict[str, Any]]:
    """All numbers of a card, by kind; a file of another's hand may hold anything."""
    tables = {kind: scores for kind, scores in card.metrics.items() if isinstance(scores, dict)}
    found = {
        kind: {
            key: str(value) if key == "on" else value
            for key, value in scores.items()
            if key == "on" or (isinstance(value, int | float) and isfinite(value))
        }
        for kind, scores in tables.items()
    }
    return {kind: scores for kind, scores in found.items() if scores}


def load_named(files: Sequence[Path]) -> dict[str, Model]:
    """The models of files by name; CheckpointError for a file of no use, or two of one name."""
    models: dict[str, Model] = {}
    for file in files:
        name = checkpoint_name(file)
        if name in models:
            raise CheckpointError(f"two checkpoints are named {name!r}; rename one")
        models[name] = load_checkpoint(file)
    return models


def sizes(files: Sequence[Path]) -> dict[str, int]:
    """The bytes of files by the names of their checkpoints."""
    return {checkpoint_name(file): file.stat().st_size for file in files}


def main(argv: list[str] | None = None) -> int:
    """Write the folder's README and the table in the project's; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.cards", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("checkpoints"))
    parser.add_argument(
        "--readme", type=Path, default=Path("README.md"), help="whose marked table to renew"
    )
    arguments = parser.parse_args(argv)
    try:
        files = find_checkpoints(arguments.folder)
        if not files:
            raise ValueError(
                f"no checkpoint in {arguments.folder}; name the folder that holds them"
            )
        models = load_named(files)
        table = summary(models, sizes(files))
        parts = [_HEAD, table, _NOTE, *(details(name, model) for name, model in models.items())]
        replace_table(arguments.readme, "checkpoints", table)
        atomic_write_text(arguments.folder / "README.md", "\n\n".join(parts) + "\n")
    except (OSError, ValueError) as error:
        print(f"cards: {error}", file=sys.stderr)
        return 2
    return 0


_HEAD = "# Checkpoints\n\nWritten by `python -m train.cards` from what each file says of itself."
MEANING = (
    "Micro pools the pixels of all patches; mean averages the patches by the challenge's rule (1 "
    "where truth and prediction are both empty, 0 where one is). Masks turn with the pipe where "
    "the mask of a patch is the same after each of its 36 shifts, turned back. The last column is "
    "the mean IoU of the masks of halved values with those of the values as they are. Each is one "
    "run with one seed, so a difference of a few hundredths names no winner."
)
_NOTE = (
    f"{MEANING} Thresholds were chosen on the validation wells of the training set, never on real "
    "data. Scored with `python -m train.evaluate checkpoints/*.safetensors --record NAME`, and "
    "with `--data DIR --all` for the real patches. A proxy mask is what two public models agree on "
    "that were trained on these very wells, with `--log LOG --log-truth PROXY`; it is not the "
    "truth."
)


def _card(model: Model) -> Card:
    assert model.card
    return model.card


def _cell(text: str) -> str:
    """Text for a cell of a table in Markdown."""
    return text.replace("|", "\\|")


def _robustness(model: Model, key: str) -> str:
    """A share as the first set has it on which it was measured, or nothing."""
    values = [s[key] for s in recorded_scores(_card(model)).values() if key in s]
    return f"{values[0]:.0%}" if values else ""


def _inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


if __name__ == "__main__":
    sys.exit(main())

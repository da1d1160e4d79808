"""The command line of `python -m train`, parsed into a frozen dataclass."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.checkpoint import resolve_checkpoint
from geoseg.measurement_options import add_measurement_options, take_measurement_options
from geoseg.measurements import MeasurementOptions
from geoseg.synthetic.datasets import SEED_LIMIT
from train.experiments import Experiment, find_experiments
from train.tuning import CHOICES

FRESH_PATCHES = 8192


@dataclass(frozen=True)
class TrainOptions:
    """The options of `python -m train`, explained by its --help.

    Attributes:
        arguments: the words of the command line.
        experiments: with the requested number of epochs.
        data: None stands for data/, or synthetic pipes if it is missing.
        labels: a csv in the challenge's form, instead of the labels of `data`.
        measurements: what the user says of the measurements of `data`.
        fresh: patches per epoch; None trains on `data`.
        leave_out, fold, folds, random_split: at most one of these and `fresh` is not None.
        teachers: local files; if empty, the experiments name their teachers.
        wandb_mode: "disabled" or a mode of wandb; "online" falls back to "offline".
        wandb_group: the name of the command's runs if it has several.
    """

    arguments: tuple[str, ...]
    experiments: Sequence[Experiment]
    list_experiments: bool
    output: Path
    resume: bool
    overwrite: bool
    save_every: float
    data: Path | None
    labels: Path | None
    measurements: MeasurementOptions
    fresh: int | None
    label_faults: float
    leave_out: Sequence[int] | None
    fold: tuple[int, int] | None
    folds: int | None
    random_split: float | None
    allow_leakage: bool
    teachers: Sequence[Path]
    seed: int
    device: str
    precision: str
    compile: bool
    without: Sequence[str]
    wandb_mode: str
    wandb_project: str
    wandb_entity: str | None
    wandb_tags: Sequence[str]
    wandb_group: str | None


def parse_options(argv: Sequence[str] | None = None) -> TrainOptions:
    """Parse the command line, and download teachers from the Hub.

    Exit with code 2 if argparse refuses it; raise ValueError for an unknown experiment or teacher.
    """
    words = tuple(sys.argv[1:] if argv is None else argv)
    values = vars(_make_parser().parse_args(words))
    epochs, experiments = values.pop("epochs"), find_experiments(values.pop("experiments") or [])
    if epochs:
        experiments = [replace(e, epochs=epochs) for e in experiments]
    values["wandb_mode"] = values["wandb_mode"] or os.environ.get("WANDB_MODE") or "online"
    group = os.environ.get("WANDB_RUN_GROUP")
    if not group and len(experiments) * (values["folds"] or 1) > 1:
        ids = "-".join(str(e.id) for e in experiments)[:80]
        group = f"{ids}-{time.strftime('%Y%m%d-%H%M%S')}"
    teachers = [resolve_checkpoint(name) for name in values.pop("teacher")]
    return TrainOptions(
        arguments=words,
        experiments=experiments,
        measurements=take_measurement_options(values),
        teachers=teachers,
        wandb_group=group,
        **values,
    )


def _number(kind: type[int] | type[float], minimum: int) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not minimum <= value < SEED_LIMIT:
            raise argparse.ArgumentTypeError(f"{text} is not from {minimum} to {SEED_LIMIT - 1:,}")
        return value

    return number


def _fold(text: str) -> tuple[int, int]:
    try:
        index, count = map(int, text.split("/"))
    except ValueError:
        index = count = 0
    if not 1 <= index <= count:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/K with I from 1 to K, such as 1/5")
    return index, count


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train", description="Train experiments: `python -m train -e 300 301`."
    )
    add = parser.add_mutually_exclusive_group(required=True).add_argument
    add("-e", "--experiments", nargs="+", metavar="ID", help="ids or names; --list shows them")
    add("--list", dest="list_experiments", action="store_true", help="list the experiments")
    add = parser.add_argument
    add("-o", "--output", type=Path, default="runs", metavar="DIR", help="of the runs (runs/)")
    add("--epochs", type=_number(int, 1), metavar="N", help="instead of the recipe's number")
    teacher = "checkpoints to learn from, instead of the experiment's own teacher"
    add("--teacher", nargs="+", default=[], metavar="FILE", help=teacher)
    add("--seed", type=_number(int, 0), default=0, help="of all random numbers (0)")
    seconds = _number(float, 0)
    add(
        "--save-every", type=seconds, default=10.0, metavar="SECONDS", help="between two saves (10)"
    )
    add = parser.add_mutually_exclusive_group().add_argument
    add("--resume", action="store_true", help="continue a stopped run bit for bit, or start it")
    add("--overwrite", action="store_true", help="replace an existing run")
    _add_data_options(parser)
    add_measurement_options(parser)
    _add_hardware_options(parser)
    _add_tracking_options(parser)
    return parser


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="data set (default: data/, or synthetic pipes)")
    labels = "labels of --data in the challenge's form, instead of those in its folders"
    add("--labels", type=Path, metavar="CSV", help=labels)
    faults = "with --fresh: corrupt this share of the training labels as annotators do"
    add("--label-faults", type=float, default=0.0, metavar="SHARE", help=faults)
    add("--allow-leakage", action="store_true", help="accept a split with a well on both sides")
    add = parser.add_mutually_exclusive_group().add_argument
    fresh = f"train on synthetic pipes, N new patches every epoch (default: {FRESH_PATCHES:,})"
    add("--fresh", type=_number(int, 16), nargs="?", const=FRESH_PATCHES, metavar="N", help=fresh)
    add("--leave-out", type=int, nargs="+", metavar="WELL", help="validate on these wells")
    add("--fold", type=_fold, metavar="I/K", help="validate on fold I of K folds of whole wells")
    add("--folds", type=int, metavar="K", help="cross-validate: a run for each of K folds of wells")
    add("--random-split", type=float, metavar="SHARE", help="of patches; needs --allow-leakage")


def _add_hardware_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_mutually_exclusive_group().add_argument
    add("--device", default="auto", help="auto, cpu or cuda (default: auto, a GPU if there is one)")
    add("--cpu", dest="device", action="store_const", const="cpu", help="for --device cpu")
    add = parser.add_argument
    precision = "of the convolutions (default: auto, bf16 if the processor supports it natively)"
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help=precision)
    add("--compile", action="store_true", help="use Inductor (default: in long runs on a GPU)")
    add("--without", nargs="+", choices=CHOICES, default=[], help="turn off choices made for speed")


def _add_tracking_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "Weights & Biases", "Each option overrides wandb's own environment variable."
    )
    add = group.add_mutually_exclusive_group().add_argument
    mode = "default: WANDB_MODE, or online; without a login or a network offline"
    add("--wandb-mode", choices=("online", "offline", "disabled"), help=mode)
    add(
        *("-nowb", "--no-wandb"),
        dest="wandb_mode",
        action="store_const",
        const="disabled",
        help="do not track the runs",
    )
    add = group.add_argument
    project = os.environ.get("WANDB_PROJECT") or "geoseg"
    add("--wandb-project", default=project, metavar="NAME", help="default: WANDB_PROJECT or geoseg")
    add("--wandb-entity", metavar="NAME", help="user or team (default: WANDB_ENTITY)")
    tags = [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]
    add("--wandb-tags", nargs="+", default=tags, metavar="TAG", help="default: WANDB_TAGS")

"""The command line of `python -m train`, parsed into frozen dataclasses."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geoseg.checkpoint import resolve_checkpoint
from geoseg.synthetic.datasets import SEED_LIMIT
from train.data import FRESH_PATCHES, DataOptions
from train.experiments import Experiment, find_experiments
from train.tracking import PROJECT, TrackingOptions
from train.tuning import CHOICES


@dataclass(frozen=True)
class TrainOptions:
    """The options of `python -m train`.

    Attributes:
        arguments: the words of the command line.
        experiments: with the requested number of epochs.
        list_experiments: only print the table of experiments.
        output: the folder of the runs' folders.
        data: which data, and how to split it.
        tracking: how to track with Weights & Biases.
        resume, overwrite: what to do with a run that exists; at most one is set.
        save_every: seconds between two saves.
        teachers: checkpoints, already downloaded; if empty, the experiments name their teachers.
        seed: of all random numbers.
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        precision, compile, without: of `choose_tuning`.
    """

    arguments: tuple[str, ...]
    experiments: tuple[Experiment, ...]
    list_experiments: bool
    output: Path
    data: DataOptions
    tracking: TrackingOptions
    resume: bool
    overwrite: bool
    save_every: float
    teachers: tuple[Path, ...]
    seed: int
    device: str
    precision: str
    compile: bool
    without: tuple[str, ...]

    @property
    def command(self) -> str:
        """The whole command, quoted for a shell."""
        return shlex.join(["python", "-m", "train", *self.arguments])


def parse_options(argv: Sequence[str] | None = None) -> TrainOptions:
    """Parse the command line, and download teachers from the Hub.

    Exit with code 2 if argparse or a check of one value fails. Raise ValueError if an experiment,
    a fold, a name for wandb or a teacher is wrong.
    """
    words = tuple(sys.argv[1:] if argv is None else argv)
    parser = _make_parser()
    given = parser.parse_args(words)
    _check_values(parser, given)
    experiments = find_experiments(given.experiments or [])
    if given.epochs:
        experiments = [replace(e, epochs=given.epochs) for e in experiments]
    return TrainOptions(
        arguments=words,
        experiments=tuple(experiments),
        list_experiments=given.list,
        output=given.output,
        data=DataOptions(
            folder=given.data,
            fresh=given.fresh,
            label_faults=given.label_faults,
            seed=given.seed,
            leave_out=tuple(given.leave_out) if given.leave_out is not None else None,
            fold=_parse_fold(given.fold) if given.fold is not None else None,
            folds=given.folds,
            random_split=given.random_split,
            allow_leakage=given.allow_leakage,
        ),
        tracking=TrackingOptions.choose(
            "disabled" if given.no_wandb else given.wandb_mode,
            given.wandb_project,
            given.wandb_entity,
            given.wandb_tags,
            [e.id for e in experiments],
            given.folds or 1,
        ),
        resume=given.resume,
        overwrite=given.overwrite,
        save_every=given.save_every,
        teachers=tuple(resolve_checkpoint(name) for name in given.teacher),
        seed=given.seed,
        device="cpu" if given.cpu else given.device,
        precision=given.precision,
        compile=given.compile,
        without=tuple(given.without),
    )


def _check_values(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Exit with the usage if a value is out of range or two options contradict each other."""
    if not given.list and not given.experiments:
        parser.error("name the experiments with -e; --list shows them")
    if not 0 <= given.seed < SEED_LIMIT:
        parser.error(f"--seed is {given.seed}; it must be from 0 to {SEED_LIMIT - 1:,}")
    for name, requested in (("compile", given.compile), ("bf16", given.precision == "bf16")):
        if requested and name in given.without:
            parser.error(f"{name} is both requested and excluded by --without")
    if given.cpu and given.device not in ("auto", "cpu"):
        parser.error(f"--cpu and --device {given.device} contradict each other")
    if not given.save_every >= 0:
        parser.error(f"--save-every is {given.save_every}; it must be 0 or more seconds")
    if given.epochs is not None and given.epochs < 1:
        parser.error(f"--epochs is {given.epochs}; it must be at least 1")


def _parse_fold(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    digits = text.isascii() and slash and index.isdigit() and count.isdigit()
    if not digits or not 1 <= int(index) <= int(count):
        raise ValueError(f"fold {text!r} is not I/K with I from 1 to K, such as 1/5")
    return int(index), int(count)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train", description="Train experiments: `python -m train -e 300 301`."
    )
    add = parser.add_argument
    add("-e", "--experiments", nargs="+", metavar="ID", help="ids or names; --list shows them")
    add("--list", action="store_true", help="list the experiments and exit")
    runs = Path("runs")
    add(
        "-o",
        "--output",
        type=Path,
        default=runs,
        metavar="DIR",
        help="of the runs (default: runs/)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume",
        action="store_true",
        help="resume a run bit for bit after it was stopped or killed; start it if there is none",
    )
    existing.add_argument("--overwrite", action="store_true", help="replace an existing run")
    add(
        "--save-every",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="time between two saves; 0 saves after every step (default: 10)",
    )
    _add_data_options(parser)
    add("--epochs", type=int, metavar="N", help="train for N epochs instead of the recipe's number")
    add(
        "--teacher",
        nargs="+",
        default=[],
        metavar="FILE",
        help="checkpoints, or hf://user/repo, to learn from besides the labels; of several the "
        "logits are averaged (default: the experiment's own teacher, from its run in -o or from "
        "checkpoints/)",
    )
    add("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto, a GPU if there is one)")
    add("--cpu", action="store_true", help="the same as --device cpu")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of the convolutions (default: auto, bf16 if the processor supports it natively)",
    )
    add("--compile", action="store_true", help="use Inductor (default: in long runs on a GPU)")
    add(
        "--without",
        nargs="+",
        choices=CHOICES,
        default=[],
        metavar="CHOICE",
        help=f"turn off choices made for speed: {', '.join(CHOICES)}",
    )
    _add_tracking_options(parser)
    return parser


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set in the SLB layout (default: data/, or synthetic pipes if it is missing)",
    )
    add(
        "--fresh",
        type=int,
        nargs="?",
        const=FRESH_PATCHES,
        metavar="N",
        help=f"train on synthetic pipes, N new patches every epoch (default: {FRESH_PATCHES:,})",
    )
    add(
        "--label-faults",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="with --fresh: corrupt this share of the training labels as annotators do",
    )
    add("--allow-leakage", action="store_true", help="accept a split with a well on both sides")
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--leave-out",
        type=int,
        nargs="+",
        metavar="WELL",
        help="validate on these wells, train on the others (default: the folder's own split)",
    )
    add("--fold", metavar="I/K", help="validate on fold I (from 1) of K folds of whole wells")
    add(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: one run for each of K folds of whole wells, then mean and spread",
    )
    add(
        "--random-split",
        type=float,
        metavar="SHARE",
        help="validate on a random share of the patches; needs --allow-leakage",
    )


def _add_tracking_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "Weights & Biases", "Each option overrides wandb's own environment variable."
    )
    mode = group.add_mutually_exclusive_group()
    mode.add_argument("-nowb", "--no-wandb", action="store_true", help="do not track the runs")
    mode.add_argument(
        "--wandb-mode",
        choices=("online", "offline", "disabled"),
        help="default: WANDB_MODE, or online; without a login or a network offline",
    )
    add = group.add_argument
    add("--wandb-project", metavar="NAME", help=f"default: WANDB_PROJECT, or {PROJECT}")
    add("--wandb-entity", metavar="NAME", help="user or team (default: WANDB_ENTITY)")
    add("--wandb-tags", nargs="+", metavar="TAG", help="default: WANDB_TAGS")

"""Train on another machine: `python -m train.remote -e 300 301 -u USER -p`, then `--fetch`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from geoseg.checkpoint import CheckpointError
from geoseg.dataset.download import HANDLE
from train.experiments import Experiment, find_experiments
from train.git import ROOT, CloneError, describe_unsent
from train.options import parse_options
from train.remote import jobs, kaggle
from train.remote.job import (
    RemoteError,
    choose_name,
    find_clone_url,
    find_commit,
    find_teachers,
    pack_code,
)
from train.remote.remote_script import TrainingJob
from train.remote.results import install_runs, is_of, ordered

BACKENDS = {"kaggle": kaggle, "hf-jobs": jobs}
_ACCOUNT, _DATA = re.compile(r"[\w-]+", re.ASCII), re.compile(r"[\w-]+/[\w-]+", re.ASCII)
_REPOSITORY = re.compile(r"[\w-]+/[\w.-]+", re.ASCII)
_NAME = re.compile(r"(?=.{5,50}$)[a-z0-9]+(-[a-z0-9]+)*")  # what Kaggle makes of a title
_URL = re.compile(r"https://[^@\s]+")
# What another machine is told of tracking; the key is not among it.
_TRACKING = [
    f"WANDB_{name}" for name in ("BASE_URL", "ENTITY", "MODE", "PROJECT", "RUN_GROUP", "TAGS")
]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; gives the exit code."""
    typed = list(sys.argv[1:] if argv is None else argv)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        arguments = _parse(typed)
        experiments = find_experiments(arguments.experiments)
        name = arguments.name or choose_name(experiments)
        if arguments.fetch:
            return _fetch(arguments, experiments, name, console)
        return _send(arguments, experiments, name, typed, console)
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (CheckpointError, CloneError, RemoteError, OSError, ValueError) as error:
        print(f"remote: {error}", file=sys.stderr)
        wrong = isinstance(error, ValueError) and not isinstance(error, CheckpointError)
        return 2 if wrong else 1


def _send(
    arguments: argparse.Namespace,
    experiments: list[Experiment],
    name: str,
    typed: list[str],
    console: Console,
) -> int:
    """Write what is sent, and send it if asked to."""
    order = _order(arguments, experiments, name, console)
    backend = BACKENDS[arguments.backend]
    usual = backend.HARDWARE if arguments.there.device.startswith("cuda") else backend.WITHOUT_GPU
    hardware = usual if arguments.hardware is None else arguments.hardware
    folder = arguments.folder or Path("remote", name)
    facts = backend.write(order, arguments.user, hardware, folder)
    carried = f"cloned from {order['clone']}" if order["clone"] else "which comes along"
    console.print(f"Written to {folder}:")
    for fact in (
        f"python -m train {shlex.join(order['arguments'])}",
        f"code at commit {order['commit'][:10] or 'unknown'}, {carried}",
        f"data {order['data'] or 'made there'}",
        f"saved and stopped after {order['hours']:g} hours",
        *facts,
    ):
        console.print(f"  {fact}")
    if not arguments.push:
        further = ["-p", *typed] if "--" in typed else [*typed, "-p"]
        console.print(f"Nothing was sent. To go on: python -m train.remote {shlex.join(further)}")
        return 0
    try:
        with console.status("Pushing"):
            where = backend.push(order, arguments.user, hardware, folder)
    except KeyboardInterrupt:
        page = backend.PAGE.format(user=arguments.user, name=name)
        console.print(f"Stopped; whether it has been started there is to be seen at {page}")
        return 130
    console.print(f"Started: {where}")
    further = ["--fetch", *(word for word in typed if word not in ("-p", "--push"))]
    console.print(f"When it is done: python -m train.remote {shlex.join(further)}")
    return 0


def _order(
    arguments: argparse.Namespace, experiments: list[Experiment], name: str, console: Console
) -> TrainingJob:
    commit, changed = find_commit()
    if warning := describe_unsent(changed, "not in the commit"):
        console.print(warning)
    clone = arguments.clone
    if clone == "":
        clone = find_clone_url(commit)
    if clone and not commit:
        raise RemoteError(
            "there is no commit to clone, this is no git repository; leave --clone away"
        )
    teachers = find_teachers(experiments, arguments.output)
    missing = [file for file in teachers if clone and not (ROOT / file).exists()]
    if missing:
        raise RemoteError(
            f"a clone does not have the teacher {missing[0]}; train it there too, or leave --clone "
            "away (a notebook of Kaggle is too small for most, --backend hf-jobs is not)"
        )
    there = arguments.there
    tracked = there.tracking.enabled
    return TrainingJob(
        name=name,
        arguments=arguments.training,
        commit=commit,
        clone=clone or "",
        archive="" if clone else pack_code(commit, teachers),
        install=arguments.backend == "kaggle",
        data="" if there.data.fresh is not None else arguments.data,
        tracking={n: os.environ[n] for n in _TRACKING if os.environ.get(n)} if tracked else None,
        hours=arguments.hours,
        repository=arguments.repository if arguments.backend == "hf-jobs" else "",
    )


def _fetch(
    arguments: argparse.Namespace, experiments: list[Experiment], name: str, console: Console
) -> int:
    """Bring the runs home and say what became of each."""
    with tempfile.TemporaryDirectory() as folder:
        collected = Path(folder)
        with console.status("Fetching"):
            if arguments.backend == "kaggle":
                trouble = kaggle.collect(arguments.user, name, collected)
            else:
                trouble = jobs.collect(arguments.user, name, arguments.repository, collected)
        labels = [experiment.run_name for experiment in experiments]
        try:
            outcomes, failure = install_runs(
                collected, arguments.output, arguments.overwrite, labels
            )
        except RemoteError as error:
            raise RemoteError(trouble or str(error)) from error
        if command := ordered(collected):
            console.print(f"Trained there: {command}")
    for outcome in outcomes:
        console.print(f"{arguments.output / outcome.name}: {outcome.words}")
    folders = [arguments.output / outcome.name / "wandb" for outcome in outcomes if outcome.here]
    if offline := [str(folder) for folder in folders if any(folder.glob("offline-run-*"))]:
        console.print(f"Tracked offline; to send it: wandb sync {shlex.join(offline)}")
    lacking = [label for label in labels if not any(is_of(o.name, label) for o in outcomes)]
    lack = f"there is no run of {', '.join(lacking)}" if lacking else ""
    for words in filter(None, (trouble, failure, lack)):
        print(f"remote: {words}", file=sys.stderr)
    return 1 if trouble or failure or lack or not all(o.here for o in outcomes) else 0


def _parse(typed: list[str]) -> argparse.Namespace:
    """The command line, with `training`, what it makes of the arguments of `python -m train`, and
    `there`, what these mean.
    """
    cut = typed.index("--") if "--" in typed else len(typed)
    parser = _parser()
    arguments = parser.parse_args(typed[:cut])
    arguments.repository = arguments.repository or f"{arguments.user}/geoseg-runs"
    most = BACKENDS[arguments.backend].MOST_HOURS
    for option, right, wanted in (
        ("name", _NAME.fullmatch(arguments.name or "geoseg"), "5 to 50 of a-z, 0-9, single -"),
        ("hours", 0 < arguments.hours <= most, f"more than 0 and at most {most:g}"),
        ("data", _DATA.fullmatch(arguments.data), "OWNER/NAME of a data set on Kaggle"),
        ("user", _ACCOUNT.fullmatch(arguments.user), "the name of an account"),
        ("repository", _REPOSITORY.fullmatch(arguments.repository), "OWNER/NAME on the Hub"),
        ("clone", not arguments.clone or _URL.fullmatch(arguments.clone), "https:// and no login"),
        ("output", not arguments.output.is_file(), "a folder, or the name of a new one"),
    ):
        if not right:
            parser.error(f"--{option} is {str(getattr(arguments, option))!r}; give {wanted}")
    arguments.training = _training(parser, arguments, typed[cut + 1 :])
    arguments.there = parse_options(arguments.training)
    return arguments


def _training(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, further: list[str]
) -> list[str]:
    """The arguments of `python -m train`; ends the program for what makes no sense elsewhere."""
    training = ["-e", *arguments.experiments, *further, *["-nowb"] * arguments.no_wandb]
    wanted = parse_options(training)
    named = [e.id for e in find_experiments(arguments.experiments)]
    if [e.id for e in wanted.experiments] != named:
        parser.error("-e after -- says something else; name every experiment before it")
    for option, given in (
        ("--data", wanted.data.folder is not None),
        ("-o", wanted.output != Path("runs")),
        ("--teacher", bool(wanted.teachers)),
        ("--list", wanted.list_experiments),
    ):
        if given:
            parser.error(f"{option} after -- is about files of this machine; leave it away")
    if wanted.device != "auto":
        return training
    return [*training, "--device", "cuda"]  # better no training than hours of it without the GPU


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.remote",
        usage="%(prog)s -e ID [ID ...] -u USER [-p | --fetch] [options] [-- ARGUMENTS OF train]",
        description="Train on Kaggle or on Hugging Face's jobs. Without -p or --fetch it writes "
        "what it would send, and sends nothing.",
    )
    add = parser.add_argument
    add("-e", "--experiments", nargs="+", required=True, metavar="ID", help="as python -m train -e")
    add("-u", "--user", required=True, help="your name there")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-p", "--push", action="store_true", help="send it and start training")
    what.add_argument(
        "--fetch", action="store_true", help="bring the runs home, into the folder of -o"
    )
    add("--backend", choices=sorted(BACKENDS), default="kaggle", help="where (default: kaggle)")
    add("-nowb", "--no-wandb", action="store_true", help="do not track with Weights & Biases")
    add(
        *("-o", "--output"),
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where the runs' folders are and go, here (default: runs/)",
    )
    add("--overwrite", action="store_true", help="with --fetch: replace runs that are here")
    add("-n", "--name", help="of the notebook or job (default: geoseg- and the experiments)")
    add("--data", default=HANDLE, metavar="OWNER/NAME", help=f"on Kaggle (default: {HANDLE})")
    add(
        "--clone",
        nargs="?",
        const="",
        metavar="URL",
        help="let the other machine clone the code, from this address or from the git remote "
        "(default: the code of the commit comes along)",
    )
    add(
        "--hardware",
        metavar="NAME",
        help=f"default: {kaggle.HARDWARE} on Kaggle, {jobs.HARDWARE} for hf-jobs",
    )
    add("--hours", type=float, default=11.0, help="then save and stop (default: 11; Kaggle has 12)")
    add("--folder", type=Path, metavar="DIR", help="what is sent (default: remote/<name>)")
    add(
        "--repository",
        metavar="OWNER/NAME",
        help="hf-jobs: what gets the results (default: USER/geoseg-runs)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

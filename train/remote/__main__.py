"""Train on Kaggle: `python -m train.remote -e 300 301 -u USER -p`, then the same with `--fetch`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from geoseg.checkpoint import CheckpointError
from geoseg.dataset.download import HANDLE
from train.experiments import Experiment, find_experiments
from train.git import ROOT, CloneError, warn_of_unsent_files
from train.remote import kaggle
from train.remote.job import (
    RemoteError,
    choose_name,
    find_clone_url,
    find_commit,
    find_teachers,
    pack_code,
)
from train.remote.remote_script import TrainingJob
from train.remote.results import describe_training, install_runs, is_run_of

_ACCOUNT, _DATA = re.compile(r"[\w-]+", re.ASCII), re.compile(r"[\w-]+/[\w-]+", re.ASCII)
_NAME = re.compile(r"(?=.{5,50}$)[a-z0-9]+(-[a-z0-9]+)*")  # what Kaggle makes of a title
_URL = re.compile(r"https://[^@\s]+")
# Variables of wandb that mean the same on another machine. Without the key: the notebook is a file.
_WANDB_VARIABLES = ("BASE_URL", "ENTITY", "MODE", "PROJECT", "RUN_GROUP", "TAGS")


@dataclass(frozen=True)
class RemoteOptions:
    """The command line of `python -m train.remote`.

    Attributes:
        typed: its words, from which the next command is suggested.
        experiments: to train.
        training: the arguments of `python -m train` on the other machine.
        user: the account on Kaggle.
        name: of the notebook.
        push, fetch: send the notebook; bring its runs. Without either it is only written.
        output: the local folder of runs.
        overwrite: let fetched runs replace local ones.
        data: the data set on Kaggle.
        clone: None to send the code, "" to clone git's remote, or the address to clone.
        hardware: Kaggle's name of the machine; "" for none with a GPU.
        hours: after which training saves and stops.
        folder: where the notebook is written.
    """

    typed: tuple[str, ...]
    experiments: tuple[Experiment, ...]
    training: tuple[str, ...]
    user: str
    name: str
    push: bool
    fetch: bool
    output: Path
    overwrite: bool
    data: str
    clone: str | None
    hardware: str
    hours: float
    folder: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Write, push or fetch a training; return the exit code."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv)
        return _fetch(options, console) if options.fetch else _send(options, console)
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (CheckpointError, CloneError, RemoteError, OSError, ValueError) as error:
        print(f"remote: {error}", file=sys.stderr)
        is_usage_error = isinstance(error, ValueError) and not isinstance(error, CheckpointError)
        return 2 if is_usage_error else 1


def _send(options: RemoteOptions, console: Console) -> int:
    """Write the notebook and push it if asked to; return the exit code."""
    job = _make_job(options, console)
    facts = kaggle.write_notebook(job, options.user, options.hardware, options.folder)
    code = f"cloned from {job['clone']}" if job["clone"] else "sent with the notebook"
    console.print(f"Written to {options.folder}:")
    for fact in (
        f"python -m train {shlex.join(job['arguments'])}",
        f"code at commit {job['commit'][:10] or 'unknown'}, {code}",
        f"data {job['data'] or 'made there'}",
        f"saves and stops after {job['hours']:g} hours",
        *facts,
    ):
        console.print(f"  {fact}")
    if not options.push:
        command = shlex.join(["-p", *options.typed])
        console.print(f"Nothing was sent. To send it: python -m train.remote {command}")
        return 0
    try:
        with console.status("Pushing"):
            url = kaggle.push_notebook(job, options.user, options.folder)
    except KeyboardInterrupt:
        page = kaggle.PAGE.format(user=options.user, name=job["name"])
        console.print(f"Stopped; see {page} for whether the notebook was started.")
        return 130
    console.print(f"Started: {url}")
    words = ["--fetch", *(word for word in options.typed if word not in ("-p", "--push"))]
    console.print(f"When it is done: python -m train.remote {shlex.join(words)}")
    return 0


def _make_job(options: RemoteOptions, console: Console) -> TrainingJob:
    commit, changed = find_commit()
    if warning := warn_of_unsent_files(changed, "not in the commit"):
        console.print(warning)
    clone = find_clone_url(commit) if options.clone == "" else options.clone or ""
    if clone and not commit:
        raise RemoteError("there is no git commit to clone; omit --clone")
    teachers = find_teachers(options.experiments, options.output)
    missing = [file for file in teachers if clone and not (ROOT / file).exists()]
    if missing:
        raise RemoteError(
            f"a clone does not have the teacher {missing[0]}; train it there too, or omit --clone"
        )
    words = options.training
    disabled = os.environ.get("WANDB_MODE") == "disabled" or "-nowb" in words
    disabled = disabled or "--no-wandb" in words or _has_value(words, "--wandb-mode", "disabled")
    variables = {f"WANDB_{name}": os.environ.get(f"WANDB_{name}") for name in _WANDB_VARIABLES}
    return TrainingJob(
        name=options.name,
        arguments=list(words),
        commit=commit,
        clone=clone,
        archive="" if clone else pack_code(commit, teachers),
        data="" if _has_option(words, "--fresh") else options.data,
        tracking=None if disabled else {key: text for key, text in variables.items() if text},
        hours=options.hours,
    )


def _fetch(options: RemoteOptions, console: Console) -> int:
    """Bring the runs into the output folder and report on each; return the exit code."""
    names = [experiment.run_name for experiment in options.experiments]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        with console.status("Fetching"):
            problem = kaggle.download_results(options.user, options.name, results)
        try:
            runs, failure = install_runs(results, options.output, options.overwrite, names)
        except RemoteError as error:
            raise RemoteError(problem or str(error)) from error
        if training := describe_training(results):
            console.print(f"Trained there: {training}")
    for run in runs:
        console.print(f"{options.output / run.name}: {run.message}")
    folders = [options.output / run.name / "wandb" for run in runs if run.installed]
    if offline := [str(folder) for folder in folders if any(folder.glob("offline-run-*"))]:
        console.print(f"Tracked offline; to send it: wandb sync {shlex.join(offline)}")
    missing = [name for name in names if not any(is_run_of(run.name, name) for run in runs)]
    lack = f"there is no run of {', '.join(missing)}" if missing else ""
    for message in filter(None, (problem, failure, lack)):
        print(f"remote: {message}", file=sys.stderr)
    return 1 if problem or failure or lack or not all(run.installed for run in runs) else 0


def parse_options(typed: Sequence[str]) -> RemoteOptions:
    """Parse the command line; raise ValueError for an unknown experiment."""
    end = typed.index("--") if "--" in typed else len(typed)
    parser = _make_parser()
    given = parser.parse_args(typed[:end])
    for option, is_valid, expected in (
        ("name", _NAME.fullmatch(given.name or "geoseg"), "5 to 50 of a-z, 0-9, single -"),
        ("hours", 0 < given.hours <= kaggle.MAX_HOURS, f"above 0, at most {kaggle.MAX_HOURS:g}"),
        ("data", _DATA.fullmatch(given.data), "OWNER/NAME of a data set on Kaggle"),
        ("user", _ACCOUNT.fullmatch(given.user), "the name of an account"),
        ("clone", not given.clone or _URL.fullmatch(given.clone), "https:// and no login"),
        ("output", not given.output.is_file(), "a folder, or the name of a new one"),
    ):
        if not is_valid:
            parser.error(f"--{option} is {str(getattr(given, option))!r}; give {expected}")
    passed_on = typed[end + 1 :]
    for option in ("-e", "--experiments"):
        if _has_option(passed_on, option):
            parser.error(f"{option} must stand before --")
    for option in ("--data", "-o", "--output", "--teacher", "--list"):
        if _has_option(passed_on, option):
            parser.error(f"{option} after -- does not work on another machine; omit it")
    training = ["-e", *given.experiments, *passed_on, *["-nowb"] * given.no_wandb]
    on_cpu = "--cpu" in passed_on or _has_value(passed_on, "--device", "cpu")
    if not on_cpu and not _has_option(passed_on, "--device"):
        training += ["--device", "cuda"]  # fail rather than train for hours without the GPU
    hardware = "" if on_cpu else kaggle.HARDWARE
    experiments = find_experiments(given.experiments)
    name = given.name or choose_name(experiments)
    return RemoteOptions(
        typed=tuple(typed),
        experiments=tuple(experiments),
        training=tuple(training),
        user=given.user,
        name=name,
        push=given.push,
        fetch=given.fetch,
        output=given.output,
        overwrite=given.overwrite,
        data=given.data,
        clone=given.clone,
        hardware=hardware if given.hardware is None else given.hardware,
        hours=given.hours,
        folder=given.folder or Path("remote", name),
    )


def _has_option(words: Sequence[str], option: str) -> bool:
    return any(word.partition("=")[0] == option for word in words)


def _has_value(words: Sequence[str], option: str, value: str) -> bool:
    return f"{option}={value}" in words or (option, value) in pairwise(words)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.remote",
        usage="%(prog)s -e ID [ID ...] -u USER [-p | --fetch] [options] [-- ARGUMENTS OF train]",
        description="Train on Kaggle. Without -p or --fetch, write the notebook and send nothing.",
    )
    add = parser.add_argument
    add("-e", "--experiments", nargs="+", required=True, metavar="ID", help="as python -m train -e")
    add("-u", "--user", required=True, help="your name on Kaggle")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("-p", "--push", action="store_true", help="send it and start training")
    action.add_argument(
        "--fetch", action="store_true", help="bring the runs into the folder given by -o"
    )
    add("-nowb", "--no-wandb", action="store_true", help="do not track with Weights & Biases")
    add(
        *("-o", "--output"),
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="the local folder of runs (default: runs/)",
    )
    add("--overwrite", action="store_true", help="with --fetch: replace local runs")
    add("-n", "--name", help="of the notebook (default: geoseg- and the experiments)")
    add("--data", default=HANDLE, metavar="OWNER/NAME", help=f"on Kaggle (default: {HANDLE})")
    add(
        "--clone",
        nargs="?",
        const="",
        metavar="URL",
        help="let the notebook clone the code from this address or from the git remote (default: "
        "send the code of the commit)",
    )
    add("--hardware", metavar="NAME", help=f"of Kaggle (default: {kaggle.HARDWARE}, or none)")
    add("--hours", type=float, default=11.0, help="then save and stop (default: 11; Kaggle has 12)")
    add("--folder", type=Path, metavar="DIR", help="for the notebook (default: remote/<name>)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

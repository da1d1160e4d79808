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
from pathlib import Path

from geoseg.command_line import run_command
from geoseg.dataset.download import HANDLE
from train.experiments import Experiment, find_experiments
from train.git import (
    ROOT,
    CloneError,
    find_clone_url,
    find_commit,
    pack_code,
    warn_of_unsent_files,
)
from train.remote import kaggle
from train.remote.remote_script import TrainingJob
from train.remote.results import ARCHIVE, install_runs, is_run_of
from train.teacher import find_teacher

# Variables that mean the same on another machine. Without the key: the notebook is a file.
_WANDB = [f"WANDB_{n}" for n in ("BASE_URL", "ENTITY", "MODE", "PROJECT", "RUN_GROUP", "TAGS")]
# Options of the trainer that name files here, or that this command sets itself.
_LOCAL_OPTIONS = ("-e", "--experiments", "--data", "-o", "--output", "--teacher", "--list")


@dataclass(frozen=True)
class RemoteOptions:
    """The command line of `python -m train.remote`.

    `training` are the arguments of `python -m train` on the other machine. `clone` is None to send
    the code, "" to clone git's remote, or an address. `hardware` is "" for a machine without a GPU.
    """

    experiments: list[Experiment]
    training: list[str]
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

    @property
    def kernel(self) -> str:
        """What Kaggle calls the notebook."""
        return f"{self.user}/{self.name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write, push or fetch a training; return the exit code."""

    def work() -> int:
        options = parse_options(sys.argv[1:] if argv is None else argv)
        return _fetch(options) if options.fetch else _send(options)

    stopped = "stopped; your notebooks on Kaggle show whether one was started"
    return run_command("remote", work, stopped)


def _send(options: RemoteOptions) -> int:
    """Write the notebook and push it if asked to; return the exit code."""
    job = _make_job(options)
    kaggle.write_notebook(job, options.kernel, options.hardware, options.folder)
    code = f"cloned from {job['clone']}" if job["clone"] else "sent with the notebook"
    print(
        f"Written to {options.folder}:\n"
        f"  python -m train {shlex.join(job['arguments'])}\n"
        f"  code at commit {job['commit'][:10] or 'unknown'}, {code}\n"
        f"  data {job['data'] or 'made there'}\n"
        f"  saves and stops after {job['hours']:g} hours\n"
        f"  kernel {options.kernel}, private, {options.hardware or 'no GPU'}, internet on"
    )
    if options.push:
        url = kaggle.push_notebook(job, options.kernel, options.folder)
        print(f"Started: {url}\nWhen it is done, repeat the command with --fetch instead of -p.")
    else:
        print("Nothing was sent. To send it, repeat the command with -p.")
    return 0


def _make_job(options: RemoteOptions) -> TrainingJob:
    commit, changed = find_commit()
    warn_of_unsent_files(changed, "not in the commit")
    clone = find_clone_url(commit) if options.clone == "" else options.clone or ""
    if clone and not commit:
        raise CloneError("without git there is no commit to clone; omit --clone")
    teachers = _find_teachers(options)
    if clone and (missing := [name for name in teachers if not (ROOT / name).exists()]):
        raise CloneError(f"a clone lacks the teacher {missing[0]}; train it too, or omit --clone")
    return TrainingJob(
        name=options.name,
        arguments=options.training,
        commit=commit,
        clone=clone,
        archive="" if clone else pack_code(commit, teachers),
        data=options.data,
        tracking={name: os.environ[name] for name in _WANDB if os.environ.get(name)},
        hours=options.hours,
    )


def _find_teachers(options: RemoteOptions) -> dict[str, Path]:
    """Return the teachers' checkpoints that no earlier experiment of the job makes.

    The keys are the names that the trainer looks for. Raise CheckpointError if one is missing.
    """
    found = {}
    for number, experiment in enumerate(options.experiments):
        if experiment.teacher not in {earlier.id for earlier in options.experiments[:number]}:
            for path in find_teacher(experiment, options.output):
                name = path.parent.name if path.stem == "best" else path.stem
                found[f"checkpoints/{name}.safetensors"] = path
    return found


def _fetch(options: RemoteOptions) -> int:
    """Bring the runs into the output folder and report on each; return the exit code."""
    names = [experiment.run_name for experiment in options.experiments]
    with tempfile.TemporaryDirectory() as folder:
        problem = kaggle.download_results(options.kernel, Path(folder))
        archive = Path(folder, ARCHIVE)
        runs = install_runs(archive, options.output, options.overwrite, names)
    for run in runs:
        print(f"{options.output / run.name}: {run.message}")
    folders = [options.output / run.name / "wandb" for run in runs if run.installed]
    if offline := [str(folder) for folder in folders if any(folder.glob("offline-run-*"))]:
        print(f"Tracked offline; to send it: wandb sync {shlex.join(offline)}")
    if missing := [name for name in names if not any(is_run_of(run.name, name) for run in runs)]:
        problem += f"\nthere is no run of {', '.join(missing)}"
    if problem:
        print(f"remote: {problem.strip()}", file=sys.stderr)
    return 1 if problem or not all(run.installed for run in runs) else 0


def parse_options(typed: Sequence[str]) -> RemoteOptions:
    """Parse the command line; raise ValueError for an unknown experiment."""
    end = typed.index("--") if "--" in typed else len(typed)
    passed_on = typed[end + 1 :]
    names = {word.partition("=")[0] for word in passed_on}
    parser = _make_parser()
    given = parser.parse_args(typed[:end])
    if local := [option for option in _LOCAL_OPTIONS if option in names]:
        parser.error(f"{local[0]} after -- does not work on another machine; omit it")
    training = ["-e", *given.experiments, *passed_on, *given.training]
    on_cpu = "--cpu" in names or "--device cpu" in " ".join(passed_on).replace("=", " ")
    if not on_cpu and "--device" not in names:
        training += ["--device", "cuda"]  # fail rather than train for hours without the GPU
    experiments = find_experiments(given.experiments)
    name = given.name or "-".join(["geoseg", *(str(e.id) for e in experiments)])
    default_hardware = "" if on_cpu else kaggle.HARDWARE
    resolved = {
        "training": training,
        "experiments": experiments,
        "name": name,
        "folder": given.folder or Path("remote", name),
        "hardware": default_hardware if given.hardware is None else given.hardware,
        "data": "" if "--fresh" in names else given.data,
    }
    options = RemoteOptions(**{**vars(given), **resolved})
    if not 0 < options.hours <= kaggle.MAX_HOURS:
        parser.error(
            f"--hours is {options.hours:g}; give more than 0, at most {kaggle.MAX_HOURS:g}"
        )
    for option, pattern, expected in (
        ("user", r"[\w-]+", "the name of an account"),
        ("name", "(?=.{5,50}$)[a-z0-9]+(-[a-z0-9]+)*", "5 to 50 of a-z, 0-9 and single -"),
        ("data", r"([\w-]+/[\w-]+)?", "OWNER/NAME of a data set on Kaggle"),
        ("clone", r"(https://[^@\s]+)?", "an address with https:// and no login"),
    ):
        text = getattr(options, option) or ""
        if not re.fullmatch(pattern, text, re.ASCII):
            parser.error(f"--{option} is {text!r}; give {expected}")
    return options


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
    action.add_argument("--fetch", action="store_true", help="bring the runs into the folder of -o")
    add(
        *("-nowb", "--no-wandb"),
        dest="training",
        action="store_const",
        const=["-nowb"],
        default=[],
        help="do not track with Weights & Biases",
    )
    add("-o", "--output", type=Path, default=Path("runs"), help="the local folder of runs (runs/)")
    add("--overwrite", action="store_true", help="with --fetch: replace local runs")
    add("-n", "--name", help="of the notebook (default: geoseg- and the experiments)")
    add("--data", default=HANDLE, help="a data set on Kaggle (default: %(default)s)")
    clone_help = "let the notebook clone this address, or the git remote (default: send the code)"
    add("--clone", nargs="?", const="", metavar="URL", help=clone_help)
    add("--hardware", metavar="NAME", help=f"of Kaggle (default: {kaggle.HARDWARE}, or none)")
    add("--hours", type=float, default=11.0, help="then save and stop (default: %(default)g of 12)")
    add("--folder", type=Path, metavar="DIR", help="for the notebook (default: remote/<name>)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Hugging Face's jobs: a script that trains, and a repository of the Hub that gets its results."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import RemoteEntryNotFoundError

from geoseg.atomic_files import atomic_write_text
from geoseg.hub import HubError, explain_hub_errors
from train.git import ROOT
from train.remote import remote_script
from train.remote.job import RemoteError, TrainingJob, script

HARDWARE, WITHOUT_GPU = "t4-small", "cpu-upgrade"
MOST_HOURS = 100.0
PAGE = "https://huggingface.co/settings/jobs"
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"  # Python, git and uv, which brings the rest
SCRIPT = "train.py"
RESULTS = ("result.json", "runs.tar", "training.log")
_SPARE_HOURS = 0.5  # for installing, fetching data and sending results

# The script waits in the repository: it is too long for a command line.
_START = f"""
import os, runpy
from huggingface_hub import hf_hub_download
name, revision = os.environ["GEOSEG_NAME"] + "/{SCRIPT}", os.environ["GEOSEG_REVISION"]
script = hf_hub_download(os.environ["GEOSEG_REPOSITORY"], name, revision=revision)
runpy.run_path(script, run_name="__main__")
"""
_OVER = {"COMPLETED", "CANCELED", "ERROR", "DELETED"}


def write(order: TrainingJob, user: str, hardware: str, folder: Path) -> list[str]:
    """Write the script; gives in words what a push would do."""
    settings, code, call = script(order, "raise SystemExit(main(ORDER))\n")
    atomic_write_text(folder / SCRIPT, f"{code}\n\n{settings}\n{call}")
    return [
        f"job of {user} on {hardware}, at most {order['hours'] + _SPARE_HOURS:g} hours, which are "
        "paid for",
        f"script and results in the private repository {order['repository']}, folder "
        f"{order['name']}/",
    ]


def push(order: TrainingJob, user: str, hardware: str, folder: Path) -> str:
    """Send the script and start the job; gives the address where to watch it.

    The job gets the login, to send its results, and of the keys of Weights & Biases and Kaggle that
    the environment has those that it needs, as secrets. RemoteError where a job of this name is not
    over: its results could no longer be fetched.
    """
    repository = order["repository"]
    with _hub(repository) as api:
        _check_free(api, user, order["name"])
        api.create_repo(repository, private=True, exist_ok=True)
        if not api.model_info(repository).private:
            raise RemoteError(
                f"{repository} is public, and the code and what it makes are not; make it private "
                "there, or name another one with --repository"
            )
        sent = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            path_in_repo=order["name"],
            allow_patterns=SCRIPT,
            commit_message=f"Train {order['name']}",
        )
        job = api.run_job(
            image=IMAGE,
            command=["uv", "run", *_dependencies(), "python", "-c", _START],
            env={
                "GEOSEG_NAME": order["name"],
                "GEOSEG_REPOSITORY": repository,
                "GEOSEG_REVISION": sent.oid,
                "GEOSEG_RESULTS": f"{order['name']}/{time.strftime('%Y%m%d-%H%M%S')}",
            },
            secrets=_secrets(order),
            flavor=hardware,
            timeout=f"{round((order['hours'] + _SPARE_HOURS) * 3600)}s",
            namespace=user,
        )
    return job.url


def _check_free(api: HfApi, user: str, name: str) -> None:
    for job in _jobs(api, user, name):
        if _stage(job) not in _OVER:
            raise RemoteError(
                f"job {name} is still {_stage(job).lower()} ({job.url}); wait for it or cancel it "
                "there"
            )


def _secrets(order: TrainingJob) -> dict[str, Any]:
    needed = {
        "WANDB_API_KEY": order["tracking"] is not None,
        "KAGGLE_API_TOKEN": bool(order["data"]),
    }
    keys = {name: os.environ.get(name) for name, wanted in needed.items() if wanted}
    return {"HF_TOKEN": get_token(), **{name: key for name, key in keys.items() if key}}


def collect(user: str, name: str, repository: str, into: Path) -> str:
    """Bring what the job made into a folder; gives what went wrong there, or nothing."""
    with _hub(repository) as api:
        jobs = _jobs(api, user, name)
        if not jobs:
            raise RemoteError(
                f"{user} has no job {name}; check -u and -e, and push it first with -p"
            )
        job = max(jobs, key=lambda job: str(job.created_at))
        stage = _stage(job)
        if stage not in _OVER:
            raise RemoteError(f"job {name} is still {stage.lower()} ({job.url}); ask again later")
        folder = job.environment.get("GEOSEG_RESULTS", name)
        for result in RESULTS:
            try:
                found = api.hf_hub_download(repository, f"{folder}/{result}", local_dir=into)
            except RemoteEntryNotFoundError:
                continue
            Path(found).rename(into / result)
    if stage == "COMPLETED":
        return ""
    reason = f": {job.status.message}" if job.status.message else ""
    return f"job {name} ended with {stage}{reason} ({job.url})"


def _jobs(api: HfApi, user: str, name: str) -> list[Any]:
    jobs = api.list_jobs(namespace=user)
    return [job for job in jobs if (job.environment or {}).get("GEOSEG_NAME") == name]


def _stage(job: Any) -> str:
    return str(getattr(job.status.stage, "value", job.status.stage))


def _dependencies() -> list[str]:
    return [
        part
        for line in [*remote_script.requirements(ROOT), "kagglehub"]
        for part in ("--with", line)
    ]


@contextmanager
def _hub(repository: str) -> Iterator[HfApi]:
    """The Hub's client, logged in; what it raises becomes what its user can do."""
    if not get_token():
        raise RemoteError("there is no login to Hugging Face; hf auth login, or set HF_TOKEN")
    try:
        with explain_hub_errors(f"{repository} and its jobs"):
            api = HfApi()
            api.whoami()  # fails at once, where others try again and again
            yield api
    except HubError as error:
        if isinstance(error.__cause__, RemoteError):  # one of ours
            raise error.__cause__ from None
        raise RemoteError(str(error)) from error

"""The program of the notebook: get the code, train, and pack the runs.

The notebook holds a copy of this file, so it imports only the standard library. The environment
variables GEOSEG_INPUT (where data sets are mounted) and GEOSEG_OUTPUT (what is kept) default to
Kaggle's folders.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TypedDict


class TrainingJob(TypedDict):
    """One training on another machine."""

    name: str  # of the notebook
    arguments: list[str]  # of `python -m train`
    commit: str  # of the code, which is cloned from `clone` or unpacked from `archive`
    clone: str  # an address of git, or ""
    archive: str  # a base64 .tar.xz with the code, or ""
    data: str  # a data set on Kaggle, or ""
    tracking: dict[str, str]  # environment variables of Weights & Biases
    hours: float  # after which training is told to save and stop


def main(job: TrainingJob) -> int:
    """Train and pack the runs; return the trainer's exit code."""
    scratch = Path(tempfile.mkdtemp(prefix="geoseg-"))
    output = Path(os.environ.get("GEOSEG_OUTPUT", "/kaggle/working"))
    output.mkdir(parents=True, exist_ok=True)
    code, runs = scratch / "code", scratch / "runs"
    get_code(job, code)
    install_requirements(code)
    if "-nowb" not in job["arguments"]:
        set_up_tracking(job["tracking"])
    status = train(job, code, find_data() if job["data"] else None, runs)
    pack_runs(runs, output, status)
    print(f"{output / 'runs.tar'} holds the runs; the trainer's exit code is {status}.")
    return status


def get_code(job: TrainingJob, folder: Path) -> None:
    """Put the code of the job's commit into `folder`."""
    if job["clone"]:
        subprocess.run(["git", "clone", "--quiet", job["clone"], str(folder)], check=True)
        checkout = ["git", "-C", str(folder), "checkout", "--quiet", job["commit"]]
        subprocess.run(checkout, check=True)
        return
    packed = io.BytesIO(base64.b64decode(job["archive"]))
    with tarfile.open(fileobj=packed, mode="r:xz") as archive:
        archive.extractall(folder, filter="data")


def install_requirements(code: Path) -> None:
    """Install the requirements but those of the page; satisfied ones stay as they are."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lines = (code / "requirements.txt").read_text().splitlines()
    required = [line for line in lines if line and not line.startswith(("#", "gradio"))]
    subprocess.run([*command, *required], check=True)


def set_up_tracking(settings: dict[str, str]) -> None:
    """Set the variables of Weights & Biases; without a key, there or on Kaggle, track offline."""
    os.environ.update(settings)
    if not os.environ.get("WANDB_API_KEY"):
        try:
            from kaggle_secrets import UserSecretsClient

            os.environ["WANDB_API_KEY"] = UserSecretsClient().get_secret("WANDB_API_KEY")
        except Exception:  # not on Kaggle, or the notebook has no such secret
            os.environ.setdefault("WANDB_MODE", "offline")
            print("The notebook has no secret WANDB_API_KEY: Weights & Biases tracks offline.")


def find_data() -> Path:
    """Return the folder of the mounted data set; raise FileNotFoundError if there is none."""
    mounted = Path(os.environ.get("GEOSEG_INPUT", "/kaggle/input"))
    for images in sorted(mounted.rglob("train/images")):
        return images.parent.parent
    raise FileNotFoundError(f"no data set in {mounted}; add it to the notebook as an input")


def train(job: TrainingJob, code: Path, data: Path | None, runs: Path) -> int:
    """Train and print the output; return the trainer's exit code.

    After the job's hours the trainer gets SIGTERM, and saves what --resume needs.
    """
    command = [sys.executable, "-u", "-m", "train", *job["arguments"], "-o", str(runs)]
    if data:
        command += ["--data", str(data)]
    output = subprocess.PIPE  # a notebook keeps only what its own process prints
    with subprocess.Popen(
        command, cwd=code, text=True, stdout=output, stderr=subprocess.STDOUT
    ) as process:
        timer = threading.Timer(job["hours"] * 3600, process.terminate)
        timer.daemon = True
        timer.start()
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
        timer.cancel()
    return process.returncode


def pack_runs(runs: Path, output: Path, exit_code: int) -> None:
    """Write runs.tar, and result.json with the exit code."""
    (output / "result.json").write_text(json.dumps({"exit_code": exit_code}))
    with tarfile.open(output / "runs.tar", "w") as archive:
        for path in sorted(runs.glob("*")):  # without the links of wandb to its logs
            archive.add(path, path.name, filter=lambda member: None if member.issym() else member)

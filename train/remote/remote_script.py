"""What the other machine does: this file is what a notebook or a job runs, after its settings.

It gets the code and the data, trains, and packs the runs, with nothing but Python's own library
until the code is there. GEOSEG_INPUT, where data sets are mounted, and GEOSEG_OUTPUT, what is kept,
are Kaggle's own folders unless the environment says otherwise.
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
import time
from pathlib import Path
from typing import Any, TypedDict


class TrainingJob(TypedDict):
    """What is to be done.

    `arguments` are those of `python -m train`. The code at `commit` is cloned from `clone`, or,
    where that is empty, comes along in `archive`, a base64 `.tar.xz`. `install` asks pip for what
    the code requires. `data` is a data set of Kaggle, or empty. `tracking` are Weights & Biases'
    own variables of the environment; None where nothing is tracked. After `hours` the training is
    asked to save and stop. The results also go to the Hub's `repository`, if any, there into the
    folder GEOSEG_RESULTS.
    """

    name: str
    arguments: list[str]
    commit: str
    clone: str
    archive: str
    install: bool
    data: str
    tracking: dict[str, str] | None
    hours: float
    repository: str


def main(order: TrainingJob) -> int:
    """Do all of it; gives the exit code of the training. Failures before it raise."""
    scratch = Path(tempfile.mkdtemp(prefix="geoseg-"))
    kept = Path("/kaggle/working")  # what Kaggle keeps, if this is Kaggle
    output = Path(os.environ.get("GEOSEG_OUTPUT") or (kept if kept.exists() else scratch / "kept"))
    output.mkdir(parents=True, exist_ok=True)
    code, runs = scratch / "code", scratch / "runs"
    get_code(order, code)
    if order["install"]:
        install(code)
    if order["tracking"] is not None:
        set_up_tracking(order["tracking"])
    data = find_data(order, code, scratch)
    start = time.time()
    status = train(order, code, data, runs, output / "training.log")
    pack(order, runs, output, exit_code=status, seconds=round(time.time() - start))
    if order["repository"]:
        from huggingface_hub import HfApi

        HfApi().upload_folder(
            repo_id=order["repository"],
            folder_path=output,
            path_in_repo=os.environ["GEOSEG_RESULTS"],
            commit_message=f"Results of {order['name']}",
        )
    print(f"The runs are packed in {output / 'runs.tar'}; the training's exit code is {status}.")
    return status


def get_code(order: TrainingJob, folder: Path) -> None:
    """Put the code at its commit into `folder`."""
    if order["clone"]:
        subprocess.run(["git", "clone", "--quiet", order["clone"], str(folder)], check=True)
        checkout = ["git", "-C", str(folder), "checkout", "--quiet", order["commit"]]
        subprocess.run(checkout, check=True)
        return
    packed = io.BytesIO(base64.b64decode(order["archive"]))
    with tarfile.open(fileobj=packed, mode="r:xz") as archive:
        archive.extractall(folder, filter="data")


def install(code: Path) -> None:
    """Install what training needs of requirements.txt; what is there and fits stays as it is."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *requirements(code)], check=True)


def requirements(code: Path) -> list[str]:
    """What the code requires, but for the page."""
    lines = (code / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "gradio"))]


def set_up_tracking(settings: dict[str, str]) -> None:
    """Weights & Biases: by the key in Kaggle's secrets or the environment, else offline."""
    os.environ.update(settings)
    if not os.environ.get("WANDB_API_KEY"):
        try:
            from kaggle_secrets import UserSecretsClient

            os.environ["WANDB_API_KEY"] = UserSecretsClient().get_secret("WANDB_API_KEY")
        except Exception:  # not on Kaggle, or the notebook has no such secret
            os.environ.setdefault("WANDB_MODE", "offline")
            print("No WANDB_API_KEY among the secrets: Weights & Biases is tracked offline.")


def find_data(order: TrainingJob, code: Path, scratch: Path) -> Path | None:
    """The folder of the data set, mounted or downloaded; None where none is asked for."""
    if not order["data"]:
        return None
    mounted = Path(os.environ.get("GEOSEG_INPUT", "/kaggle/input"))
    for images in sorted(mounted.rglob("images")):
        if images.parent.name == "train":
            return images.parent.parent
    folder = scratch / "data"
    command = ["-m", "geoseg.dataset", "download", "--handle", order["data"], "--out", str(folder)]
    subprocess.run([sys.executable, *command], cwd=code, check=True)
    return folder


def train(order: TrainingJob, code: Path, data: Path | None, runs: Path, log: Path) -> int:
    """Train, showing and keeping what it says; gives its exit code.

    When the time is over it is asked to stop, and saves all that --resume needs.
    """
    command = [sys.executable, "-u", "-m", "train", *order["arguments"], "-o", str(runs)]
    if data:
        command += ["--data", str(data)]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with (
        subprocess.Popen(command, cwd=code, text=True, **options) as process,
        log.open("w") as kept,
    ):
        timer = threading.Timer(order["hours"] * 3600, process.terminate)
        timer.daemon = True
        timer.start()
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.write(line)
            kept.flush()
        timer.cancel()
    return process.returncode


def pack(order: TrainingJob, runs: Path, output: Path, **facts: int) -> None:
    """Write runs.tar and result.json, which says what came of the order."""
    result = {"commit": order["commit"], "arguments": order["arguments"], **facts}
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    with tarfile.open(output / "runs.tar", "w") as archive:
        for path in sorted(runs.glob("*")):  # without links, which wandb makes to its own log
            archive.add(path, path.name, filter=lambda member: None if member.issym() else member)

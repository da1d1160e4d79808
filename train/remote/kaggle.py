"""A Kaggle notebook that trains: write, push and download it with the optional `kaggle` package."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from pprint import pformat
from typing import Any

from geoseg.atomic_files import atomic_write_text
from geoseg.dataset.download import LOGIN_ADVICE, http_status, root_cause
from train.remote import RemoteError, remote_script
from train.remote.remote_script import TrainingJob

HARDWARE = "NvidiaTeslaT4"  # two of them; torch no longer runs on the P100
MAX_HOURS = 11.5  # Kaggle ends a notebook after 12 hours and then keeps nothing
MAX_BYTES = 1_000_000  # of a notebook
NOTEBOOK, METADATA, RESULT = "train.ipynb", "kernel-metadata.json", "result.json"
_UNFINISHED = ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED")


def write_notebook(job: TrainingJob, kernel: str, hardware: str, folder: Path) -> None:
    """Write the notebook and its metadata; `kernel` is "user/name"."""
    notebook = json.dumps(_make_notebook(job), indent=1) + "\n"
    if len(notebook) > MAX_BYTES:
        raise RemoteError(
            f"the notebook would have {len(notebook):,} bytes, and Kaggle accepts {MAX_BYTES:,}: "
            "the code with the teachers' checkpoints is too large to send; add --clone if the "
            "repository has them, or train the teacher there too"
        )
    metadata = {
        "id": kernel,
        "title": job["name"].replace("-", " "),
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": bool(hardware),
        "enable_internet": True,
        "machine_shape": hardware,
        "dataset_sources": [job["data"]] if job["data"] else [],
    }
    atomic_write_text(folder / NOTEBOOK, notebook)
    atomic_write_text(folder / METADATA, json.dumps(metadata, indent=2) + "\n")


def _make_notebook(job: TrainingJob) -> dict[str, Any]:
    """Return a notebook of format 4.5 with three code cells: the job, the script and its call."""
    intro = (
        f"# {job['name']}\n\n`python -m train {' '.join(job['arguments'])}` at commit "
        f"{job['commit'] or 'unknown'} of geoseg. With a secret `WANDB_API_KEY` (Add-ons, Secrets) "
        "Weights & Biases tracks it live. `runs.tar` holds the runs."
    )
    code = {
        "job": f"JOB = {pformat(dict(job), sort_dicts=False)}\n",
        "code": inspect.getsource(remote_script),
        "run": "main(JOB)\n",
    }
    common: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
    return {
        "cells": [
            {"cell_type": "markdown", "id": "intro", "metadata": {}, "source": intro},
            *({**common, "id": i, "metadata": {}, "source": s} for i, s in code.items()),
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def push_notebook(job: TrainingJob, kernel: str, folder: Path) -> str:
    """Send the folder and start the notebook; return the address of its page.

    Raise RemoteError if it is running: the results of that run could no longer be fetched.
    """
    with _open_api(kernel) as api:
        try:
            _check_finished(kernel, api.kernels_status(kernel))
        except (OSError, ValueError) as error:
            if not _is_missing(error):
                raise
        answer = api.kernels_push(str(folder))
    if answer.error:
        raise RemoteError(f"Kaggle refuses {kernel}: {answer.error}")
    if job["data"] in (answer.invalid_dataset_sources or ()):
        raise RemoteError(
            f"Kaggle started {answer.url} without {job['data']}, which your account may not use; "
            "open the data set's page and accept its terms, then push again"
        )
    return str(answer.url)


def download_results(kernel: str, folder: Path) -> str:
    """Download the files that the notebook made; return why its training ended early, or "".

    Raise RemoteError if the notebook is running, or failed without packing its runs.
    """
    with _open_api(kernel) as api:
        answer = api.kernels_status(kernel)
        status = _check_finished(kernel, answer)
        api.kernels_output(kernel, path=str(folder), force=True, quiet=True)
    log = _read_last_lines(folder / f"{kernel.partition('/')[2]}.log")
    if not (folder / RESULT).exists():
        raise RemoteError(f"{kernel} ended with {status}: {answer.failure_message or ''}{log}")
    code = json.loads((folder / RESULT).read_text())["exit_code"]
    if code in (143, -15):
        return "the training reached its time limit; python -m train ... --resume continues it here"
    return f"the training ended with exit code {code}{log}" if code else ""


def _check_finished(kernel: str, answer: Any) -> str:
    """Return how a notebook ended, in capitals; raise RemoteError if it has not ended."""
    status = str(answer.status).rpartition(".")[2].upper()  # an enumeration, or its name
    if status in _UNFINISHED:
        raise RemoteError(f"{kernel} is {status}; try again later, or stop it on its page")
    return status


def _read_last_lines(log: Path, lines: int = 5) -> str:
    """Return the last lines of a notebook's log, a JSON list of what it printed."""
    text = log.read_text(errors="replace") if log.exists() else ""
    with suppress(ValueError):  # it is plain text, or cut off
        text = "".join(part["data"] for part in json.loads(text))
    return "".join(f"\n  {line}" for line in text.strip().splitlines()[-lines:])


@contextmanager
def _open_api(kernel: str) -> Iterator[Any]:
    """Yield Kaggle's client, logged in; turn what it raises into RemoteError with a remedy."""
    try:
        with redirect_stdout(io.StringIO()):  # it prints a page of advice
            import kaggle

            kaggle.api.authenticate()
            yield kaggle.api
    except ImportError as error:
        raise RemoteError(
            f'the kaggle package is missing ({error}); pip install "kaggle>=2" six, with Python '
            "3.11 or 3.12"
        ) from error
    except SystemExit as error:
        raise RemoteError(f"not logged in to Kaggle; {LOGIN_ADVICE}") from error
    except (OSError, ValueError, KeyError) as error:
        if getattr(error, "errno", None):  # the disk, not the network
            raise
        raise RemoteError(_explain(error, kernel)) from error


def _is_missing(error: Exception) -> bool:
    """Whether the notebook is missing; Kaggle then answers 403 or 404."""
    return http_status(error) in (403, 404) or "Cannot access kernel" in str(error)


def _explain(error: Exception, kernel: str) -> str:
    if http_status(error) == 401 or "header value" in str(error):  # the latter holds the token
        return f"Kaggle does not accept your login; {LOGIN_ADVICE}"
    if _is_missing(error):
        return (
            f"{kernel} is missing, or not accessible to you ({error}); check -u and the login, and "
            "push it first with -p"
        )
    if http_status(error) or isinstance(error, ValueError | KeyError):
        return f"Kaggle answers with an error ({error}); try again later, or pip install -U kaggle"
    return f"Kaggle cannot be reached ({root_cause(error)}); check the network and try again"

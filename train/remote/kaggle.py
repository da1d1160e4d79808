"""A Kaggle notebook that trains: write, push and download it with the optional `kaggle` package."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from geoseg.atomic_files import atomic_write_text
from geoseg.dataset.download import LOGIN_ADVICE, http_status, root_cause
from train.remote import remote_script
from train.remote.job import RemoteError
from train.remote.remote_script import TrainingJob

HARDWARE = "NvidiaTeslaT4"  # two of them; torch no longer runs on the P100
MAX_HOURS = 11.5  # Kaggle ends a notebook after 12 hours and then keeps nothing
PAGE = "https://www.kaggle.com/code/{user}/{name}"
MAX_BYTES = 1_000_000  # of a notebook
NOTEBOOK, METADATA = "train.ipynb", "kernel-metadata.json"


def write_notebook(job: TrainingJob, user: str, hardware: str, folder: Path) -> list[str]:
    """Write the notebook and its metadata; return facts about them to print."""
    notebook = json.dumps(_make_notebook(job), indent=1) + "\n"
    if len(notebook) > MAX_BYTES:
        raise RemoteError(
            f"the notebook would have {len(notebook):,} bytes, and Kaggle accepts {MAX_BYTES:,}: "
            "the code with the teachers' checkpoints is too large to send; add --clone if the "
            "repository has them, or train the teacher there too"
        )
    metadata = {
        "id": f"{user}/{job['name']}",
        "title": job["name"].replace("-", " "),
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": bool(hardware),
        "enable_tpu": False,
        "enable_internet": True,
        "machine_shape": hardware,
        "dataset_sources": [job["data"]] if job["data"] else [],
        "competition_sources": [],
        "kernel_sources": [],
        "model_sources": [],
    }
    atomic_write_text(folder / NOTEBOOK, notebook)
    atomic_write_text(folder / METADATA, json.dumps(metadata, indent=2) + "\n")
    return [
        f"kernel {metadata['id']}, private, {hardware or 'no GPU'}, internet on",
        f"by hand: kaggle kernels push -p {folder}",
    ]


def push_notebook(job: TrainingJob, user: str, folder: Path) -> str:
    """Send the folder and start the notebook; return the address of its page.

    Raise RemoteError if it is running: the results of that run could no longer be fetched.
    """
    kernel = f"{user}/{job['name']}"
    with _open_api(kernel) as api:
        with _ignore_missing_notebook():
            _check_finished(kernel, api.kernels_status(kernel))
        answer = api.kernels_push(str(folder))
    if answer.error:
        raise RemoteError(f"Kaggle refuses {kernel}: {answer.error}")
    if job["data"] in (answer.invalid_dataset_sources or ()):
        raise RemoteError(
            f"Kaggle started {answer.url} without {job['data']}, which your account may not use; "
            "open the data set's page and accept its terms, then push again"
        )
    return str(answer.url)


def download_results(user: str, name: str, folder: Path) -> str:
    """Download the files that the notebook made; return why it failed, or ""."""
    kernel = f"{user}/{name}"
    with _open_api(kernel) as api:
        answer = api.kernels_status(kernel)
        status = _check_finished(kernel, answer)
        api.kernels_output(kernel, path=str(folder), force=True, quiet=True)
    if status == "COMPLETE":
        return ""
    reason = f": {answer.failure_message}" if answer.failure_message else ""
    log = folder / f"{name}.log"
    return f"{kernel} ended with {status}{reason}{_read_last_lines(log)}"


def _check_finished(kernel: str, answer: Any) -> str:
    """Return how a notebook ended, in capitals; raise RemoteError if it has not ended."""
    status = str(answer.status).rpartition(".")[2].upper()  # an enumeration, or its name
    if status in ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED"):
        state = status.lower().replace("_", " ")
        raise RemoteError(f"{kernel} is still {state}; try again later, or stop it on its page")
    return status


@contextmanager
def _ignore_missing_notebook() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        if not _is_missing(error):
            raise


def _is_missing(error: Exception) -> bool:
    """Whether the notebook is missing; Kaggle then answers 403 or 404."""
    return http_status(error) in (403, 404) or "Cannot access kernel" in str(error)


def _read_last_lines(log: Path, lines: int = 5) -> str:
    """Return the last lines of a notebook's log, a JSON list of what it printed."""
    if not log.exists():
        return ""
    text = log.read_text(errors="replace")
    with suppress(ValueError, TypeError, KeyError):  # plain text, or cut off
        text = "".join(part["data"] for part in json.loads(text))
    return "\n" + "\n".join(text.strip().splitlines()[-lines:])


def _make_notebook(job: TrainingJob) -> dict[str, Any]:
    """Return a notebook of format 4.5 with three code cells: the job, the script and its call."""
    code = inspect.getsource(remote_script)
    command = " ".join(["python -m train", *job["arguments"]])
    intro = (
        f"# {job['name']}\n\n`{command}` at commit {job['commit'] or 'unknown'} of geoseg, as "
        "`python -m train.remote` wrote it. With a secret `WANDB_API_KEY` (Add-ons, Secrets) "
        "Weights & Biases tracks it live. `runs.tar` holds the runs."
    )
    return {
        "cells": [
            {
                "cell_type": "markdown",
                "id": "intro",
                "metadata": {},
                "source": intro.splitlines(True),
            },
            _make_code_cell("job", _format_job(job)),
            _make_code_cell("code", code),
            _make_code_cell("run", "main(JOB)\n"),
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _make_code_cell(name: str, text: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": text.splitlines(True),
    }


def _format_job(job: TrainingJob) -> str:
    """Return Python that assigns the job to JOB."""
    settings = ",\n".join(f"    {json.dumps(key)}: {_to_literal(v)}" for key, v in job.items())
    return f"JOB = {{\n{settings},\n}}\n"


def _to_literal(value: object) -> str:
    """Return a Python literal; a long text is split into lines, which editors handle better."""
    if not isinstance(value, str) or len(value) < 100:
        return repr(value)
    lines = [repr(value[i : i + 92]) for i in range(0, len(value), 92)]
    return "(\n        " + "\n        ".join(lines) + "\n    )"


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
        raise _explain(error, kernel) from error


def _explain(error: Exception, kernel: str) -> RemoteError:
    status = http_status(error)
    if status == 401:
        return RemoteError(f"Kaggle does not accept your login; {LOGIN_ADVICE}")
    if _is_missing(error):
        return RemoteError(
            f"{kernel} is missing, or not accessible to you ({error}); check -u and the login, and "
            "push it first with -p"
        )
    if status:
        return RemoteError(f"Kaggle answers {status} ({error}); try again later")
    if "header value" in str(error):  # which holds the token
        return RemoteError(f"the Kaggle token has an invalid format; {LOGIN_ADVICE}")
    if isinstance(error, ValueError | KeyError):
        return RemoteError(
            f"Kaggle's client does not understand the answer ({error}); try again later, or pip "
            "install -U kaggle"
        )
    return RemoteError(
        f"Kaggle cannot be reached ({root_cause(error)}); check the network and try again"
    )

"""Kaggle: a notebook that trains, pushed and asked for by the `kaggle` package, if it is there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from geoseg.atomic_files import atomic_write_text
from geoseg.dataset.download import LOGIN_ADVICE, http_status, root_cause
from train.remote.job import RemoteError, TrainingJob, script

HARDWARE, WITHOUT_GPU = "NvidiaTeslaT4", ""  # two of them; torch no longer runs on the P100
MOST_HOURS = 11.5  # Kaggle ends a notebook after 12, and keeps nothing then
PAGE = "https://www.kaggle.com/code/{user}/{name}"
LARGEST = 1_000_000  # bytes of a notebook that Kaggle takes
NOTEBOOK, METADATA = "train.ipynb", "kernel-metadata.json"


def write(order: TrainingJob, user: str, hardware: str, folder: Path) -> list[str]:
    """Write the notebook and what Kaggle is to know of it; gives what that is, in words."""
    notebook = json.dumps(_notebook(order), indent=1) + "\n"
    if len(notebook) > LARGEST:
        raise RemoteError(
            f"the notebook would have {len(notebook):,} bytes and Kaggle takes {LARGEST:,}: the "
            "code with the teachers' checkpoints is too large to come along; add --clone if the "
            "repository has them, or take --backend hf-jobs"
        )
    metadata = {
        "id": f"{user}/{order['name']}",
        "title": order["name"].replace("-", " "),
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": bool(hardware),
        "enable_tpu": False,
        "enable_internet": True,
        "machine_shape": hardware,
        "dataset_sources": [order["data"]] if order["data"] else [],
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


def push(order: TrainingJob, user: str, hardware: str, folder: Path) -> str:
    """Send the folder and start the notebook; gives the address where to watch it.

    RemoteError where it runs already: what it makes then could no longer be fetched.
    """
    kernel = f"{user}/{order['name']}"
    with _kaggle(kernel) as api:
        with _unless_missing():
            _check_over(kernel, api.kernels_status(kernel))
        answer = api.kernels_push(str(folder))
    if answer.error:
        raise RemoteError(f"Kaggle does not take {kernel}: {answer.error}")
    if order["data"] in (answer.invalid_dataset_sources or ()):
        raise RemoteError(
            f"Kaggle started {answer.url} without {order['data']}, which it says you may not use; "
            "open the data set's page and accept its terms, then push again"
        )
    return str(answer.url)


def collect(user: str, name: str, into: Path) -> str:
    """Bring what the notebook made into a folder; gives what went wrong there, or nothing."""
    kernel = f"{user}/{name}"
    with _kaggle(kernel) as api:
        answer = api.kernels_status(kernel)
        status = _check_over(kernel, answer)
        api.kernels_output(kernel, path=str(into), force=True, quiet=True)
    if status == "COMPLETE":
        return ""
    reason = f": {answer.failure_message}" if answer.failure_message else ""
    log = into / f"{name}.log"
    return f"{kernel} ended with {status}{reason}{_tail(log)}"


def _check_over(kernel: str, answer: Any) -> str:
    """How a notebook ended, in capitals; RemoteError where it has not."""
    status = str(answer.status).rpartition(".")[2].upper()  # an enumeration, or its name
    if status in ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED"):
        said = status.lower().replace("_", " ")
        raise RemoteError(f"{kernel} is still {said}; ask again later, or stop it on its page")
    return status


@contextmanager
def _unless_missing() -> Iterator[None]:
    """Kaggle says of a notebook that is not there that nobody may see it."""
    try:
        yield
    except (OSError, ValueError) as error:
        if not _is_missing(error):
            raise


def _is_missing(error: Exception) -> bool:
    return http_status(error) in (403, 404) or "Cannot access kernel" in str(error)


def _tail(log: Path, lines: int = 5) -> str:
    """The last lines of a notebook's log, which is a JSON list of what it printed."""
    if not log.exists():
        return ""
    text = log.read_text(errors="replace")
    with suppress(ValueError, TypeError, KeyError):  # plain text, or cut off
        text = "".join(part["data"] for part in json.loads(text))
    return "\n" + "\n".join(text.strip().splitlines()[-lines:])


def _notebook(order: TrainingJob) -> dict[str, Any]:
    """A notebook of format 4.5."""
    settings, code, call = script(order, "main(ORDER)\n")
    command = " ".join(["python -m train", *order["arguments"]])
    intro = (
        f"# {order['name']}\n\n`{command}` at commit {order['commit'] or 'unknown'} of geoseg, as "
        "`python -m train.remote` wrote it. With a secret `WANDB_API_KEY` (Add-ons, Secrets) "
        "Weights & Biases follows live. The runs are packed in `runs.tar`."
    )
    return {
        "cells": [
            {"cell_type": "markdown", "id": "intro", "metadata": {}, "source": _lines(intro)},
            *(
                _code(name, text)
                for name, text in zip(("order", "code", "run"), (settings, code, call), strict=True)
            ),
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _code(name: str, text: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": _lines(text),
    }


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


@contextmanager
def _kaggle(kernel: str) -> Iterator[Any]:
    """Kaggle's client, logged in; what it raises becomes what its user can do."""
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
        raise RemoteError(f"there is no login to Kaggle; {LOGIN_ADVICE}") from error
    except (OSError, ValueError, KeyError) as error:
        if getattr(error, "errno", None):  # the disk, not the network
            raise
        raise _explained(error, kernel) from error


def _explained(error: Exception, kernel: str) -> RemoteError:
    status = http_status(error)
    if status == 401:
        return RemoteError(f"Kaggle does not know your login; {LOGIN_ADVICE}")
    if _is_missing(error):
        return RemoteError(
            f"there is no notebook {kernel} that you may see or change ({error}); check -u and the "
            "login, and push it first with -p"
        )
    if status:
        return RemoteError(f"Kaggle answers {status} ({error}); try again later")
    if "header value" in str(error):  # which holds the token
        return RemoteError(f"the token of Kaggle is not one in its form; {LOGIN_ADVICE}")
    if isinstance(error, ValueError | KeyError):
        return RemoteError(
            f"Kaggle says what its client does not understand ({error}); try again later, or pip "
            "install -U kaggle"
        )
    return RemoteError(
        f"Kaggle cannot be reached ({root_cause(error)}); mend the network, try again"
    )

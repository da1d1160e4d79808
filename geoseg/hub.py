"""Files of the Hugging Face Hub, by addresses like hf://user/repo@revision/402-unet.safetensors.

What is fetched is kept in the cache of `huggingface_hub` (HF_HOME says where) and asked for again
only where it has changed; with HF_HUB_OFFLINE=1, or without a network, the cache alone answers.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import (
    HfApi,
    HfUri,
    constants,
    hf_hub_download,
    parse_hf_uri,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HfUriError,
    HTTPError,  # that of the HTTP library which the client stands on
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)

CHECKPOINT_SUFFIX = ".safetensors"
_log = logging.getLogger("geoseg.hub")
_ADDRESS = re.compile(r"hf:/{1,2}(?=\w)")  # pathlib makes one slash of the two


class HubError(ValueError):
    """What the Hub would not or could not do; the message says what to do about it."""


def is_hub_address(path: str | os.PathLike[str]) -> bool:
    """Whether `path` means something on the Hub.

    >>> is_address("hf://user/repo"), is_address("checkpoints/402-unet.safetensors")
    (True, False)
    """
    return bool(_ADDRESS.match(Path(path).as_posix()))


def hub_address(repo: str, revision: str | None = None, file: str = "") -> str:
    """What a repository, "user/name", or a file in it is called, by the others and by users.

    >>> address_of("user/repo", "a/branch", "402-unet.safetensors")
    'hf://user/repo@a%2Fbranch/402-unet.safetensors'
    """
    return _written(HfUri("model", repo, revision, file))


def download_checkpoint(address: str | os.PathLike[str]) -> Path:
    """The file that an address names, or the only checkpoint of a repository, on this disk.

    HubError for what is no address, a file of another kind, a repository that holds no checkpoint
    or several, and whatever the Hub or the network refuses.
    """
    uri = _parse(address)
    with explain_hub_errors(_written(uri)):
        name = uri.path_in_repo or _only_one(uri)
        return Path(hf_hub_download(uri.id, name, revision=uri.revision))


def download_checkpoints(address: str | os.PathLike[str]) -> Path:
    """A folder with all checkpoints of a repository; errors as those of `download_checkpoint`."""
    uri = _parse(address)
    if uri.path_in_repo:
        raise HubError(f"{_written(uri)} names a file; for all of a repository leave it away")
    with explain_hub_errors(_written(uri)):
        return Path(
            snapshot_download(uri.id, revision=uri.revision, allow_patterns=f"*{CHECKPOINT_SUFFIX}")
        )


def cached_repository(path: Path) -> str | None:
    """Return the "user/name" that `download_checkpoint` took a file from; None for other files."""
    kind, *names = path.parent.parent.parent.name.split("--")
    cached = kind == "models" and path.parent.parent.name == "snapshots"
    return "/".join(names) if cached else None


def _parse(address: str | os.PathLike[str]) -> HfUri:
    text = _ADDRESS.sub("hf://", Path(address).as_posix(), count=1)
    try:
        uri = parse_hf_uri(text)
    except HfUriError as error:
        raise HubError(
            f"{text} is no address on the Hub; write hf://user/repo, and if need be @revision and "
            f"/name{CHECKPOINT_SUFFIX} behind it"
        ) from error
    if uri.type != "model":
        raise HubError(f"{text} is a {uri.type}; checkpoints are in repositories of models")
    if uri.path_in_repo and not uri.path_in_repo.endswith(CHECKPOINT_SUFFIX):
        raise HubError(f"{text} is no {CHECKPOINT_SUFFIX} file; no other kind is opened")
    return uri


def _written(uri: HfUri) -> str:
    return uri.to_uri().replace("hf://models/", "hf://")


def _only_one(uri: HfUri) -> str:
    names = [name for name in _names(uri) if name.endswith(CHECKPOINT_SUFFIX)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise HubError(
            f"{_written(uri)} holds no {CHECKPOINT_SUFFIX} file; name another repository"
        )
    listed = ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else "")
    raise HubError(
        f"{_written(uri)} holds {len(names)} checkpoints; name one: {_written(uri)}/NAME, where "
        f"NAME is one of {listed}"
    )


def _names(uri: HfUri) -> list[str]:
    """The files of a repository; of the cache where the Hub cannot be asked."""
    try:
        found = HfApi().model_info(uri.id, revision=uri.revision)  # at once, where others try again
        return [file.rfilename for file in found.siblings or ()]
    except (HTTPError, ConnectionError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise
        try:
            folder = snapshot_download(uri.id, revision=uri.revision, local_files_only=True)
        except LocalEntryNotFoundError as absent:
            raise absent from error
        names = [
            path.relative_to(folder).as_posix()
            for path in Path(folder).rglob(f"*{CHECKPOINT_SUFFIX}")
        ]
        _log.warning("the Hub cannot be asked; of %s the cache has %s", uri.id, ", ".join(names))
        return names


@contextmanager
def explain_hub_errors(subject: str) -> Iterator[None]:
    """Make one sentence, a HubError, of what `huggingface_hub` raises about `subject`."""
    try:
        yield
    except HubError:
        raise
    except (HTTPError, EntryNotFoundError, OSError, RuntimeError, ValueError) as error:
        raise HubError(f"{subject}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__:
        cached = isinstance(error, LocalEntryNotFoundError)
        return ("it is not in the cache, and " if cached else "") + _reason(error.__cause__)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to ask the Hub; unset it"
    if isinstance(error, HfHubHTTPError):
        return _refusal(error)
    if isinstance(error, HTTPError):
        return f"{constants.ENDPOINT} cannot be reached ({_line(error)}); check the network"
    if isinstance(error, UnicodeEncodeError):
        return "the login is no token of the Hub; run `hf auth login`, or set HF_TOKEN to one"
    if isinstance(error, ConnectionError):  # of Xet, the Hub's storage: its text is all there is
        return f"the transfer failed ({_line(error)}); check your login and the network, try again"
    return _line(error)


def _refusal(error: HfHubHTTPError) -> str:
    """What an answer of the Hub means, and what to do."""
    status = error.response.status_code
    message = " ".join((error.server_message or "").split())
    said = f" ({message})" if message else ""
    if isinstance(error, GatedRepoError):
        return "it is gated; ask for access on its page, and log in with `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return "it has no such revision; check what stands behind the @"
    if isinstance(error, RemoteEntryNotFoundError):
        return "there is no such file; see the list of files on its page"
    meanings = {
        401: "the Hub does not know you, or there is no such repository; check the name, and log "
        "in with `hf auth login` or set HF_TOKEN",
        402: f"it must be paid for{said}; see https://huggingface.co/pricing",
        403: f"your login may not do that{said}; use a token that may write there, from "
        "https://huggingface.co/settings/tokens",
        404: "there is no such repository, or you may not see it; check the name, and log in with "
        "`hf auth login` if it is private",
        409: f"somebody else has that name, or changed it at the same time{said}; try again, or "
        "choose another name",
        412: f"somebody else changed it at the same time{said}; try again",
        429: "the Hub has had too many requests; try again in some minutes",
    }
    if status < 500:
        return meanings.get(status, f"the Hub refuses that with {status}{said}")
    return f"the Hub answered {status}{said}; try again later"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

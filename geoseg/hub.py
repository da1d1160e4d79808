"""Files on the Hugging Face Hub, by addresses like hf://user/repo@revision/402-unet.safetensors.

Downloads stay in the cache of `huggingface_hub` (under HF_HOME) and are repeated only if the file
has changed. With HF_HUB_OFFLINE=1, or without a network, only the cache is used.
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
    hf_hub_download,
    parse_hf_uri,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HfUriError,
    HTTPError,  # of the HTTP library that the client uses
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

CHECKPOINT_SUFFIX = ".safetensors"
_log = logging.getLogger("geoseg.hub")
_ADDRESS = re.compile(r"hf:/{1,2}(?=\w)")  # pathlib makes one slash of the two


class HubError(RuntimeError):
    """A request to the Hub failed; the message says why and what to do."""


def is_hub_address(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is an address on the Hub.

    >>> is_hub_address("hf://user/repo"), is_hub_address("checkpoints/402-unet.safetensors")
    (True, False)
    """
    return bool(_ADDRESS.match(Path(path).as_posix()))


def hub_address(repo: str, revision: str | None = None, file: str = "") -> str:
    """Return the address of a repository "user/name", or of a file in it.

    >>> hub_address("user/repo", "a/branch", "402-unet.safetensors")
    'hf://user/repo@a%2Fbranch/402-unet.safetensors'
    """
    return _format(HfUri("model", repo, revision, file))


def download_checkpoint(address: str | os.PathLike[str]) -> Path:
    """Download a file, or the only checkpoint of a repository, and return its local path.

    Raise HubError if the address is invalid or names another kind of file, if the repository holds
    no checkpoint or several, or if the download fails.
    """
    uri = _parse(address)
    with explain_hub_errors(_format(uri)):
        name = uri.path_in_repo or _find_only_checkpoint(uri)
        return Path(hf_hub_download(uri.id, name, revision=uri.revision))


def download_checkpoints(address: str | os.PathLike[str]) -> Path:
    """Download all checkpoints of a repository and return their local folder.

    Raise HubError as `download_checkpoint` does.
    """
    uri = _parse(address)
    if uri.path_in_repo:
        raise HubError(f"{_format(uri)} is a file; omit its name to get all of the repository")
    with explain_hub_errors(_format(uri)):
        patterns = f"*{CHECKPOINT_SUFFIX}"
        return Path(snapshot_download(uri.id, revision=uri.revision, allow_patterns=patterns))


def cached_repository(path: Path) -> str | None:
    """Return the "user/name" that a file in the cache came from; None for other files."""
    kind, *names = path.parent.parent.parent.name.split("--")
    cached = kind == "models" and path.parent.parent.name == "snapshots"
    return "/".join(names) if cached else None


def _parse(address: str | os.PathLike[str]) -> HfUri:
    text = _ADDRESS.sub("hf://", Path(address).as_posix(), count=1)
    try:
        uri = parse_hf_uri(text)
    except HfUriError as error:
        raise HubError(
            f"{text} is not an address on the Hub; write hf://user/repo, optionally followed by "
            f"@revision and /name{CHECKPOINT_SUFFIX}"
        ) from error
    if uri.type != "model":
        raise HubError(f"{text} is a {uri.type}; name a model repository")
    if uri.path_in_repo and not uri.path_in_repo.endswith(CHECKPOINT_SUFFIX):
        raise HubError(
            f"{text} is not a {CHECKPOINT_SUFFIX} file; name one, other kinds are not opened"
        )
    return uri


def _format(uri: HfUri) -> str:
    return uri.to_uri().replace("hf://models/", "hf://")


def _find_only_checkpoint(uri: HfUri) -> str:
    """Return the name of a repository's only checkpoint, by the cache if the Hub is unreachable."""
    try:
        info = HfApi().model_info(uri.id, revision=uri.revision)  # unlike others, does not retry
        files = [file.rfilename for file in info.siblings or ()]
    except (HTTPError, ConnectionError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise
        folder = Path(snapshot_download(uri.id, revision=uri.revision, local_files_only=True))
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        _log.warning("the Hub cannot be reached; %s comes from the cache", _format(uri))
    names = sorted(name for name in files if name.endswith(CHECKPOINT_SUFFIX))
    if not names:
        raise HubError(f"{_format(uri)} holds no {CHECKPOINT_SUFFIX} file; name another repository")
    if len(names) > 1:
        raise HubError(
            f"{_format(uri)} holds {len(names)} checkpoints; name one: {_format(uri)}/NAME, where "
            f"NAME is one of {', '.join(names)}"
        )
    return names[0]


@contextmanager
def explain_hub_errors(subject: str) -> Iterator[None]:
    """Turn errors of `huggingface_hub` into HubError: one sentence on `subject`, with a remedy."""
    try:
        yield
    except HubError:
        raise
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise HubError(f"{subject}: {_explain(error)}") from error


def _explain(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(error, LocalEntryNotFoundError) and cause:
        return f"it is not in the cache, and {_explain(cause)}"
    if isinstance(error, RuntimeError) and cause:
        return _explain(cause)
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        text = f"{error.response.status_code} {error.server_message or ''}".strip(" .")
    for kind, sentence in _SENTENCES.items():
        if isinstance(error, kind):
            return sentence.format(text)
    return text


_SENTENCES: dict[type[BaseException], str] = {  # special errors before those that they inherit from
    GatedRepoError: "it is gated; request access on its page, and log in with `hf auth login`",
    RepositoryNotFoundError: "there is no such repository, or it is private; check the name, and "
    "log in with `hf auth login`, or set HF_TOKEN",
    RevisionNotFoundError: "it has no such revision; check the name after the @",
    RemoteEntryNotFoundError: "there is no such file; see the list of files on its page",
    HfHubHTTPError: "the Hub answers {}; check the login (`hf auth login`, or HF_TOKEN with write "
    "access), or try again later",
    HTTPError: "the Hub cannot be reached ({}); check the network",
    OfflineModeIsEnabled: "HF_HUB_OFFLINE forbids requests to the Hub; unset it",
    # Of Xet, the Hub's storage, which gives only a text.
    ConnectionError: "the transfer failed ({}); check login and network, and try again",
}

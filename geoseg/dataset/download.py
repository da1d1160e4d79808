"""Download the data set from Kaggle with `kagglehub`, an optional dependency."""

from __future__ import annotations

import shutil
from pathlib import Path

from geoseg.atomic_files import atomic_folder
from geoseg.dataset.folder import SPLITS, DatasetError
from geoseg.dataset.loading import PatchDataset
from geoseg.progress import track_progress

HANDLE = "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
LOGIN_ADVICE = (
    "log in with a token from https://www.kaggle.com/settings/api, in ~/.kaggle/access_token or "
    "KAGGLE_API_TOKEN"
)


class DownloadError(RuntimeError):
    """The download failed; the message says why and what to do."""


def dataset_url(handle: str) -> str:
    """Return the address of the data set's web page."""
    return f"https://www.kaggle.com/datasets/{handle}"


def download(handle: str, out: Path) -> PatchDataset:
    """Download a data set from Kaggle into the new or empty folder `out`.

    `out` gets the whole data set at once, or, after a failure or an interrupt, nothing. kagglehub
    caches the download for a second try.

    Args:
        handle: `owner/name`, or `owner/name/versions/3`, of a data set on Kaggle.
        out: gets `<split>/images` and `<split>/labels`.

    Returns:
        The data set, loaded from `out`.

    Raises:
        DownloadError: kagglehub is missing, Kaggle refuses or is unreachable, or the download does
            not have the layout of a data set or a usable patch.
        OSError: `out` is not writable, which is checked before the download.
    """
    with atomic_folder(out) as target:
        source = _fetch(handle)
        root = _find_root(source, handle)
        folders = [root / split / kind for split in SPLITS for kind in ("images", "labels")]
        files = [path for folder in folders for path in folder.glob("[!.]*")]
        for path in track_progress(files, "Copying"):
            copy = target / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        try:
            return PatchDataset.load(target, cache=False)
        except DatasetError as error:
            reason = str(error).replace(str(target), handle)
            raise DownloadError(f"{reason}; delete {source} to download it again") from error


def _fetch(handle: str) -> Path:
    """Download to kagglehub's cache, unless it is there, and return the folder.

    Raise DownloadError, which says what to do, for the exceptions of kagglehub.
    """
    url = dataset_url(handle)
    by_hand = f"or download {url} in a browser, unpack it and give its folder to --data"
    try:
        import kagglehub

        return Path(kagglehub.dataset_download(handle))
    except ImportError as error:
        raise DownloadError(f"kagglehub is missing ({error}); pip install kagglehub") from error
    except OSError as error:  # `requests` raises these, with a response if Kaggle answered
        status = http_status(error)
        if status in (401, 403, 404):
            raise DownloadError(
                f"Kaggle answers {status} for {handle}; check the name and accept the terms at "
                f"{url}, and {LOGIN_ADVICE}"
            ) from error
        if status:
            raise DownloadError(f"Kaggle answers {status}; try again later, {by_hand}") from error
        if error.errno:  # the disk, not the network
            raise
        raise DownloadError(
            f"Kaggle cannot be reached ({root_cause(error)}); check the network and try again, "
            f"{by_hand}"
        ) from error
    except Exception as error:  # kagglehub raises a dozen types
        if "header value" in str(error):  # the message contains the token
            raise DownloadError(f"the Kaggle token is malformed; {LOGIN_ADVICE}") from None
        raise DownloadError(f"kagglehub: {error}; try again, {by_hand}") from error


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status of an exception of `requests`, or None without a response."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def root_cause(error: BaseException) -> str:
    """Return the first line of the innermost cause of an exception, the most specific one."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _find_root(download: Path, handle: str) -> Path:
    """Return the only folder of splits in a download."""
    paths = download.rglob("images/well_*.npy")  # without the hidden copies that macOS adds
    roots = {path.parents[2] for path in paths if path.parents[1].name in SPLITS}
    if len(roots) == 1:
        return roots.pop()
    raise DownloadError(
        f"{handle} has {len(roots)} folders with {{train,validation,test}}/images/well_*.npy, "
        f"expected one; choose or arrange it in {download} and give it to --data, or delete "
        f"{download} to download it again"
    )

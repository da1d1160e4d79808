"""Download the data set from Kaggle with `kagglehub`, an optional dependency."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track

from geoseg.atomic_files import atomic_folder
from geoseg.dataset.folder import SPLITS, DatasetError
from geoseg.dataset.loading import PatchDataset

HANDLE = "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
# Number of images in the first release, which Kaggle has; other releases have other numbers.
RELEASE_COUNTS = {"train": 7211, "validation": 2463, "test": 2538}

_HANDLE = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*(/versions/[1-9][0-9]*)?", re.ASCII)
_DAMAGE = frozenset({"unreadable image", "unusable label"})

LOGIN_ADVICE = (
    "log in with a token from https://www.kaggle.com/settings/api, in ~/.kaggle/access_token or "
    "KAGGLE_API_TOKEN"
)


class DownloadError(RuntimeError):
    """The download failed; the message says why and what to do."""


def check_handle(handle: str) -> None:
    """Raise ValueError if `handle` cannot be a data set on Kaggle."""
    if not _HANDLE.fullmatch(handle):
        raise ValueError(f"{handle!r} is not a data set on Kaggle; give OWNER/NAME")


def dataset_url(handle: str) -> str:
    """Return the address of the data set's web page."""
    return f"https://www.kaggle.com/datasets/{handle}"


def download(handle: str, out: Path, console: Console) -> PatchDataset:
    """Download a data set from Kaggle into the new or empty folder `out`.

    `out` gets the whole data set at once, or, after a failure or an interrupt, nothing. kagglehub
    caches the download for a second try. If no patch in the cache is usable, it is downloaded
    again, once.

    Args:
        handle: `owner/name`, or `owner/name/versions/3`, of a data set on Kaggle.
        out: gets `<split>/images` and `<split>/labels`.
        console: gets progress and warnings.

    Returns:
        The data set, loaded from `out`.

    Raises:
        DownloadError: kagglehub is missing, Kaggle refuses or is unreachable, or the download does
            not have the layout of a data set or a usable patch.
        ValueError: `handle` is malformed.
        OSError: `out` is not writable, which is checked before the download.
    """
    check_handle(handle)
    with atomic_folder(out) as target:
        folder = _fetch(handle)
        dataset, fault = _copy_and_load(folder, handle, target, console)
        if dataset is None:
            console.print(f"The download is damaged ({fault}); downloading it again.")
            shutil.rmtree(target)
            folder = _fetch(handle, force=True)
            dataset, fault = _copy_and_load(folder, handle, target, console)
        if dataset is None:
            raise DownloadError(f"{handle}: {fault}; check the download in {folder}")
        if fault:  # it may be damaged on Kaggle, so downloading again may not help
            console.print(f"Warning: {fault}; delete {folder} to download everything again.")
        if handle == HANDLE:
            _compare_with_release(target, folder, console)
    return dataset


def _fetch(handle: str, force: bool = False) -> Path:
    """Download to kagglehub's cache, unless it is there and not `force`; return the folder."""
    try:
        import kagglehub
    except ImportError as error:
        raise DownloadError(f"kagglehub is missing ({error}); pip install kagglehub") from error
    with _explain_kaggle_errors(handle):
        return Path(kagglehub.dataset_download(handle, force_download=force))


@contextmanager
def _explain_kaggle_errors(handle: str) -> Iterator[None]:
    """Turn exceptions of kagglehub into a DownloadError that says what to do."""
    url = dataset_url(handle)
    by_hand = f"or download {url} in a browser, unpack it and give its folder to --data"
    try:
        yield
    except OSError as error:  # `requests` raises these, with a response if Kaggle answered
        status = http_status(error)
        if status in (401, 403):
            raise DownloadError(
                f"Kaggle denies access to {handle}; accept its terms at {url} and {LOGIN_ADVICE}"
            ) from error
        if status == 404:
            raise DownloadError(
                f"Kaggle has no data set {handle} that you can access; check the name at {url}, "
                f"and if it is private, {LOGIN_ADVICE}"
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


def _copy_and_load(
    folder: Path, handle: str, target: Path, console: Console
) -> tuple[PatchDataset | None, str]:
    """Copy the download to `target` and load it; return the data set and the first damage."""
    files = list(_list_files(_find_root(folder, handle)))
    for path, name in track(files, "Copying", console=console, transient=True):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
    try:
        dataset = PatchDataset.load(target, cache=False)
    except DatasetError as error:
        return None, str(error).replace(f" in {target}", "")
    damaged = [r for r in dataset.rejections if r.kind in _DAMAGE]
    return dataset, f"{damaged[0].name} {damaged[0].reason}" if damaged else ""


def _find_root(folder: Path, handle: str) -> Path:
    """Return the folder of the splits, in any letter case, without the extra files of macOS."""
    roots = {
        path.parent.parent
        for path in folder.rglob("*")
        if path.name.lower() == "images"
        and path.parent.name.lower() in SPLITS
        and "__MACOSX" not in path.relative_to(folder).parts
        and any(path.glob("*.npy"))
    }
    if len(roots) == 1:
        return roots.pop()
    found = "no folder"
    if roots:
        names = sorted(str(root.relative_to(folder)) for root in roots)
        found = f"{len(roots)} folders ({', '.join(names[:3])})"
    raise DownloadError(
        f"{handle} has {found} with {{train,validation,test}}/images/*.npy, expected one; choose "
        f"or arrange it in {folder} and give it to --data, or delete {folder} to download it again"
    )


def _list_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of the data set and its name in `out`, without hidden files."""
    for path in sorted(root.glob("*/*/*")):
        split, kind = path.parts[-3].lower(), path.parts[-2].lower()
        is_shown = path.is_file() and not path.name.startswith(".")
        if split in SPLITS and kind in ("images", "labels") and is_shown:
            yield path, f"{split}/{kind}/{path.name}"


def _compare_with_release(target: Path, folder: Path, console: Console) -> None:
    """Warn if the number of images differs from the release that published scores are for."""
    differences = []
    for split, expected in RELEASE_COUNTS.items():
        found = sum(1 for _ in (target / split / "images").glob("*.npy"))
        if found != expected:
            differences.append(f"{split}/ has {found:,} images, the first release had {expected:,}")
    if differences:
        console.print(
            f"Warning: {'; '.join(differences)}; scores may not be comparable. If images are "
            f"missing, delete {folder} to download everything again."
        )

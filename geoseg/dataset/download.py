"""The data set from Kaggle, through `kagglehub`, which does not come with geoseg."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from geoseg.atomic_files import atomic_folder
from geoseg.dataset.folder import SPLITS, DatasetError
from geoseg.dataset.loading import PatchDataset

HANDLE = "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
# Image files of the first release, which Kaggle has; other releases have other numbers.
RELEASED = {"train": 7211, "validation": 2463, "test": 2538}

_HANDLE = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*(/versions/[1-9][0-9]*)?", re.ASCII)
_DAMAGE = frozenset({"unreadable image", "unusable label"})

LOGIN = (
    "log in with a token from https://www.kaggle.com/settings/api, in ~/.kaggle/access_token or "
    "KAGGLE_API_TOKEN"
)


class DownloadError(RuntimeError):
    """The data set could not be had; the message says why and what to do."""


def check_handle(handle: str) -> None:
    """ValueError where no data set of Kaggle can be called so."""
    if not _HANDLE.fullmatch(handle):
        raise ValueError(f"{handle!r} is no data set of Kaggle; give OWNER/NAME")


def page(handle: str) -> str:
    """Where a browser finds the data set."""
    return f"https://www.kaggle.com/datasets/{handle}"


def download(handle: str, out: Path, console: Console) -> PatchDataset:
    """Fetch a data set from Kaggle and lay it out in the new or empty folder `out`.

    All of it appears in `out` at once, or, where anything fails or is interrupted, nothing does.
    What was fetched stays in kagglehub's cache, so that a second try need not fetch it again; where
    nothing of it is of use, it is fetched once more.

    Args:
        handle: `owner/name`, or `owner/name/versions/3`, of a data set on Kaggle.
        out: gets `<split>/images` and `<split>/labels`.
        console: where to say how it goes.

    Returns:
        The set, read from what was laid out.

    Raises:
        DownloadError: kagglehub is missing, Kaggle refuses or cannot be reached, or what it gave is
            not in the layout of a data set or has not one usable patch.
        ValueError: no handle.
        OSError: `out` cannot be written, which is found before anything is fetched.
    """
    check_handle(handle)
    with atomic_folder(out) as whole:
        folder = _fetch(handle)
        dataset, fault = _lay_out(folder, handle, whole, console)
        if dataset is None:
            console.print(f"What was fetched is damaged ({fault}); fetching it once more.")
            shutil.rmtree(whole)
            folder = _fetch(handle, again=True)
            dataset, fault = _lay_out(folder, handle, whole, console)
        if dataset is None:
            raise DownloadError(f"{handle}: {fault}; it was downloaded to {folder}: look there")
        if fault:  # it may be so at Kaggle, and what is whole might be lost by fetching again
            console.print(f"Warning: {fault}; delete {folder} to fetch all anew.")
        if handle == HANDLE:
            _compare(whole, folder, console)
    return dataset


def _fetch(handle: str, again: bool = False) -> Path:
    """Where kagglehub has put the set; it asks its cache unless `again`."""
    try:
        import kagglehub
    except ImportError as error:
        raise DownloadError(f"kagglehub is missing ({error}); pip install kagglehub") from error
    with _explaining(handle):
        return Path(kagglehub.dataset_download(handle, force_download=again))


@contextmanager
def _explaining(handle: str) -> Iterator[None]:
    """Turn what kagglehub raises into what its user can do."""
    at = page(handle)
    by_hand = f"or download {at} by browser, unpack it and give its folder to --data"
    try:
        yield
    except OSError as error:  # all that `requests` raises; a response is there if Kaggle answered
        status = answered(error)
        if status in (401, 403):
            raise DownloadError(
                f"Kaggle does not let you have {handle}; accept its terms at {at} and {LOGIN}"
            ) from error
        if status == 404:
            raise DownloadError(
                f"Kaggle has no data set {handle} that you may see; check the name at {at}, "
                f"and if it is private, {LOGIN}"
            ) from error
        if status:
            raise DownloadError(f"Kaggle answers {status}; try again later, {by_hand}") from error
        if error.errno:  # the disk, not the network
            raise
        raise DownloadError(
            f"Kaggle cannot be reached ({innermost(error)}); mend the network and try again, "
            f"{by_hand}"
        ) from error
    except Exception as error:  # kagglehub has a dozen kinds, and nothing else runs in here
        if "header value" in str(error):  # which holds the token
            raise DownloadError(f"the token of Kaggle is not one in its form; {LOGIN}") from None
        raise DownloadError(f"kagglehub: {error}; try again, {by_hand}") from error


def answered(error: BaseException) -> int | None:
    """The status that a server answered with, where an error of `requests` is about an answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def innermost(error: BaseException) -> str:
    """The innermost reason of an error, which is the one that says something."""
    inner: Any = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__
    return str(inner).splitlines()[0] if str(inner) else type(inner).__name__


def _lay_out(
    folder: Path, handle: str, whole: Path, console: Console
) -> tuple[PatchDataset | None, str]:
    """Copy what was fetched to `whole` and read it: the set, and what is damaged in it, if so."""
    files = list(_files(_find_root(folder, handle)))
    for path, name in track(files, "Laying out", console=console, transient=True):
        target = whole / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    try:
        dataset = PatchDataset.load(whole, cache=False)
    except DatasetError as error:
        return None, str(error).replace(f" in {whole}", "")
    damaged = [r for r in dataset.rejections if r.kind in _DAMAGE]
    return dataset, f"{damaged[0].name} {damaged[0].reason}" if damaged else ""


def _find_root(folder: Path, handle: str) -> Path:
    """Where in what was fetched the splits are, in capitals or not; not in what macOS adds."""
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
    what = "no folder"
    if roots:
        names = sorted(str(root.relative_to(folder)) for root in roots)
        what = f"{len(roots)} folders ({', '.join(names[:3])})"
    raise DownloadError(
        f"{handle} has {what} with {{train,validation,test}}/images/*.npy in it; it was downloaded "
        f"to {folder}: choose or rearrange there and give that folder to --data, or delete it to "
        "fetch it anew"
    )


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """What belongs to the set, and its name there; hidden files do not."""
    for split in sorted(root.iterdir()):
        if split.name.lower() not in SPLITS or not split.is_dir():
            continue
        for kind in sorted(split.iterdir()):
            if kind.name.lower() in ("images", "labels") and kind.is_dir():
                for path in sorted(kind.iterdir()):
                    if path.is_file() and not path.name.startswith("."):
                        yield path, f"{split.name.lower()}/{kind.name.lower()}/{path.name}"


def _compare(whole: Path, folder: Path, console: Console) -> None:
    """Say where the numbers are not those of the release that scores are known for."""
    other = []
    for split, expected in RELEASED.items():
        found = sum(1 for _ in (whole / split / "images").glob("*.npy"))
        if found != expected:
            other.append(f"{split}/ has {found:,} images, the first release had {expected:,}")
    if other:
        console.print(
            f"Warning: {'; '.join(other)}; scores may not compare. If some were lost, delete "
            f"{folder} to fetch all anew."
        )

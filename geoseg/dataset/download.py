"""The data set from Kaggle, through `kagglehub`, which does not come with geoseg."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from geoseg.dataset.loading import PatchDataset
from geoseg.folder import SPLITS

HANDLE = "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
# Image files of the first release, which Kaggle has; other releases have other numbers.
RELEASED = {"train": 7211, "validation": 2463, "test": 2538}

LOGIN = (
    "log in with a token from https://www.kaggle.com/settings/api, in ~/.kaggle/access_token or "
    "KAGGLE_API_TOKEN"
)


class DownloadError(RuntimeError):
    """The data set could not be had; the message says why and what to do."""


def download(handle: str, out: Path, console: Console) -> PatchDataset:
    """Fetch a data set from Kaggle and lay it out in the new or empty folder `out`.

    All of it appears in `out` at once, or, where anything fails or is interrupted, nothing does.
    What was fetched stays in kagglehub's cache, so that a second try need not fetch it again.

    Args:
        handle: `owner/name`, or `owner/name/versions/3`, of a data set on Kaggle.
        out: gets `<split>/images` and `<split>/labels`.
        console: where to say how it goes.

    Returns:
        The set, read from what was fetched.

    Raises:
        DownloadError: kagglehub is missing, Kaggle refuses or cannot be reached, or what it gave is
            not in the layout of a data set.
        ValueError: no handle, or not one usable patch.
        OSError: `out` cannot be written.
    """
    root = _find_root(_fetch(handle), handle)
    dataset = PatchDataset.load(root, cache=False)
    if handle == HANDLE:
        _compare(root, console)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        whole = Path(folder) / out.name
        files = list(_files(root))
        for path in track(files, "Laying out", console=console, transient=True):
            target = whole / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if out.is_dir():
            out.rmdir()  # it is empty, or this fails
        whole.replace(out)
    return dataset


def _fetch(handle: str) -> Path:
    try:
        import kagglehub
        from kagglehub.handle import parse_dataset_handle
    except ImportError as error:
        raise DownloadError(f"kagglehub is missing ({error}); pip install kagglehub") from error
    try:
        parse_dataset_handle(handle)
    except ValueError as error:
        raise ValueError(f"{handle!r} is no data set of Kaggle; give OWNER/NAME") from error
    with _explaining(handle):
        return Path(kagglehub.dataset_download(handle))


@contextmanager
def _explaining(handle: str) -> Iterator[None]:
    """Turn what kagglehub raises into what its user can do."""
    page = f"https://www.kaggle.com/datasets/{handle}"
    by_hand = f"or download {page} by browser, unpack it and give its folder to --data"
    try:
        yield
    except OSError as error:  # all that `requests` raises; a response is there if Kaggle answered
        status = answered(error)
        if status in (401, 403):
            raise DownloadError(
                f"Kaggle does not let you have {handle}; accept its terms at {page} and {LOGIN}"
            ) from error
        if status == 404:
            raise DownloadError(
                f"Kaggle has no data set {handle} that you may see; check the name at {page}, and "
                f"if it is private, {LOGIN}"
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


def _find_root(folder: Path, handle: str) -> Path:
    """Where in what was fetched the splits are."""
    roots = {path.parent.parent for path in folder.rglob("images") if path.parent.name in SPLITS}
    if len(roots) == 1:
        return roots.pop()
    what = "no folder" if not roots else f"{len(roots)} folders"
    raise DownloadError(
        f"{handle} has {what} with {{train,validation,test}}/images in it; it was downloaded to "
        f"{folder}: choose or rearrange there, and give that folder to --data"
    )


def _files(root: Path) -> Iterator[Path]:
    for split in SPLITS:
        for kind in ("images", "labels"):
            folder = root / split / kind
            yield from sorted(path for path in folder.glob("*") if path.is_file())


def _compare(root: Path, console: Console) -> None:
    """Say where the numbers are not those of the release that scores are known for."""
    for split, expected in RELEASED.items():
        found = sum(1 for _ in (root / split / "images").glob("*.npy"))
        if found != expected:
            console.print(
                f"Warning: {split}/ has {found:,} images, the first release had {expected:,}; "
                "scores may not compare."
            )

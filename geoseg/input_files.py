"""List input files: those of a file, a folder or a glob, alike for the page and every command.

Hidden files and what systems add to folders are ignored; the case of the extension and of the
folders `images` and `labels` does not matter.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from geoseg.natural_sort import natural_key
from geoseg.patches import printable_name

_JUNK = ("thumbs.db", "desktop.ini", "__macosx")  # of Windows and macOS
_SURPLUS_LEVELS = 2  # folders with nothing but another folder, which unpacking an archive adds


class NoPatchesError(ValueError):
    """No patches to read; the message is one sentence for the user."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or a system's own."""
    return name.startswith(".") or name.lower() in _JUNK


def find_files(source: str | os.PathLike[str]) -> list[Path]:
    """List the files of a file, a folder, or a glob in which `**` works, in natural order.

    A folder stands for its `.npy` files, or for those in its `images/`, or for the only folder in
    it. A glob does not match hidden files, nor labels beside their images. Raise NoPatchesError if
    there is no file.
    """
    path = Path(source).expanduser()
    name = printable_name(str(source))
    if path.is_file():
        return [path]
    if path.is_dir():
        return _list_folder(path)
    if not glob.has_magic(str(path)):
        raise NoPatchesError(f"{name} does not exist; give a .npy file, a folder or a glob")
    pattern = str(path)
    if path.suffix.lower() == ".npy":
        pattern = f"{pattern[:-4]}.[nN][pP][yY]"
    matches = (Path(match) for match in glob.glob(pattern, recursive=True))
    files = [f for f in matches if f.is_file() and not is_hidden(f.name) and not _is_label(f)]
    if not files:
        raise NoPatchesError(f"{name} matches no file; quote the glob and check its folder")
    return sorted(files, key=lambda file: natural_key(str(file)))


def find_images(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the files of all sources, each once, whose results are named by their stems.

    Raise NoPatchesError for a source without files, ValueError for two files of one stem, in
    whatever case, since their results would share a folder.
    """
    found: dict[str, Path] = {}
    for file in (file for source in sources for file in find_files(source)):
        if not file.stem.strip("."):
            raise ValueError(f"{file} has no name before its extension; rename it")
        other = found.setdefault(file.stem.casefold(), file)
        if other != file:
            raise ValueError(
                f"{other} and {file} have one name, and their results would share a folder; "
                "segment one at a time"
            )
    return list(found.values())


def find_child(folder: Path, name: str) -> Path | None:
    """Return the file or folder of this name in whatever case, None if there is none.

    Raise NoPatchesError if several match.
    """
    children = folder.iterdir() if folder.is_dir() else ()
    matches = [child for child in children if child.name.casefold() == name.casefold()]
    if len(matches) > 1:
        names = " and ".join(sorted(match.name for match in matches))
        raise NoPatchesError(f"{printable_name(str(folder))} holds {names}; keep one of them")
    return matches[0] if matches else None


def find_only_folder(folder: Path) -> Path | None:
    """Return the folder in `folder` if there is just one, hidden ones aside."""
    folders = [child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name)]
    return folders[0] if len(folders) == 1 else None


def find_label(image: Path) -> Path | None:
    """Return the file of `image`'s name in `labels/` beside its folder `images/`, if any."""
    if image.parent.name.casefold() != "images":
        return None
    return _find_namesake(image, "labels")


def _list_folder(folder: Path) -> list[Path]:
    level: Path | None = folder
    for _ in range(_SURPLUS_LEVELS + 1):
        if not level:
            break
        images = find_child(level, "images")
        if files := _list_arrays(level) or (_list_arrays(images) if images else []):
            return files
        level = find_only_folder(level)
    raise NoPatchesError(
        f"{printable_name(str(folder))} holds no .npy file, nor does its images/; name the folder "
        "of the images"
    )


def _list_arrays(folder: Path) -> list[Path]:
    files = (f for f in folder.iterdir() if f.suffix.lower() == ".npy" and not is_hidden(f.name))
    return sorted(files, key=lambda file: natural_key(file.name))


def _is_label(path: Path) -> bool:
    """Return whether a file is the label of another; `data/**/*.npy` matches both."""
    if path.parent.name.casefold() != "labels":
        return False
    return _find_namesake(path, "images") is not None


def _find_namesake(path: Path, name: str) -> Path | None:
    """Return the file of `path`'s name in the folder `name` beside its own, if any."""
    folder = find_child(path.parent.parent, name)
    if not folder or (folder / path.name).exists():
        return folder and folder / path.name
    return find_child(folder, path.name)

"""Write the masks of images: `python -m train.predict CHECKPOINT IMAGE ... -o DIR`.

An image is a .npy patch or log, a folder of them, or a pattern in quotes. Several checkpoints
write into a folder each, inside DIR.
"""

from __future__ import annotations

import argparse
import glob
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from geoseg.atomic_files import atomic_write, name_in_errors
from geoseg.hub import is_hub_address
from geoseg.natural_sort import natural_key
from geoseg.patches import PatchError, printable_name, read_patch
from geoseg.pictures import grey, overlay, png, side_by_side
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.twins import TWIN_COLUMNS, join_twins, split_twins

_LARGE = 128  # rows up to which a picture is magnified


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.predict", description=__doc__)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="one or more checkpoints, .safetensors or hf://user/repo on the Hugging Face Hub, and "
        ".npy images, their folders or patterns",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where the masks go"
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="also NAME.png: the image in grey, and beside it the same with the mask on it",
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also NAME.probability.npy: float32, NaN at nulls",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="a probability above T is a groove (default: what each checkpoint says)",
    )
    parser.add_argument(
        "--no-twins",
        action="store_true",
        help="show a log of 72 columns to the models whole, not as two logs of 36",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    arguments = parser.parse_args(argv)
    arguments.checkpoints = [f for f in arguments.files if _is_checkpoint(f)]
    arguments.images = [f for f in arguments.files if not _is_checkpoint(f)]
    if not arguments.checkpoints or not arguments.images:
        kind = "image" if arguments.checkpoints else "checkpoint (.safetensors)"
        parser.error(f"no {kind} among the files; name at least one checkpoint and one image")
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        parser.error(f"--threshold is {arguments.threshold}; it must be from 0 to 1")
    return arguments


def _is_checkpoint(name: str) -> bool:
    return name.endswith(".safetensors") or is_hub_address(name)


def main(argv: list[str] | None = None) -> int:
    """Write what the command line asks for; gives the exit code."""
    arguments = parse(argv)
    console = Console(highlight=False, markup=False)
    try:
        segmenter = Segmenter(arguments.checkpoints, arguments.device)
        images = find_images(arguments.images)
        _check_free(images, segmenter, arguments)
        failed = _predict_all(images, segmenter, arguments)
    except KeyboardInterrupt:
        print("predict: stopped; what is written is whole.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 1 if isinstance(error, WriteError) else 2
    done = f"masks of {len(images) - failed:,} images"
    console.print(f"{arguments.output}: {done}, {failed:,} files skipped", soft_wrap=True)
    return 1 if failed else 0


class WriteError(OSError):
    """An answer that cannot be written."""


def find_images(named: Iterable[str]) -> list[Path]:
    """The .npy files of files, folders and patterns, each once, in the order given.

    ValueError for a name that stands for none, and for two files of one name: their masks would be
    one file.
    """
    found: dict[Path, None] = {}
    for name in named:
        path = Path(name)
        held = [file for file in path.glob("*.npy") if not file.name.startswith(".")]
        files = sorted(held, key=lambda file: natural_key(file.name)) if path.is_dir() else [path]
        if not path.exists():
            files = sorted(map(Path, glob.glob(name)), key=lambda file: natural_key(file.name))
        if not files:
            fault = "holds no .npy file" if path.is_dir() else "does not exist and matches nothing"
            raise ValueError(f"{printable_name(name)} {fault}; check its name")
        found.update(dict.fromkeys(files))
    first: dict[str, Path] = {}
    for file in found:
        if (other := first.setdefault(file.stem, file)) != file:
            raise ValueError(
                f"{other} and {file} have one name, and so would their masks; do one at a time"
            )
    return list(found)


def _targets(
    image: Path, name: str, segmenter: Segmenter, wanted: argparse.Namespace
) -> list[Path]:
    """Where one model's mask of one image goes, then its probability, then its picture."""
    several = len(segmenter.names) > 1
    folder = wanted.output / name if several else wanted.output
    endings = [".npy"]
    endings += [".probability.npy"] if wanted.probabilities else []
    endings += [".png"] if wanted.pictures else []
    return [folder / f"{image.stem}{ending}" for ending in endings]


def _check_free(images: list[Path], segmenter: Segmenter, wanted: argparse.Namespace) -> None:
    """Refuse to replace anything, and above all an image by its own mask."""
    targets = [
        t for i in images for n in segmenter.names for t in _targets(i, n, segmenter, wanted)
    ]
    sources = {image.resolve() for image in images}
    if own := next((t for t in targets if t.resolve() in sources), None):
        raise ValueError(f"{own} is an image, and its mask would replace it; choose another -o")
    if len(set(targets)) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise ValueError(f"{twice} would be written twice; do its images one at a time")
    there = [target for target in targets if os.path.lexists(target)]
    if there and not wanted.overwrite:
        more = f" and {len(there) - 1:,} more" if len(there) > 1 else ""
        raise ValueError(
            f"{there[0]}{more} would be replaced; add --overwrite or choose another -o"
        )


def _predict_all(images: list[Path], segmenter: Segmenter, wanted: argparse.Namespace) -> int:
    """Write every answer; gives how many images could not be used, which are named."""
    failed = 0
    for path in track_progress(images, "Predicting"):
        try:
            image = read_patch(path)
            answers = _probabilities(image, segmenter, twins=not wanted.no_twins)
        except PatchError as error:
            print(f"predict: {error}", file=sys.stderr)
            failed += 1
        except ValueError as error:  # too large for a model
            print(f"predict: {printable_name(path.name)}: {error}", file=sys.stderr)
            failed += 1
        else:
            for name, probability in answers.items():
                targets = _targets(path, name, segmenter, wanted)
                threshold = wanted.threshold
                if threshold is None:
                    threshold = segmenter.cards[name].threshold
                _write(targets, image, probability, threshold)
    return failed


def _probabilities(
    image: NDArray[np.float32], segmenter: Segmenter, twins: bool
) -> dict[str, NDArray[np.float32]]:
    """What each model says of a patch or a log (Z, A), as it was taught to see one."""
    if not (twins and image.shape[1] == TWIN_COLUMNS):
        return segmenter.probabilities(image)
    apart = segmenter.probabilities(split_twins(image))
    return {name: join_twins(probability) for name, probability in apart.items()}


def _write(
    targets: list[Path],
    image: NDArray[np.float32],
    probability: NDArray[np.float32],
    threshold: float,
) -> None:
    """Write one model's answers for one image, each file whole or not at all."""
    mask = probability > threshold  # NaN, at a null, is never above it
    for target in targets:
        if target.suffix == ".png":
            content = png(side_by_side(grey(image), overlay(image, mask)), scale=_scale(image))
        else:
            content = _npy(mask.astype(np.uint8) if target == targets[0] else probability)
        try:
            with name_in_errors(target), atomic_write(target) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise WriteError(error) from error


def _npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _scale(image: NDArray[np.float32]) -> int:
    """A patch is shown large, a log pixel by pixel."""
    return 6 if len(image) <= _LARGE else 1


if __name__ == "__main__":
    sys.exit(main())

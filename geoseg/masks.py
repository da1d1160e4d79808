"""Read a mask of grooves: one value per pixel, whatever wrote it. Z depth, A azimuth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.patches import PatchError, Source, read_arrays

UNKNOWN_LABEL = 255  # what a mask file of a log may hold where the label is unknown

# Grooves are upright: the labels of every real well start 4 to 37 times as many runs of pixels
# along azimuth as along depth, and any labelled patch at least 3 times.
_TRANSPOSED_RATIO = 1.5


@dataclass(frozen=True, eq=False)
class Mask:
    """One mask of grooves.

    Attributes:
        pixels: uint8 (Z, A), native, C-contiguous and writable: 1 in a groove, 0 elsewhere,
            UNKNOWN_LABEL where that is unknown.
        name: of the file, without its folder; "The file" for bytes.
        assumptions: what was assumed, a sentence by the kind of the assumption: "mask".
    """

    pixels: NDArray[np.uint8]
    name: str = ""
    assumptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, in plain sentences; () if nothing was."""
        return tuple(self.assumptions.values())


def read_mask(source: Source, *, unknown: bool = False) -> NDArray[np.uint8]:
    """Return the pixels of `read_noted_mask`: uint8 (Z, A), 1 in a groove."""
    return read_noted_mask(source, unknown=unknown).pixels


def read_noted_mask(source: Source, *, unknown: bool = False) -> Mask:
    """Read one mask of grooves, with a note of what was assumed.

    `source` is as for `read_arrays`, or an `.npz` archive with an array "mask", of booleans or
    numbers: 0 and 1, or 0 and 255. With `unknown` the label is unknown at 255 in a mask with 1s,
    and in one without where 255 covers whole rows, or the even or odd columns of whole rows, as
    `python -m geoseg.dataset stitch` writes it; elsewhere 255 is a groove.

    Raise PatchError if the file is missing, damaged, of another kind, holds another value, or if
    255 can mean either.
    """
    name, arrays = read_arrays(source, kinds="biuf", member="mask.npy")
    if len(arrays) != 1:
        raise PatchError(f"{name} is a stack of {len(arrays)} masks; save each to its own file.")
    return interpret_mask(arrays[0], name, unknown=unknown)


def interpret_mask(array: NDArray[np.generic], name: str, *, unknown: bool = False) -> Mask:
    """Return the mask that an array (Z, A) of booleans or numbers means; see `read_noted_mask`."""
    is_255 = array == UNKNOWN_LABEL
    has_1 = bool((array == 1).any())
    wrong = ~(np.isin(array, (0, 1)) | (is_255 & (unknown or not has_1)))
    if wrong.any():
        also = f", and {UNKNOWN_LABEL} where it is unknown" if unknown else ""
        raise PatchError(
            f"{name} holds the value {array[wrong][0]:g}, but a mask holds only 0 (background) and "
            f"1 (groove){also}; convert it first."
        )
    pixels = np.array(array, np.uint8, order="C")
    if has_1 or not is_255.any():
        return Mask(pixels, name)
    uncovered = is_255 & ~_find_unknown(is_255)
    if unknown and not uncovered.any():
        note = "255 covers whole rows of the mask, so the labels there were taken for unknown."
        return Mask(pixels, name, {"mask": note})
    if not uncovered.any() or (unknown and (uncovered != is_255).any()):
        raise PatchError(
            f"{name} holds 255 in whole rows, which may mean a groove or an unknown label; write "
            "grooves as 1."
        )
    pixels[is_255] = 1
    return Mask(pixels, name, {"mask": "The mask holds 0 and 255, so 255 was taken for grooves."})


def explain_misfit(mask: Sequence[int], image: Sequence[int]) -> str:
    """Return what is wrong with the shape (Z, A) of a mask; an empty string if nothing is."""
    if tuple(mask) == tuple(image):
        return ""
    fault = f"has the size {format_size(mask)}, its image {format_size(image)}"
    fits_transposed = tuple(mask) == tuple(image)[::-1]
    return f"{fault}: it fits only transposed, so save its .T" if fits_transposed else fault


def format_size(shape: Sequence[int]) -> str:
    """Format a shape, such as "36x72"."""
    return "x".join(map(str, shape))


def are_transposed(masks: NDArray[np.uint8]) -> bool:
    """Return whether the grooves of all masks (N, Z, A), 1 in a groove, lie along azimuth.

    Grooves are upright bands, so a few masks of real grooves show it.
    """
    along_depth, along_azimuth = (_count_runs(masks == 1, axis) for axis in (1, 2))
    return along_depth > _TRANSPOSED_RATIO * along_azimuth


def _find_unknown(is_255: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the part of 255s (Z, A) that covers whole rows, or every other column of them."""
    found = np.zeros_like(is_255)
    sides = (0, 1) if is_255.shape[1] % 2 == 0 else ()
    for columns in (slice(None), *(slice(side, None, 2) for side in sides)):
        found[:, columns] |= is_255[:, columns].all(1, keepdims=True)
    return found


def _count_runs(grooves: NDArray[np.bool_], axis: int) -> int:
    """Count the runs of True along an axis of masks (N, Z, A)."""
    grooves = np.moveaxis(grooves, axis, -1)
    return int(grooves[..., 0].sum() + (grooves[..., 1:] > grooves[..., :-1]).sum())

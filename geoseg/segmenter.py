"""Checkpoints to probabilities and masks of raw patches and logs: the one inference path.

B batch, Z depth, A azimuth.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.azimuth import ColumnSets
from geoseg.card import Card
from geoseg.checkpoint import (
    CheckpointError,
    checkpoint_name,
    load_checkpoint,
    read_card,
    resolve_checkpoint,
)
from geoseg.inference import ModelRunner, native_precision
from geoseg.measurements import Log, interpret
from geoseg.models import Model
from geoseg.patches import AllNullError

_logger = logging.getLogger("geoseg")

# Pixels of one forward pass, in whole images: the widest activation, 256 channels, takes 340 MB.
_PIXELS_PER_PASS = 256 * 36 * 36
# A taller image runs in windows of so many rows, each with more rows above and below than any
# architecture looks. Multiples of 32, so that windows are pooled as the whole image is.
_WINDOW_ROWS, _MARGIN_ROWS = 4608, 288
MAX_PIXELS = 2**26  # of one image: 1.8 million rows of 36 columns


class Segmentation(NamedTuple):
    """The result of one model for one patch (Z, A)."""

    probability: NDArray[np.float32]  # NaN at nulls
    mask: NDArray[np.uint8]  # 1 where the probability is above the checkpoint's threshold
    milliseconds: float


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name, "auto" the GPU if there is one; ValueError if it is missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise ValueError(f"unknown device {name!r}; choose auto, cpu or cuda")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: PyTorch finds no such GPU here; choose auto or cpu")
    return device


class Segmenter:
    """Runs checkpoints, which are loaded when first needed. Safe to use from several threads.

    Args:
        checkpoints: safetensors files of `save_checkpoint`, or their addresses on the Hub; the name
            of each is its `checkpoint_name`, by which `paths` and `cards` hold its file and card.
        device: "auto", "cpu" or "cuda".
        precision: "exact" computes in float32: the same results on every machine, except for
            rounding. "fast", for interactive use, computes in bfloat16 where that is native and
            records the forward pass of a single patch (see `ModelRunner`): 99.9% of the pixels
            of its masks are the same.

    Raises CheckpointError for an unusable file or for two files of one name; ValueError if there is
    no checkpoint, no such device or no such precision.
    """

    def __init__(
        self,
        checkpoints: Iterable[str | os.PathLike[str]],
        device: str = "auto",
        precision: Literal["exact", "fast"] = "exact",
    ) -> None:
        if precision not in ("exact", "fast"):
            raise ValueError(f"unknown precision {precision!r}; choose exact or fast")
        self.paths: dict[str, Path] = {}
        for path in map(resolve_checkpoint, checkpoints):
            name = checkpoint_name(path)
            if name in self.paths:
                raise CheckpointError(f"two checkpoints are named {name!r}; rename one")
            self.paths[name] = path
        if not self.paths:
            raise ValueError("no checkpoint given; train one, or take those in checkpoints/")
        self.device = choose_device(device)
        self.cards: dict[str, Card] = {name: read_card(path) for name, path in self.paths.items()}
        self._fast = precision == "fast"
        self._models: dict[str, tuple[Model, ModelRunner]] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, in the order given."""
        return tuple(self.paths)

    def model(self, name: str) -> Model:
        """Return the model `name`, float32; KeyError lists the names."""
        return self._load(name)[0]

    def _load(self, name: str) -> tuple[Model, ModelRunner]:
        """Return a model and what runs it; both are kept."""
        if name not in self.paths:
            raise KeyError(f"no model {name!r}; there are {', '.join(self.names)}")
        with self._lock:
            if name in self._models:
                return self._models[name]
            model = load_checkpoint(self.paths[name]).to(self.device)
            assert model.card
            inputs = model.card.normalisation.channels
            channels = (model.arguments["in_channels"], model.arguments["out_channels"])
            if channels != (inputs, 1):
                raise CheckpointError(
                    f"{self.paths[name].name}: takes {channels[0]} channels and gives "
                    f"{channels[1]}; its normalisation needs {inputs} and 1"
                )
            self.cards[name] = model.card  # the file may have been replaced since it was read
            precision = native_precision(self.device) if self._fast else torch.float32
            self._models[name] = model, ModelRunner(model, precision, record=self._fast)
            return self._models[name]

    @property
    def parameters(self) -> dict[str, int]:
        """The number of trainable values of each model, by name; loads the models."""
        return {name: self.model(name).count_parameters() for name in self.names}

    def preload(self) -> None:
        """Load every model and run it once, so that the first patch is as fast as the next."""
        self.probabilities(np.zeros((36, 36), np.float32), interpret=False)

    def probabilities(
        self,
        images: NDArray[np.generic] | Log,
        names: Sequence[str] | None = None,
        *,
        interpret: bool = True,
    ) -> dict[str, NDArray[np.float32]]:
        """Return the probability of a groove at every pixel, by model; `names` of None are all.

        `images` is a Log, or an array (B, Z, A) or (Z, A) of any real dtype; each probability is
        float32 of the same shape, NaN at nulls. An array is read as a file would be, by
        `measurements.interpret`, which says in the log of the program what it assumed; without
        `interpret` it must be as the image of a Log. Any number of columns is brought to that which
        the model was trained on. Masked values of a masked array are nulls. Raise TypeError for
        values that are no real numbers; ValueError for another number of axes, an empty array, or
        an image above MAX_PIXELS.
        """
        array = images.image if isinstance(images, Log) else images
        if isinstance(array, np.ma.MaskedArray):
            array = np.ma.filled(array.astype(np.float64), np.nan)
        array = np.asarray(array)
        if array.dtype.kind not in "iufb":
            raise TypeError(f"patches are {array.dtype}; they must be real numbers")
        if array.ndim not in (2, 3) or array.size == 0:
            raise ValueError(f"patches have shape {array.shape}; they must be (Z, A) or (B, Z, A)")
        if array.shape[-2] * array.shape[-1] > MAX_PIXELS:
            raise ValueError(
                f"one image of {array.shape[-2:]} pixels is beyond {MAX_PIXELS:,}; cut it along "
                "depth"
            )
        batch = array.reshape(-1, *array.shape[-2:])
        if interpret and not isinstance(images, Log):
            batch = np.stack([_interpret(image) for image in batch])
        inputs = torch.tensor(batch, dtype=torch.float32)
        chosen = self.names if names is None else names
        return {n: self._run(n, inputs).numpy().reshape(array.shape) for n in chosen}

    def segment(
        self,
        patch: NDArray[np.generic] | Log,
        names: Sequence[str] | None = None,
        *,
        interpret: bool = True,
    ) -> dict[str, Segmentation]:
        """Segment one patch (Z, A) with `names`, or with all models, as `probabilities` does."""
        results = {}
        for name in self.names if names is None else names:
            self.model(name)  # loaded before the time is taken
            start = time.perf_counter()
            probability = self.probabilities(patch, [name], interpret=interpret)[name]
            milliseconds = (time.perf_counter() - start) * 1000
            mask = (probability > self.cards[name].threshold).astype(np.uint8)
            results[name] = Segmentation(probability, mask, milliseconds)
        return results

    @torch.inference_mode()
    def _run(self, name: str, images: torch.Tensor) -> torch.Tensor:
        """Return probabilities (B, Z, A) of images (B, Z, A)."""
        (_, runner), card = self._load(name), self.cards[name]
        sets = ColumnSets(images.shape[-1], card.columns)
        result = torch.full_like(images, torch.nan)
        rows = min(images.shape[-2], _WINDOW_ROWS)
        count = max(1, _PIXELS_PER_PASS // (rows * card.columns))  # images of a pass
        for numbers in torch.arange(sets.number).split(max(1, count // len(images))):
            cut = torch.cat([sets.cut(images, number) for number in numbers.tolist()])
            parts = []
            for part in cut.split(count):
                inputs, valid = card.normalisation(part.to(self.device))
                probability = _run_in_windows(runner, inputs).sigmoid()
                parts.append(torch.where(valid, probability, torch.nan).cpu())
            for number, found in zip(
                numbers.tolist(), torch.cat(parts).split(len(images)), strict=True
            ):
                columns, places = sets.find_columns(number)
                result[..., columns] = found[..., places]
        return result


def _run_in_windows(runner: ModelRunner, inputs: torch.Tensor) -> torch.Tensor:
    """Return logits (B, Z, A) of inputs (B, C, Z, A) as if all rows were computed at once."""
    rows = inputs.shape[-2]
    if rows <= _WINDOW_ROWS + 2 * _MARGIN_ROWS:
        return runner(inputs)[:, 0]
    parts = []
    for top in range(0, rows, _WINDOW_ROWS):
        first, last = max(0, top - _MARGIN_ROWS), min(rows, top + _WINDOW_ROWS + _MARGIN_ROWS)
        logits = runner(inputs[..., first:last, :])[:, 0]
        parts.append(logits[..., top - first : top - first + _WINDOW_ROWS, :])
    return torch.cat(parts, -2)


def _interpret(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Interpret an array (Z, A), and say what was assumed if that changed it."""
    try:
        log = interpret(image)
    except AllNullError:
        return np.full(image.shape, np.nan, np.float32)
    if not np.array_equal(log.image, image, equal_nan=True):
        for note in log.notes:
            _logger.warning("%s", note)
    return log.image

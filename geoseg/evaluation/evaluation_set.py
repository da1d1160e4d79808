"""What models are evaluated on: labelled patches of a data set, or a log with its label.

B images as a model sees them, N patches as they are scored, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.dataset import PatchDataset
from geoseg.masks import UNKNOWN_LABEL, explain_misfit, read_noted_mask
from geoseg.measurements import DEFAULT, MeasurementOptions, read_npy_log
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.twins import is_twin_log, split_twins

PATCH_ROWS = 36  # rows of a log that are scored as one patch, as in the data set
_BATCH = 256


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Images, their labels, and the pixels that count.

    Attributes:
        images: float32 (B, Z, A), NaN at nulls: patches, one log, or its two twins.
        labels: bool (B, Z, A), True in a groove; False where nothing counts.
        valid: bool (B, Z, A), False at nulls and where the label is unknown.
        names: of the N patches: well_K_patch_I, or the log and the row.
        wells: the well of each patch.
        description: what the set is, in words.
        notes: what was assumed of the files, in sentences.
        is_log: whether an image is a log, which is scored in patches of 36 rows.
    """

    images: Tensor
    labels: Tensor
    valid: Tensor
    names: tuple[str, ...]
    wells: tuple[str, ...]
    description: str
    notes: tuple[str, ...] = ()
    is_log: bool = False

    @classmethod
    def from_dataset(cls, dataset: PatchDataset, description: str = "") -> EvaluationSet:
        """Return the patches of a labelled data set."""
        valid = ~dataset.images.isnan()
        wells = tuple(map(str, dataset.wells.tolist()))
        labels = (dataset.masks == 1) & valid
        names = tuple(Path(name).stem for name in dataset.names)
        return cls(dataset.images, labels, valid, names, wells, description, dataset.notes)

    @classmethod
    def from_log(
        cls, image_path: Path, label_path: Path, options: MeasurementOptions = DEFAULT
    ) -> EvaluationSet:
        """Read a log (Z, A) and its label of the same shape, 255 where that is unknown.

        A log of 72 columns becomes its two twins. Raise ValueError if the shapes differ.
        """
        log = read_npy_log(image_path, options)
        mask = read_noted_mask(label_path, unknown=True)
        if misfit := explain_misfit(mask.pixels.shape, log.image.shape):
            raise ValueError(f"{label_path.name} {misfit}; both must be (depth, azimuth).")
        split = is_twin_log(log.image)
        images, labels = (
            torch.from_numpy(split_twins(x) if split else x[None]) for x in (log.image, mask.pixels)
        )
        valid = ~images.isnan() & (labels != UNKNOWN_LABEL)
        sides = ("even columns, ", "odd columns, ") if split else ("",)
        rows, columns = log.image.shape
        starts = range(0, rows, PATCH_ROWS)
        names = tuple(f"{image_path.name}, {side}row {z:,}" for side in sides for z in starts)
        suffix = " as twins of 36" if split else ""
        description = f"{image_path.name}, {rows:,} rows of {columns} columns{suffix}"
        wells = (image_path.stem,) * len(names)
        notes = (*log.notes, *(f"{label_path.name}: {note}" for note in mask.notes))
        known = (labels == 1) & valid
        return cls(images, known, valid, names, wells, description, notes, is_log=True)

    def cut_patches(self, images: Tensor) -> Tensor:
        """Cut images (B, Z, A) of any dtype into the N patches that are scored.

        The last patch of a log is padded with zeros, which are not valid.
        """
        if not self.is_log:
            return images
        rows, columns = images.shape[-2:]
        return F.pad(images, (0, 0, 0, -rows % PATCH_ROWS)).reshape(-1, PATCH_ROWS, columns)

    def predict(
        self, segmenter: Segmenter, name: str, transform: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return one model's probabilities of the images, NaN at nulls: float32 (B, Z, A).

        `transform` is applied to the images first, such as a roll or noise. Progress is shown only
        without it; the caller shows the progress over many transforms.
        """
        images = self.images if transform is None else transform(self.images)
        batches: Iterable[Tensor] = images.split(_BATCH)
        if transform is None:
            batches = track_progress(images.split(_BATCH), f"{name} on {len(self.names):,} patches")
        parts = [
            segmenter.probabilities(batch.numpy(), [name], interpret=False)[name]
            for batch in batches
        ]
        return torch.from_numpy(np.concatenate(parts))

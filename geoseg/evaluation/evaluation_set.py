"""What an evaluation is about: labelled patches of a data set, or a whole log with its truth.

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
from geoseg.patches import UNKNOWN_LABEL, read_mask, read_patch
from geoseg.progress import track_progress
from geoseg.segmenter import Segmenter
from geoseg.twins import TWIN_COLUMNS, split_twins

SLICE = 36  # rows of a log that are scored as one patch, as the data set cuts its own
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Images, what is true of them, and where it counts.

    Attributes:
        images: float32 (B, Z, A), NaN at nulls: patches, or one log, or its two twins.
        truth: bool (B, Z, A), a groove; False where nothing counts.
        known: bool (B, Z, A), False at nulls and where the truth is unknown.
        names: what each of the N patches is called: well_K_patch_I, or the log and the row.
        wells: which well each of them is of.
        about: what it is, in words.
        is_log: whether an image is a log, which is scored in slices of 36 rows.
    """

    images: Tensor
    truth: Tensor
    known: Tensor
    names: tuple[str, ...]
    wells: tuple[str, ...]
    about: str
    is_log: bool = False

    @classmethod
    def of_patches(cls, dataset: PatchDataset, about: str = "") -> EvaluationSet:
        """The patches of a labelled set."""
        known = ~dataset.images.isnan()
        wells = tuple(map(str, dataset.wells.tolist()))
        truth = (dataset.masks == 1) & known
        names = tuple(Path(name).stem for name in dataset.names)
        return cls(dataset.images, truth, known, names, wells, about)

    @classmethod
    def of_log(cls, image: Path, truth: Path, twins: bool) -> EvaluationSet:
        """A log (Z, A) and its truth of the same shape, 255 where that is unknown."""
        log, mask = read_patch(image), read_mask(truth, unknown=True)
        if log.shape != mask.shape:
            raise ValueError(
                f"{image.name} has the shape {log.shape} and {truth.name} {mask.shape}; both must "
                "be the same (depth, azimuth)"
            )
        apart = twins and log.shape[1] == TWIN_COLUMNS
        images, masks = (split_twins(x) if apart else x[None] for x in (log, mask))
        values, labels = torch.from_numpy(images), torch.from_numpy(masks)
        known = ~values.isnan() & (labels != UNKNOWN_LABEL)
        if not known.any():
            raise ValueError(f"{truth.name} is known nowhere in {image.name}; there is no score")
        sides = ("even columns, ", "odd columns, ") if apart else ("",)
        starts = range(0, len(log), SLICE)
        names = tuple(f"{image.name}, {side}row {z:,}" for side in sides for z in starts)
        how = " as twins of 36" if apart else ""
        about = f"{image.name}, {len(log):,} rows of {log.shape[1]} columns{how}"
        wells = (image.stem,) * len(names)
        return cls(values, (labels == 1) & known, known, names, wells, about, is_log=True)

    def patches(self, images: Tensor) -> Tensor:
        """Cut images (B, Z, A) of any dtype into the N patches that are scored.

        A log's last slice is filled up with zeros, which are known nowhere.
        """
        if not self.is_log:
            return images
        rows, columns = images.shape[-2:]
        return F.pad(images, (0, 0, 0, -rows % SLICE)).reshape(-1, SLICE, columns)

    def probability(
        self, segmenter: Segmenter, name: str, change: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """What one model says of the images, NaN where nothing counts: float32 (B, Z, A).

        `change` is done to the images first, such as a roll or noise; then no progress is shown,
        which is up to whoever makes many changes.
        """
        images = self.images if change is None else change(self.images)
        parts: Iterable[Tensor] = images.split(_AT_ONCE)
        if change is None:
            parts = track_progress(images.split(_AT_ONCE), f"{name} on {len(self.names):,} patches")
        answers = [segmenter.probabilities(part.numpy(), [name])[name] for part in parts]
        return torch.from_numpy(np.concatenate(answers))

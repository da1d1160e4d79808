"""A few validation patches whose masks Weights & Biases shows while a model learns.

N patches, Z depth, A azimuth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.dataset import PatchDataset
from geoseg.pictures import Colours, grey
from train.loop import Trainer
from train.sampling import IGNORED, PreparedSet

MAX_SAMPLES = 8
_SCALE = 6  # screen pixels per pixel
CLASSES = {0: "background", 1: "groove", IGNORED: "null"}
Mask = NDArray[np.uint8]


class PredictionSamples:
    """Patches with a groove, spread over the wells; the same ones in every run on a data set.

    Args:
        dataset: the validation set.
        prepared: the same set, as the trainer has it.
    """

    def __init__(self, dataset: PatchDataset, prepared: PreparedSet) -> None:
        with_groove = (dataset.masks.flatten(1).any(1)).nonzero().flatten()
        candidates = with_groove if len(with_groove) else torch.arange(len(dataset))
        count = min(MAX_SAMPLES, len(candidates))
        indices = candidates[torch.linspace(0, len(candidates) - 1, count).long()].tolist()
        self.names = [dataset.names[i] for i in indices]
        self._prepared = PreparedSet(prepared.pairs[indices], prepared.wells[indices], self.names)
        self._pictures: list[Colours] = [grey(dataset.images[i].numpy()) for i in indices]
        # Numbers of CLASSES, uint8 (Z, A).
        self._labels = list(self._prepared.labels[:, 0].byte().cpu().numpy())

    def segment(self, trainer: Trainer) -> list[Mask]:
        """Return the model's masks, uint8 (Z, A), of the numbers in CLASSES.

        Every process of the group must call this.
        """
        masks = (trainer.predict(self._prepared)[:, 0] > 0).byte().cpu().numpy()
        return [np.where(t == IGNORED, t, m) for t, m in zip(self._labels, masks, strict=True)]

    def make_images(self, masks: Sequence[Mask], image_class: Callable[..., Any]) -> list[Any]:
        """Make a `wandb.Image` (`image_class`) of each picture, overlaid with label and mask."""

        def enlarge(pixels: Mask) -> Mask:
            return pixels.repeat(_SCALE, 0).repeat(_SCALE, 1)

        images = []
        for name, picture, label, mask in zip(
            self.names, self._pictures, self._labels, masks, strict=True
        ):
            layers = {
                kind: {"mask_data": enlarge(numbers), "class_labels": CLASSES}
                for kind, numbers in (("prediction", mask), ("ground_truth", label))
            }
            images.append(image_class(enlarge(picture), caption=name, masks=layers))
        return images

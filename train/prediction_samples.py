"""A few validation patches whose masks are watched while a model learns.

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

COUNT = 8
_SCALE = 6  # screen pixels a pixel
CLASSES = {0: "background", 1: "groove", IGNORED: "null"}
Mask = NDArray[np.uint8]


class PredictionSamples:
    """The same patches for every run on a set: some with a groove, spread over its wells.

    Args:
        dataset: the validation set.
        prepared: the same set, as the trainer has it.

    Attributes:
        names: of the patches.
        pictures: each in grey, (Z, A, 3).
        truths: each with the numbers of CLASSES, uint8 (Z, A).
    """

    def __init__(self, dataset: PatchDataset, prepared: PreparedSet) -> None:
        grooves = (dataset.masks.flatten(1).any(1)).nonzero().flatten()
        among = grooves if len(grooves) else torch.arange(len(dataset))
        places = torch.linspace(0, len(among) - 1, min(COUNT, len(among))).long()
        chosen = among[places].tolist()
        self.names = [dataset.names[i] for i in chosen]
        self._prepared = PreparedSet(prepared.pairs[chosen], prepared.wells[chosen], self.names)
        self.pictures: list[Colours] = [grey(dataset.images[i].numpy()) for i in chosen]
        self.truths = list(self._prepared.truth[:, 0].byte().cpu().numpy())

    def segment(self, trainer: Trainer) -> list[Mask]:
        """What the model makes of each as it is now, (Z, A), numbered like `truths`.

        To be asked in every process that shares the work.
        """
        masks = (trainer.predict(self._prepared)[:, 0] > 0).byte().cpu().numpy()
        return [np.where(t == IGNORED, t, m) for t, m in zip(self.truths, masks, strict=True)]

    def images(self, masks: Sequence[Mask], make: Callable[..., Any]) -> list[Any]:
        """The pictures, with labels and `masks` (Z, A) to lay over them; `make` is wandb.Image."""

        def enlarge(pixels: Mask) -> Mask:
            return pixels.repeat(_SCALE, 0).repeat(_SCALE, 1)

        return [
            make(
                enlarge(picture),
                caption=name,
                masks={
                    kind: {"mask_data": enlarge(numbers), "class_labels": CLASSES}
                    for kind, numbers in (("prediction", mask), ("ground_truth", truth))
                },
            )
            for name, picture, truth, mask in zip(
                self.names, self.pictures, self.truths, masks, strict=True
            )
        ]

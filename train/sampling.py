"""The training patches of each step, as pure functions of (seed, epoch, index).

N patches of a set, B batch, C input channels, Z depth, A azimuth. An image and its label are
channels of one tensor, so that one gather augments both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geoseg.dataset import PatchDataset
from geoseg.normalisation import Normalisation
from geoseg.transforms import Views, apply_views, cycle_views, draw_views
from train.experiments import Experiment

# The label of a null pixel. It is neither 0 nor 1, so no loss and no metric counts it.
IGNORED = 255


class PreparedSet(NamedTuple):
    """A data set standardised once, on the training device.

    `pairs` (N, C + 1, Z, A) float32 holds C input channels, then the labels 0, 1 and IGNORED;
    `wells` is (N,) int64; `names` are for messages.
    """

    pairs: Tensor
    wells: Tensor
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def inputs(self) -> Tensor:
        """(N, C, Z, A), a view of `pairs`."""
        return self.pairs[:, :-1]

    @property
    def labels(self) -> Tensor:
        """(N, 1, Z, A), a view of `pairs`."""
        return self.pairs[:, -1:]

    def count_valid_pixels(self) -> Tensor:
        """Count the pixels of each patch that are not null, (N,) int64."""
        return (self.labels != IGNORED).flatten(1).sum(1)


def prepare(
    dataset: PatchDataset, normalisation: Normalisation, device: torch.device
) -> PreparedSet:
    """Standardise a labelled data set and move it to `device`."""
    inputs, valid = normalisation(dataset.images)
    labels = torch.where(valid, dataset.masks, IGNORED)[:, None]
    pairs = torch.cat((inputs, labels), 1).to(device)
    return PreparedSet(pairs, dataset.wells.to(device), dataset.names)


def make_generator(*key: int) -> torch.Generator:
    """Return a generator seeded with `key`; it is on the CPU, so that all devices draw the same."""
    # torch takes 32 bits of a seed: SeedSequence mixes the whole key into them.
    (seed,) = np.random.SeedSequence(key).generate_state(1)
    return torch.Generator().manual_seed(int(seed))


class EpochPlan:
    """The order and the augmentations of one epoch, drawn before it starts.

    Args:
        experiment: gives the batch size and the augmentations.
        patches: the training set.
        seed, epoch: determine every draw, together with the index of a patch; epochs count from 1.

    Attributes:
        batches: the patch indices (B,) of each step; every patch occurs once.
    """

    def __init__(self, experiment: Experiment, patches: PreparedSet, seed: int, epoch: int) -> None:
        self._pairs, self._noise, self._key = patches.pairs, experiment.noise, (seed, epoch)
        count, device = len(patches), patches.pairs.device
        order = torch.randperm(count, generator=make_generator(seed, epoch, 0))
        self.batches = order.to(device).split(experiment.batch)
        columns = self._pairs.shape[-1]
        augmentations = {"roll": experiment.roll, "flip": experiment.flip}
        if experiment.cycle:
            generator = make_generator(seed)
            views = cycle_views(count, columns, epoch, generator=generator, **augmentations)
        else:
            generator = make_generator(seed, epoch, 1)
            views = draw_views(count, columns, generator=generator, **augmentations)
        self._views = Views(*(v.to(device) for v in views))

    def make_batch(self, step: int) -> Tensor:
        """Return the augmented patches of `step` (from 0) with their labels, (B, C + 1, Z, A)."""
        indices = self.batches[step]
        pairs = apply_views(self._pairs, Views(*(v[indices] for v in self._views)), indices)
        if self._noise:
            generator = make_generator(*self._key, 2, step)
            noise = torch.randn(pairs[:, :1].shape, generator=generator)
            pairs[:, :1] += self._noise * noise.to(pairs)
        return pairs

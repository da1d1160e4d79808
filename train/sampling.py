"""Which patches a step sees, and how: pure functions of (seed, epoch, index).

N patches of a set, B batch, Z depth, A azimuth. An image and its truth are channels of one
tensor, so that one gather turns both.
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

# What a null is in a truth: neither 0 nor 1, so neither loss nor metric counts it.
IGNORED = 255


class PreparedSet(NamedTuple):
    """A set as the loop wants it: standardised once and on the device.

    `pairs` (N, C + 1, Z, A) float32: C channels of input, and the truth as 0, 1 and VOID; `wells`
    (N,) int64; `names` for messages.
    """

    pairs: Tensor
    wells: Tensor
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def inputs(self) -> Tensor:
        """(N, C, Z, A), a view."""
        return self.pairs[:, :-1]

    @property
    def truth(self) -> Tensor:
        """(N, 1, Z, A), a view."""
        return self.pairs[:, -1:]

    def count_pixels(self) -> Tensor:
        """How many pixels of each patch were measured, (N,) int64."""
        return (self.truth != IGNORED).flatten(1).sum(1)


def prepare(
    dataset: PatchDataset, normalisation: Normalisation, device: torch.device
) -> PreparedSet:
    """Standardise a labelled set and move it to `device`."""
    inputs, valid = normalisation(dataset.images)
    truth = torch.where(valid, dataset.masks, IGNORED)[:, None]
    pairs = torch.cat((inputs, truth), 1).to(device)
    return PreparedSet(pairs, dataset.wells.to(device), dataset.names)


def seeded(*key: int) -> torch.Generator:
    """A generator on the CPU, so that every device sees the same, for a key of whole numbers."""
    # torch takes 32 bits of a seed: SeedSequence mixes all of the key into them.
    (seed,) = np.random.SeedSequence(key).generate_state(1)
    return torch.Generator().manual_seed(int(seed))


class Plan:
    """An epoch before it runs.

    Args:
        experiment: says the size of a batch and how patches are looked at.
        patches: the training set.
        seed, epoch: with the index of a patch, they say all there is to know; epochs from 1.

    Attributes:
        batches: the indices (B,) of each step, together every one of the set once.
    """

    def __init__(self, experiment: Experiment, patches: PreparedSet, seed: int, epoch: int) -> None:
        self._pairs, self._noise, self._key = patches.pairs, experiment.noise, (seed, epoch)
        count, device = len(patches), patches.pairs.device
        order = torch.randperm(count, generator=seeded(seed, epoch, 0))
        self.batches = order.to(device).split(experiment.batch)
        columns, asked = self._pairs.shape[-1], {"roll": experiment.roll, "flip": experiment.flip}
        views = (
            cycle_views(count, columns, epoch, generator=seeded(seed), **asked)
            if experiment.cycle
            else draw_views(count, columns, generator=seeded(seed, epoch, 1), **asked)
        )
        self._views = Views(*(v.to(device) for v in views))

    def batch(self, step: int) -> Tensor:
        """The patches of a step (from 0) with their truths (B, C + 1, Z, A), turned and noised."""
        chosen = self.batches[step]
        pair = apply_views(self._pairs, Views(*(v[chosen] for v in self._views)), chosen)
        if self._noise:
            generator = seeded(*self._key, 2, step)
            noise = torch.randn(pair[:, :1].shape, generator=generator)
            pair[:, :1] += self._noise * noise.to(pair)
        return pair

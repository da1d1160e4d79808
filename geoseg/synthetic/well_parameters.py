"""The parameters of a synthetic well, sampled once per well.

The ranges were measured on real logs (wall thickness minus its row average, inches). One "column"
is 10 degrees of azimuth, whatever the number of columns of the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geoseg.synthetic.random import RandomStream

HARMONICS = 18  # number of cycles round the pipe in the Fourier series of the wall


@dataclass(frozen=True)
class WellParameters:
    """One value per well: tensors (W,), but `spectrum` (W, HARMONICS) and `occupancy` (W, 3)."""

    joint_rows: Tensor  # rows between collars
    spectrum: Tensor  # inches, amplitude of 1, 2, ... cycles round; the first is eccentricity
    joint_variation: Tensor  # std of the fast texture's log amplitude from joint to joint
    coherence: Tensor  # share of the wall's power that changes slowly with depth
    slow_rows: Tensor  # rows over which that share changes
    fast_rows: Tensor  # rows over which the rest, the fast texture, changes
    twist: Tensor  # columns per 100 rows by which the fast texture drifts
    eccentricity_drift: Tensor  # columns per 100 rows by which the eccentricity drifts
    ripple: Tensor  # inches, change of the first cycle from row to row; cycle k gets 1/k of it
    lattice: Tensor  # inches, amplitude of the helical lattice
    lattice_cycles: Tensor  # its cycles round the pipe, 1 or 4
    lattice_rows: Tensor  # rows per period, signed: negative for the other handedness
    lattice_share: Tensor  # share of joints that have the lattice
    noise: Tensor  # inches, standard deviation of white noise
    patchiness: Tensor  # std of the noise's log amplitude round the pipe; spikes follow it
    spikes: Tensor  # share of pixels where a spike begins
    spike_sign: Tensor  # above 0: mostly bright, below: mostly dark
    spike_width: Tensor  # columns, the widest spike
    collar: Tensor  # rows, thickness of a collar
    collar_height: Tensor  # inches
    collar_order: Tensor  # 1: a checkerboard of single columns, 0: random signs
    strays: Tensor  # share of rows between collars that look like a row of a collar
    nulls: Tensor  # share of rows in runs of nulls
    bands: Tensor  # share of rows with a broad band; pits and streaks are scaled from it
    occupancy: Tensor  # share of rows with a groove on each of three tracks
    contrast: Tensor  # inches, median depth of a groove
    width: Tensor  # columns, median width of a groove
    drift: Tensor  # columns per 100 rows, typical drift of a groove
    longest: Tensor  # rows, the longest groove
    fade: Tensor  # variation of a groove's depth along the groove, relative
    wear_variation: Tensor  # std of a groove's log depth from joint to joint
    echo_loss: Tensor  # share of pixels on a steep flank that lose the echo and become spikes
    stuck: Tensor  # share of rows at which the tool stands still

    @property
    def min_contrast(self) -> Tensor:
        """Return the smallest contrast (inches, (W,)) that annotators label in this well.

        It must exceed the texture, and annotators skip faint grooves where grooves are deep.
        """
        texture = self.spectrum[:, 4:].square().sum(1) / 2 * 0.5
        power = texture + self.lattice.square() / 3 + self.noise.square() / 4
        return (1.6 * power.sqrt()).clamp(min=0.008).maximum(0.3 * self.contrast)


def sample_well_parameters(random: RandomStream, wells: int) -> WellParameters:
    """Sample the parameters of `wells` wells."""

    def choose(*values: float) -> Tensor:
        table = torch.tensor(values, device=random.device)
        return table[(random.rand(wells) * len(values)).long()]

    lattice_cycles = choose(1.0, 4.0, 4.0)
    noisy = random.bernoulli(0.15, wells)
    contrast = random.log_uniform(0.015, 0.085, wells)
    return WellParameters(
        joint_rows=choose(80.0, 165.0, 165.0, 345.0) * random.uniform(0.93, 1.07, wells),
        spectrum=_sample_spectrum(random, wells),
        joint_variation=random.uniform(0, 0.4, wells),
        coherence=random.uniform(0.5, 0.97, wells),
        slow_rows=random.log_uniform(80, 600, wells),
        fast_rows=random.log_uniform(6, 40, wells),
        twist=random.normal(wells) * 8,
        eccentricity_drift=random.normal(wells) * 18,
        ripple=random.log_uniform(0.0002, 0.005, wells),
        lattice=random.log_uniform(0.003, 0.013, wells),
        lattice_cycles=lattice_cycles,
        lattice_rows=random.log_uniform(9, 32, wells) * choose(-1.0, 1.0),
        lattice_share=random.uniform(0.5, 1.0, wells) * choose(0.0, 1.0),
        noise=random.log_uniform(0.0008, 0.0044, wells),
        patchiness=torch.where(noisy, random.uniform(0.3, 0.7, wells), random.rand(wells) * 0.25),
        spikes=torch.where(
            noisy, random.log_uniform(2e-3, 2e-2, wells), random.log_uniform(3e-6, 8e-4, wells)
        ),
        spike_sign=random.normal(wells),
        spike_width=torch.where(noisy, 1.0, choose(1.0, 4.0)),
        collar=random.uniform(2, 11, wells),
        collar_height=random.log_uniform(0.06, 0.2, wells),
        collar_order=random.rand(wells),
        strays=random.log_uniform(1e-5, 0.01, wells),
        nulls=torch.where(
            random.bernoulli(0.12, wells),
            random.log_uniform(0.01, 0.2, wells),
            random.log_uniform(1e-6, 4e-3, wells),
        ),
        bands=random.uniform(0.02, 0.4, wells),
        occupancy=_sample_occupancy(random, wells),
        contrast=contrast,
        # Deep grooves are wide: from 2 to 3.6 columns at 0.026 to 0.06 inch in real wells.
        width=(2.6 * (contrast / 0.035).sqrt() * (0.3 * random.normal(wells)).exp()).clamp(
            1.6, 5.2
        ),
        drift=random.log_uniform(0.1, 6, wells),
        longest=random.log_uniform(800, 12000, wells),
        fade=random.uniform(0.15, 0.5, wells),
        wear_variation=random.uniform(0.1, 0.6, wells),
        echo_loss=random.log_uniform(1e-3, 0.1, wells) * choose(0.0, 1.0),
        stuck=random.log_uniform(1e-3, 0.03, wells) * choose(1e-3, 1e-3, 1.0),
    )


def override_parameters(
    parameters: WellParameters, fixed: Mapping[str, float | Sequence[float]]
) -> WellParameters:
    """Replace fields, by name, with the same value for all wells.

    `spectrum` and `occupancy` take one value for all their columns, or one each, where NaN keeps
    the sampled value. The random stream is not touched, so that a pipe of the same seed changes
    only in what the field controls. Raise ValueError for a name that is not a field.
    """
    unknown = fixed.keys() - vars(parameters).keys()
    if unknown:
        raise ValueError(
            f"WellParameters has no {', '.join(sorted(unknown))}; its fields are "
            f"{', '.join(vars(parameters))}"
        )
    values = {}
    for name, value in fixed.items():
        sampled = getattr(parameters, name)
        given = torch.as_tensor(value, dtype=sampled.dtype, device=sampled.device)
        given = given.expand_as(sampled)
        values[name] = torch.where(given.isnan(), sampled, given)
    return replace(parameters, **values)


def _sample_spectrum(random: RandomStream, wells: int) -> Tensor:
    cycles = torch.arange(1, HARMONICS + 1, device=random.device)
    steepness = random.uniform(0.7, 1.5, wells, 1)
    texture = random.log_uniform(0.0014, 0.0045, wells, 1) * (4 / cycles) ** steepness
    texture = texture * (0.3 * random.normal(wells, HARMONICS)).exp()
    texture = texture.hypot(random.log_uniform(0.0001, 0.0014, wells, 1))  # unequal sensors
    ranges = ((0.008, 0.02), (0.002, 0.009), (0.002, 0.008))
    low = torch.stack([random.log_uniform(*limits, wells) for limits in ranges], 1)
    return torch.cat((low, texture[:, 3:]), 1)


def _sample_occupancy(random: RandomStream, wells: int) -> Tensor:
    """Give most wells one groove nearly everywhere, some a broken one, a few almost none."""
    kind = random.rand(wells)
    first = torch.where(
        kind < 0.84,
        random.uniform(0.88, 0.995, wells),
        torch.where(
            kind < 0.95, random.uniform(0.3, 0.88, wells), random.uniform(0.01, 0.06, wells)
        ),
    )
    others = random.uniform(0, 0.6, wells, 2) * random.rand(wells, 2) * first[:, None]
    return torch.cat((first[:, None], others.clamp(min=0.004)), 1)

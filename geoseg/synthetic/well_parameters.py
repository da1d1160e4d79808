"""What makes a well itself: the table of the generator's physics, drawn once a well.

Ranges were measured on real logs (wall thickness minus its row average, inches). One "column"
is 10 degrees of azimuth, whatever the number of columns of the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geoseg.synthetic.random import RandomStream

HARMONICS = 18  # cycles round the pipe that the wall's Fourier series holds


@dataclass(frozen=True)
class WellParameters:
    """One value a well: tensors (W,), but `spectrum` (W, HARMONICS) and `occupancy` (W, 3)."""

    joint: Tensor  # rows between collars
    spectrum: Tensor  # inches, amplitude of 1, 2, ... cycles round; the first is eccentricity
    moods: Tensor  # how differently loud the wall's quick part is from joint to joint, natural log
    coherence: Tensor  # share of the wall's power that changes slowly with depth
    slow: Tensor  # rows over which that share changes
    quick: Tensor  # rows over which the rest changes
    twist: Tensor  # columns per 100 rows by which the quick part leans
    turn: Tensor  # columns per 100 rows by which the eccentricity turns
    ripple: Tensor  # inches, change of the first cycle from row to row; of cycle k a k-th of it
    lattice: Tensor  # inches, amplitude of the helical lattice
    lattice_cycles: Tensor  # its cycles round, 1 or 4
    lattice_rows: Tensor  # rows a period, signed: the helix may be left-handed
    lattice_share: Tensor  # share of joints that carry it
    noise: Tensor  # inches, standard deviation of white noise
    patchiness: Tensor  # how unevenly noise and spikes spread round the pipe, natural log
    spikes: Tensor  # share of pixels where a spike begins
    spike_sign: Tensor  # above 0: mostly bright, below: mostly dark
    smear: Tensor  # columns, the widest spike
    collar: Tensor  # rows a collar is thick
    collar_height: Tensor  # inches
    collar_order: Tensor  # 1 a checkerboard of single columns, 0 random
    strays: Tensor  # share of rows between collars that look like a collar's
    nulls: Tensor  # share of rows in null runs
    bands: Tensor  # share of rows with a broad band, and with a pit or a bright patch
    occupancy: Tensor  # share of rows with a groove on each of three tracks
    contrast: Tensor  # inches, median depth of a groove
    width: Tensor  # columns, median width of a groove
    drift: Tensor  # columns per 100 rows, typical
    longest: Tensor  # rows, the longest groove
    fade: Tensor  # how deeply a groove's depth varies along it
    uneven: Tensor  # how differently deep a groove is from joint to joint, natural log
    echo: Tensor  # share of pixels on a steep flank that lose the echo: spikes
    stuck: Tensor  # share of rows at which the tool stands still

    @property
    def visible(self) -> Tensor:
        """The least contrast (inches, (W,)) that annotators call a groove in this well.

        It must stand out of the texture, and where grooves are deep, faint ones are passed over.
        """
        texture = self.spectrum[:, 4:].square().sum(1) / 2 * 0.5
        power = texture + self.lattice.square() / 3 + self.noise.square() / 4
        return (1.6 * power.sqrt()).clamp(min=0.008).maximum(0.3 * self.contrast)


def _spectrum(draw: RandomStream, wells: int) -> Tensor:
    cycles = torch.arange(1, HARMONICS + 1, device=draw.device)
    steepness = draw.uniform(0.7, 1.5, wells, 1)
    texture = draw.log_uniform(0.0014, 0.0045, wells, 1) * (4 / cycles) ** steepness
    texture = texture * (0.3 * draw.normal(wells, HARMONICS)).exp()
    texture = texture.hypot(draw.log_uniform(0.0001, 0.0014, wells, 1))  # unequal sensors
    low = [
        draw.log_uniform(a, b, wells) for a, b in ((0.008, 0.02), (0.002, 0.009), (0.002, 0.008))
    ]
    return torch.cat((torch.stack(low, 1), texture[:, 3:]), 1)


def _occupancy(draw: RandomStream, wells: int) -> Tensor:
    """Most wells have one groove nearly everywhere, some are broken, a few have almost none."""
    kind = draw.unit(wells)
    most, some, few = ((a, b) for a, b in ((0.88, 0.995), (0.3, 0.88), (0.01, 0.06)))
    first = torch.where(
        kind < 0.84,
        draw.uniform(*most, wells),
        torch.where(kind < 0.95, draw.uniform(*some, wells), draw.uniform(*few, wells)),
    )
    others = draw.uniform(0, 0.6, wells, 2) * draw.unit(wells, 2) * first[:, None]
    return torch.cat((first[:, None], others.clamp(min=0.004)), 1)


def sample_well_parameters(draw: RandomStream, wells: int) -> WellParameters:
    """Draw the character of `wells` wells."""

    def choice(*values: float) -> Tensor:
        table = torch.tensor(values, device=draw.device)
        return table[(draw.unit(wells) * len(values)).long()]

    helical = choice(1.0, 4.0, 4.0)
    speckled = draw.chance(0.15, wells)
    contrast = draw.log_uniform(0.015, 0.085, wells)
    return WellParameters(
        joint=choice(80.0, 165.0, 165.0, 345.0) * draw.uniform(0.93, 1.07, wells),
        spectrum=_spectrum(draw, wells),
        moods=draw.uniform(0, 0.4, wells),
        coherence=draw.uniform(0.5, 0.97, wells),
        slow=draw.log_uniform(80, 600, wells),
        quick=draw.log_uniform(6, 40, wells),
        twist=draw.normal(wells) * 8,
        turn=draw.normal(wells) * 18,
        ripple=draw.log_uniform(0.0002, 0.005, wells),
        lattice=draw.log_uniform(0.003, 0.013, wells),
        lattice_cycles=helical,
        lattice_rows=draw.log_uniform(9, 32, wells) * choice(-1.0, 1.0),
        lattice_share=draw.uniform(0.5, 1.0, wells) * choice(0.0, 1.0),
        noise=draw.log_uniform(0.0008, 0.0044, wells),
        patchiness=torch.where(speckled, draw.uniform(0.3, 0.7, wells), draw.unit(wells) * 0.25),
        spikes=torch.where(
            speckled, draw.log_uniform(2e-3, 2e-2, wells), draw.log_uniform(3e-6, 8e-4, wells)
        ),
        spike_sign=draw.normal(wells),
        smear=torch.where(speckled, 1.0, choice(1.0, 4.0)),
        collar=draw.uniform(2, 11, wells),
        collar_height=draw.log_uniform(0.06, 0.2, wells),
        collar_order=draw.unit(wells),
        strays=draw.log_uniform(1e-5, 0.01, wells),
        nulls=torch.where(
            draw.chance(0.12, wells),
            draw.log_uniform(0.01, 0.2, wells),
            draw.log_uniform(1e-6, 4e-3, wells),
        ),
        bands=draw.uniform(0.02, 0.4, wells),
        occupancy=_occupancy(draw, wells),
        contrast=contrast,
        # Deep grooves are wide ones: from 2 to 3.6 columns at 0.026 to 0.06 inch in real wells.
        width=(2.6 * (contrast / 0.035).sqrt() * (0.3 * draw.normal(wells)).exp()).clamp(1.6, 5.2),
        drift=draw.log_uniform(0.1, 6, wells),
        longest=draw.log_uniform(800, 12000, wells),
        fade=draw.uniform(0.15, 0.5, wells),
        uneven=draw.uniform(0.1, 0.6, wells),
        echo=draw.log_uniform(1e-3, 0.1, wells) * choice(0.0, 1.0),
        stuck=draw.log_uniform(1e-3, 0.03, wells) * choice(1e-3, 1e-3, 1.0),
    )


def override_parameters(
    character: WellParameters, fixed: Mapping[str, float | Sequence[float]]
) -> WellParameters:
    """The wells with the same value of some fields, by name, instead of their own.

    `spectrum` and `occupancy` take one value for all their columns, or one each, of which NaN
    leaves what was drawn. All else is drawn as before, so a pipe of the same seed stays the same in
    everything that the field does not shape. ValueError for a name that is no field.
    """
    unknown = fixed.keys() - vars(character).keys()
    if unknown:
        raise ValueError(f"a well's character has no {', '.join(sorted(unknown))}")
    values = {}
    for name, value in fixed.items():
        own = getattr(character, name)
        given = torch.as_tensor(value, dtype=own.dtype, device=own.device).expand_as(own)
        values[name] = torch.where(given.isnan(), own, given)
    return replace(character, **values)

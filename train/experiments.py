"""Every experiment, by number and by name: the original project's, and a fast one a family.

Rows derive from each other, so that each says only what makes it different.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from geoseg.models import Model, create_model
from geoseg.normalisation import Normalisation


@dataclass(frozen=True)
class Plateau:
    """Multiply the learning rate by `factor` after more than `patience` epochs without progress.

    Progress is a better loss on the validation set; torch's `ReduceLROnPlateau`, as it comes.
    """

    factor: float
    patience: int


@dataclass(frozen=True)
class Linear:
    """Raise the learning rate over the first share `warmup` of all steps, then lower it to zero."""

    warmup: float


@dataclass(frozen=True)
class Experiment:
    """One recipe: an architecture and how to train it.

    Attributes:
        id, name: both unique; a run's folder and its checkpoint are called `<id>-<name>`.
        architecture, arguments: for `geoseg.create_model`.
        epochs: passes over the training set.
        batch, batch_validation: patches a step; the latter is `batch` unless the original differs.
        learning_rate: of Adam, at its other defaults.
        schedule: of the learning rates, if any.
        muon: the learning rate of Muon, which then moves the convolutions between many channels;
            None leaves everything to Adam.
        average: the decay a step of a moving average of the weights, which is then what is
            validated and kept; None keeps the weights themselves.
        roll, flip: augmentations of the training set, a random roll in azimuth and flips of each
            axis.
        cycle: never the same view of a patch in epochs that follow each other: its rolls and flips
            take turns instead of being drawn anew.
        noise: standard deviation of white noise on the standardised input.
        loss: a name in `geoseg.losses.LOSSES`.
    """

    id: int
    name: str
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    epochs: int = 50
    batch: int = 32
    batch_validation: int | None = None
    learning_rate: float = 1e-4
    schedule: Plateau | Linear | None = Plateau(0.8, 5)
    muon: float | None = None
    average: float | None = None
    roll: bool = False
    flip: bool = False
    cycle: bool = False
    noise: float = 0.0
    loss: str = "bce"

    @property
    def label(self) -> str:
        """`<id>-<name>`."""
        return f"{self.id}-{self.name}"

    @property
    def normalisation(self) -> Normalisation:
        """Of the input; a model of two channels sees which pixels were measured."""
        return Normalisation(mask=self.create_model().arguments["in_channels"] == 2)

    def create_model(self) -> Model:
        """A fresh, untrained model."""
        return create_model(self.architecture, **self.arguments)


def _derive(base: Experiment, id: int, name: str, **changes: Any) -> Experiment:
    return replace(base, id=id, name=name, **changes)


_BOTH = {"roll": True, "flip": True}
_FINAL = {**_BOTH, "epochs": 100, "loss": "dice_bce"}

# The first U-Net is 24 channels wide and trains without a scheduler.
_U0 = Experiment(0, "unet-24-short", "unet", epochs=5, learning_rate=1e-3, schedule=None)
_HALVING = Plateau(0.5, 5)
_U2 = _derive(_U0, 2, "unet-24-halving", epochs=50, batch=92, schedule=_HALVING)
_U4 = _derive(_U2, 4, "unet-32-halving", arguments={"width": 32}, batch=32, learning_rate=1e-4)
_U6 = _derive(_U4, 6, "unet-32", schedule=Plateau(0.8, 5))
_U402 = _derive(_U6, 402, "unet", arguments={"width": 64}, batch=128, **_BOTH)

_S105 = Experiment(105, "stacked-plain", "stacked")
_S106 = _derive(_S105, 106, "residual-16x6", arguments={"width": 16, "layers": 6, "residual": True})
_S200 = _derive(_S105, 200, "stacked", **_BOTH)
_S201 = _derive(_S200, 201, "stacked-weighted", loss="bce_weighted")
_S202 = _derive(_S200, 202, "stacked-dice", loss="dice")
_S30 = _derive(_S105, 30, "stacked-128-final", arguments={"width": 128}, **_FINAL)

_V300 = Experiment(300, "vanilla", "vanilla", batch=128, learning_rate=1e-3)
_V301 = _derive(_V300, 301, "vanilla-dice", loss="dice")
_V302 = _derive(_V301, 302, "vanilla-dice-augmented", **_BOTH)
_V303 = _derive(_V300, 303, "vanilla-batch-32", batch=32)

ORIGINAL: tuple[Experiment, ...] = (
    _U0,
    _derive(_U0, 1, "unet-24-batch-256", epochs=50, batch=256, batch_validation=32),
    _U2,
    _derive(_U2, 3, "unet-8-halving", arguments={"width": 8}, batch=32),
    _U4,
    _derive(_U4, 5, "unet-32-halving-batch-92", batch=92),
    _U6,
    _derive(_V300, 10, "vanilla-final", **_FINAL),
    _S30,
    _derive(_S30, 31, "stacked-128-final-batch-128", batch=128),
    _derive(_S30, 32, "stacked-final", arguments={}),
    _derive(_U402, 40, "unet-final", learning_rate=1e-3, schedule=Plateau(0.8, 10), **_FINAL),
    _derive(_S105, 100, "stacked-64x3", arguments={"width": 64, "layers": 3}),
    _derive(_S105, 101, "stacked-64", arguments={"width": 64}),
    _derive(_S105, 102, "stacked-32", arguments={"width": 32}),
    _derive(_S105, 103, "stacked-256x3", arguments={"layers": 3}),
    _derive(_S105, 104, "stacked-256x4", arguments={"layers": 4}),
    _S105,
    _S106,
    _derive(_S106, 107, "residual-32x6", arguments={**_S106.arguments, "width": 32}),
    _derive(_S106, 108, "residual-64x6", arguments={**_S106.arguments, "width": 64}),
    _derive(_S106, 109, "residual-16x8", arguments={**_S106.arguments, "layers": 8}),
    _derive(_S105, 110, "stacked-roll", roll=True),
    _derive(_S105, 111, "stacked-flip", flip=True),
    _derive(_S105, 112, "stacked-roll-flip", **_BOTH),
    _S200,
    _S201,
    _S202,
    _derive(_S202, 203, "stacked-dice-quick", learning_rate=1e-3),
    _derive(_S201, 204, "stacked-weighted-again"),
    _derive(_S201, 206, "stacked-weighted-batch-128", batch=128),
    _V300,
    _V301,
    _V302,
    _V303,
    _derive(_V301, 304, "vanilla-dice-batch-32", batch=32),
    _derive(_V302, 305, "vanilla-dice-augmented-batch-32", batch=32),
    _derive(_V303, 306, "vanilla-slow-augmented-batch-32", learning_rate=1e-4, **_BOTH),
    _derive(_U6, 400, "unet-32-augmented", **_BOTH),
    _derive(_U6, 401, "unet-32-augmented-batch-128", batch=128, **_BOTH),
    _U402,
    _derive(_U402, 403, "unet-long", epochs=200),
    _derive(_U402, 404, "unet-long-quick", epochs=200, learning_rate=1e-3),
)

# Found by experiment (benchmarks/time_to_quality.py): Muon does most of it.
_FAST: dict[str, Any] = {
    **_BOTH,
    "epochs": 10,
    "batch": 32,
    "learning_rate": 1e-3,
    "muon": 0.02,
    "schedule": Linear(warmup=0.1),
    "cycle": True,
    "loss": "dice_bce",
}

FAST: tuple[Experiment, ...] = (
    # Rolling teaches it nothing: its gradients are the same however the pipe is turned.
    _derive(_S200, 9200, "stacked-fast", **{**_FAST, "roll": False, "batch": 8}),
    _derive(_V300, 9300, "vanilla-fast", **_FAST),
    _derive(_U402, 9402, "unet-fast", **_FAST),
)

EXPERIMENTS = ORIGINAL + FAST


def find_experiments(keys: Sequence[str]) -> list[Experiment]:
    """The experiments for numbers or names, in the order asked; ValueError lists them all."""
    known = {key: e for e in EXPERIMENTS for key in (str(e.id), e.name, e.label)}
    for key in keys:
        if key not in known:
            choices = ", ".join(f"{e.id} {e.name}" for e in EXPERIMENTS)
            raise ValueError(f"there is no experiment {key!r}; choose from: {choices}")
    return list({known[key].id: known[key] for key in keys}.values())

"""The table of experiments.

It holds the original project's experiments, a fast one for each architecture, and those of the
shipped checkpoints. Rows derive from each other, so that each names only its differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from geoseg.models import Model, create_model
from geoseg.normalisation import Normalisation
from geoseg.original import model_of
from geoseg.synthetic.toy_labels import Mode
from train.schedules import Linear, Plateau

_DEFAULT_SCHEDULE = Plateau(0.8, 5)


@dataclass(frozen=True)
class Experiment:
    """A recipe: an architecture and its training.

    Attributes:
        id, name: both unique; a run's folder and its checkpoint are named `<id>-<name>`.
        architecture, arguments: of `geoseg.create_model`.
        epochs: passes over the training set.
        batch, batch_validation: patches per step; the latter is `batch` unless given.
        learning_rate: of Adam, whose other arguments are the defaults.
        schedule: of the learning rates; None keeps them constant.
        muon: the learning rate of Muon, which then updates the kernels between many channels; None
            leaves all weights to Adam.
        average: the decay per step of a moving average of the weights, which is then validated and
            saved; None validates and saves the weights themselves.
        roll, flip: augmentations of the training set, a random roll in azimuth and random flips of
            each axis.
        cycle: step through a patch's rolls and flips instead of drawing them, so that consecutive
            epochs never show the same view.
        noise: standard deviation of white noise on the standardised input.
        loss: a name in `geoseg.losses.LOSSES`.
        toy_labels: stamp letters on the patches (`geoseg.synthetic.toy_labels`) and use them as
            the labels.
        teacher: the id of an experiment to learn from as well, if any.
        temperature, distillation: the divisor of the logits of student and teacher, and the weight
            of the teacher in the loss; without a teacher they have no effect.
    """

    id: int
    name: str
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    epochs: int = 50
    batch: int = 32
    batch_validation: int | None = None
    learning_rate: float = 1e-4
    schedule: Plateau | Linear | None = _DEFAULT_SCHEDULE
    muon: float | None = None
    average: float | None = None
    roll: bool = False
    flip: bool = False
    cycle: bool = False
    noise: float = 0.0
    loss: str = "bce"
    toy_labels: Mode | None = None
    teacher: int | None = None
    temperature: float = 2.0
    distillation: float = 0.8

    @property
    def run_name(self) -> str:
        """The name of its run: `<id>-<name>`."""
        return f"{self.id}-{self.name}"

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation of the input; a model with two input channels gets the valid mask."""
        with torch.device("meta"):  # uses neither memory nor random numbers
            return Normalisation(mask=self.create_model().arguments["in_channels"] == 2)

    def create_model(self) -> Model:
        """Return a new, untrained model."""
        return create_model(self.architecture, **self.arguments)


def _derive(base: Experiment, id: int, name: str, **changes: Any) -> Experiment:
    return replace(base, id=id, name=name, **changes)


def _original(base: Experiment | None, id: int, name: str, **changes: Any) -> Experiment:
    """Return an experiment of the original project, with its architecture and arguments."""
    architecture, arguments = model_of(id)
    base = base or Experiment(id, name, architecture)
    return _derive(base, id, name, architecture=architecture, arguments=arguments, **changes)


_AUGMENTED = {"roll": True, "flip": True}
_FINAL = {**_AUGMENTED, "epochs": 100, "loss": "dice_bce"}

# The first U-Net is 24 channels wide and trains without a scheduler.
_U0 = _original(None, 0, "unet-24-short", epochs=5, learning_rate=1e-3, schedule=None)
_HALVING = Plateau(0.5, 5)
_U2 = _original(_U0, 2, "unet-24-halving", epochs=50, batch=92, schedule=_HALVING)
_U4 = _original(_U2, 4, "unet-32-halving", batch=32, learning_rate=1e-4)
_U6 = _original(_U4, 6, "unet-32", schedule=Plateau(0.8, 5))
_U402 = _original(_U6, 402, "unet", batch=128, **_AUGMENTED)

_S105 = _original(None, 105, "stacked-plain")
_S106 = _original(_S105, 106, "residual-16x6")
_S200 = _original(_S105, 200, "stacked", **_AUGMENTED)
_S201 = _original(_S200, 201, "stacked-weighted", loss="bce_weighted")
_S202 = _original(_S200, 202, "stacked-dice", loss="dice")
_S30 = _original(_S105, 30, "stacked-128-final", **_FINAL)

_V300 = _original(None, 300, "vanilla", batch=128, learning_rate=1e-3)
_V301 = _original(_V300, 301, "vanilla-dice", loss="dice")
_V302 = _original(_V301, 302, "vanilla-dice-augmented", **_AUGMENTED)
_V303 = _original(_V300, 303, "vanilla-batch-32", batch=32)

_M500 = _original(None, 500, "micro", epochs=200, learning_rate=1e-3)

_F50 = _original(None, 50, "flexible-16", batch=128, learning_rate=5e-4, **_FINAL)
_F61 = _original(_F50, 61, "flexible-64-long", epochs=300)
_F704 = _original(None, 704, "flexible-light", epochs=100, learning_rate=1e-3, loss="bce_weighted")
_F705 = _original(_F704, 705, "flexible-light-slow", learning_rate=5e-4, loss="dice_bce")
_F706 = _original(_F705, 706, "flexible-light-augmented", **_AUGMENTED)
_F707 = _original(_F706, 707, "flexible-light-batch-64", batch=64)
_F2001 = _original(_F50, 2001, "flexible", learning_rate=1e-3)
_F1001 = _original(_F2001, 1001, "flexible-student", batch=32, loss="bce", teacher=53)

# Toy labels check the pipeline: they can be learnt perfectly.
_T600 = _original(_S201, 600, "stacked-toy-easy", toy_labels="easy")
_T601 = _original(
    _U0, 601, "unet-toy-easy", epochs=50, loss="bce_weighted", toy_labels="easy", **_AUGMENTED
)
_T620 = _original(
    _T600, 620, "stacked-toy-trivial", epochs=70, learning_rate=1e-3, toy_labels="trivial"
)
_T621 = _original(_T601, 621, "unet-toy-trivial", epochs=100, toy_labels="trivial")

ORIGINAL: tuple[Experiment, ...] = (
    _U0,
    _original(_U0, 1, "unet-24-batch-256", epochs=50, batch=256, batch_validation=32),
    _U2,
    _original(_U2, 3, "unet-8-halving", batch=32),
    _U4,
    _original(_U4, 5, "unet-32-halving-batch-92", batch=92),
    _U6,
    _original(_V300, 10, "vanilla-final", **_FINAL),
    _original(_M500, 20, "micro-final", batch=128, **_FINAL),
    _S30,
    _original(_S30, 31, "stacked-128-final-batch-128", batch=128),
    _original(_S30, 32, "stacked-final"),
    _original(_U402, 40, "unet-final", learning_rate=1e-3, schedule=Plateau(0.8, 10), **_FINAL),
    _F50,
    _original(_F50, 51, "flexible-4"),
    _original(_F50, 52, "flexible-16-two-scales"),
    _original(_F50, 53, "flexible-64"),
    _original(_F50, 54, "flexible-16-batch-32", batch=32),
    _original(_F50, 55, "flexible-16-deep"),
    _original(_F61, 60, "flexible-64-long-quick", learning_rate=1e-3),
    _F61,
    _original(_F61, 62, "flexible-64-long-weighted", loss="bce_weighted"),
    _original(_F50, 63, "flexible-32-deep"),
    _original(_F61, 70, "flexible-16-deep-refined"),
    _original(_F61, 71, "flexible-16-deepest"),
    _original(_S105, 100, "stacked-64x3"),
    _original(_S105, 101, "stacked-64"),
    _original(_S105, 102, "stacked-32"),
    _original(_S105, 103, "stacked-256x3"),
    _original(_S105, 104, "stacked-256x4"),
    _S105,
    _S106,
    _original(_S106, 107, "residual-32x6"),
    _original(_S106, 108, "residual-64x6"),
    _original(_S106, 109, "residual-16x8"),
    _original(_S105, 110, "stacked-roll", roll=True),
    _original(_S105, 111, "stacked-flip", flip=True),
    _original(_S105, 112, "stacked-roll-flip", **_AUGMENTED),
    _S200,
    _S201,
    _S202,
    _original(_S202, 203, "stacked-dice-quick", learning_rate=1e-3),
    _original(_S201, 204, "stacked-weighted-again"),
    _original(_S201, 206, "stacked-weighted-batch-128", batch=128),
    _V300,
    _V301,
    _V302,
    _V303,
    _original(_V301, 304, "vanilla-dice-batch-32", batch=32),
    _original(_V302, 305, "vanilla-dice-augmented-batch-32", batch=32),
    _original(_V303, 306, "vanilla-slow-augmented-batch-32", learning_rate=1e-4, **_AUGMENTED),
    _original(_U6, 400, "unet-32-augmented", **_AUGMENTED),
    _original(_U6, 401, "unet-32-augmented-batch-128", batch=128, **_AUGMENTED),
    _U402,
    _original(_U402, 403, "unet-long", epochs=200),
    _original(_U402, 404, "unet-long-quick", epochs=200, learning_rate=1e-3),
    _M500,
    _original(_M500, 501, "micro-slow", learning_rate=1e-4),
    _original(_M500, 502, "micro-batch-128", batch=128),
    _original(_M500, 503, "micro-batch-512", batch=512),
    _T600,
    _T601,
    _original(_T601, 602, "unet-toy-easy-long", epochs=300),
    _original(_T600, 610, "stacked-toy-medium", toy_labels="medium"),
    _original(_T601, 611, "unet-toy-medium", toy_labels="medium"),
    _T620,
    _T621,
    _original(_T621, 622, "unet-toy-trivial-batch-256", batch=256, batch_validation=32),
    _original(_T621, 623, "unet-toy-trivial-dice", loss="dice"),
    _original(_T620, 624, "stacked-toy-trivial-dice", epochs=50, loss="dice"),
    _original(_T621, 625, "unet-toy-trivial-again"),
    _original(_S201, 700, "stacked-weighted-long", epochs=100),
    _original(_M500, 701, "micro-augmented", epochs=100, **_AUGMENTED),
    _original(_U402, 702, "unet-long-batch-64", epochs=100, batch=64),
    _original(_U402, 703, "unet-24-long-batch-64", epochs=100, batch=64),
    _F704,
    _F705,
    _F706,
    _F707,
    _original(_F706, 708, "flexible-light-three-scales"),
    _original(_F707, 709, "flexible-light-three-batch-64"),
    _original(_F707, 710, "flexible-64-light-three-scales"),
    _original(_F707, 711, "flexible-16-batch-64"),
    _original(_F707, 712, "flexible-16-refined"),
    _original(_F707, 713, "flexible-16-refined-again"),
    _original(_F704, 900, "flexible-4-light", loss="bce"),
    _original(_F1001, 1000, "flexible-8-student"),
    _F1001,
    _original(_F1001, 1002, "flexible-student-hot", temperature=8.0),
    _original(_F1001, 1003, "flexible-student-half", distillation=0.5),
    _original(_F1001, 1004, "flexible-student-warm", temperature=4.0),
    _original(_F704, 1005, "flexible-light-student", loss="bce", teacher=700),
    _original(_F2001, 2000, "flexible-8"),
    _F2001,
)

# Found by experiment (benchmarks/time_to_quality.py); Muon contributes most.
_FAST: dict[str, Any] = {
    **_AUGMENTED,
    "epochs": 10,
    "batch": 32,
    "learning_rate": 1e-3,
    "muon": 0.02,
    "schedule": Linear(warmup=0.1),
    "cycle": True,
    "loss": "dice_bce",
}

FAST: tuple[Experiment, ...] = (
    # No roll: the gradients of this architecture are the same for every roll of the pipe.
    _derive(_S200, 9200, "stacked-fast", **{**_FAST, "roll": False, "batch": 8}),
    _derive(_V300, 9300, "vanilla-fast", **_FAST),
    _derive(_U402, 9402, "unet-fast", **_FAST),
    _derive(_M500, 9500, "micro-fast", **_FAST),
    _derive(_F2001, 92001, "flexible-fast", **_FAST),
)

# The shipped checkpoints, trained on --fresh pipes. Plain cross-entropy gives calibrated
# probabilities.
_FRESH: dict[str, Any] = {**_FAST, "loss": "bce", "cycle": False}
_RING = Experiment(3000, "ring-unet", "ring_unet", **{**_FRESH, "roll": False})

FRESH: tuple[Experiment, ...] = (
    _derive(_S200, 8200, "stacked-fresh", **{**_FRESH, "roll": False, "batch": 8, "epochs": 2}),
    _derive(_V300, 8300, "vanilla-fresh", **_FRESH),
    _derive(_U402, 8402, "unet-fresh", **_FRESH),
    _derive(_F2001, 82001, "flexible-fresh", **_FRESH),
    _derive(_F2001, 81004, "flexible-fresh-student", **_FRESH, teacher=3000),
    _RING,
)

EXPERIMENTS = ORIGINAL + FAST + FRESH


def find_experiments(keys: Sequence[str]) -> list[Experiment]:
    """Return the experiments with these ids or names, in order and without repetitions.

    Raise ValueError, with a list of all experiments, if one is unknown.
    """
    known = {key: e for e in EXPERIMENTS for key in (str(e.id), e.name, e.run_name)}
    for key in keys:
        if key not in known:
            choices = ", ".join(f"{e.id} {e.name}" for e in EXPERIMENTS)
            raise ValueError(f"there is no experiment {key!r}; choose from: {choices}")
    return list({known[key].id: known[key] for key in keys}.values())

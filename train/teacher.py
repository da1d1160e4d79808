"""Trained models that a run learns from, beside its labels.

B batch, C channel, Z depth, A azimuth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.checkpoint import CheckpointError, load_checkpoint
from geoseg.models import Model
from geoseg.normalisation import Normalisation
from train.experiments import Experiment, find_experiments
from train.sampling import IGNORED

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"


class Teacher(nn.Module):
    """One or several models, in evaluation mode and never changed, that answer as one.

    Args:
        models: of one output channel; those of two input channels see which pixels were measured.
        files: the SHA-256 of each model's checkpoint, by its path.
    """

    def __init__(self, models: Sequence[Model], files: dict[str, str]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models).eval().requires_grad_(False)
        self.files = files
        self._channels = [model.arguments["in_channels"] for model in models]

    @torch.no_grad()
    def forward(self, patches: Tensor) -> Tensor:
        """Patches as a step sees them, (B, C + 1, Z, A), the truth last -> mean logits (B, 1, ...).

        Whatever the student sees of it, the first channel is the image, and what is not void in the
        truth has been measured.
        """
        inputs = torch.cat((patches[:, :1], patches[:, -1:] != IGNORED), 1)
        answers = [
            model(inputs[:, :channels]).float()
            for model, channels in zip(self.models, self._channels, strict=True)
        ]
        return torch.stack(answers).mean(0)


def find_teacher(experiment: Experiment, output: Path, suffix: str = "") -> list[Path]:
    """The checkpoint of the experiment that `experiment` learns from; none where it needs none.

    It is the best one of the run in the folder `output`, for a fold the run on the same fold, as
    any other has seen its validation wells; else, but for folds, the one in `checkpoints`.
    CheckpointError, saying what to do, where there is none.
    """
    if experiment.teacher is None:
        return []
    (teacher,) = find_experiments([str(experiment.teacher)])
    places = [output / f"{teacher.run_name}{suffix}" / "best.safetensors"]
    if not suffix:
        places.append(CHECKPOINTS / f"{teacher.run_name}.safetensors")
    for path in places:
        if path.exists():
            return [path]
    missing = " nor ".join(map(str, places))
    raise CheckpointError(
        f"{experiment.run_name} learns from {teacher.run_name}, and there is no {missing}; train "
        f"that first (-e {teacher.id}), or name another teacher with --teacher FILE"
    )


def load_teacher(
    paths: Sequence[Path], normalisation: Normalisation, device: torch.device
) -> Teacher | None:
    """The teacher that the checkpoints make together, on `device`; None for no checkpoints.

    CheckpointError for a file that cannot be read, or whose model cannot see what a student sees
    whose input is made by `normalisation`.
    """
    if not paths:
        return None
    if len({path.resolve() for path in paths}) < len(paths):
        raise CheckpointError("a teacher is named twice; name each once")
    files = {}
    for path in paths:
        try:
            files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(f"teacher {path}: {error.strerror}") from error
    models = [load_checkpoint(path) for path in paths]
    for path, model in zip(paths, models, strict=True):
        _check(path, model, normalisation)
    return Teacher(models, files).to(device)


def _check(path: Path, model: Model, student: Normalisation) -> None:
    assert model.card
    own = model.card.normalisation
    if (own.scale, own.compress) != (student.scale, student.compress):
        raise CheckpointError(
            f"teacher {path} was trained on patches of {own}, the student sees {student}; only "
            "the mask may differ: take a teacher that was trained as the student will be"
        )
    channels = (model.arguments["in_channels"], model.arguments["out_channels"])
    if channels not in {(1, 1), (2, 1)}:
        raise CheckpointError(
            f"teacher {path} takes {channels[0]} channels and gives {channels[1]}; it must take 1, "
            "or 2 with the mask, and give 1"
        )

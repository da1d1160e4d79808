"""Teachers: trained models that a run learns from besides the labels.

B batch, C channel, Z depth, A azimuth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.checkpoint import CheckpointError, load_checkpoint
from geoseg.models import Model
from geoseg.normalisation import Normalisation
from train.experiments import Experiment, find_experiments
from train.sampling import IGNORED

SHIPPED_CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"


class Teacher(nn.Module):
    """One or several frozen models in evaluation mode; the output is the mean of their logits.

    Args:
        models: with one output channel; models with two input channels also get the valid mask.
        files: the SHA-256 of each model's checkpoint, by its path.
    """

    def __init__(self, models: Sequence[Model], files: dict[str, str]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models).eval().requires_grad_(False)
        self.files = files
        self._channels = [model.arguments["in_channels"] for model in models]

    @torch.no_grad()
    def forward(self, pairs: Tensor) -> Tensor:
        """Return mean logits (B, 1, Z, A) for a training batch (B, C + 1, Z, A), labels last.

        The first channel is always the image, and a pixel is valid if its label is not IGNORED,
        whatever input channels the student has.
        """
        inputs = torch.cat((pairs[:, :1], pairs[:, -1:] != IGNORED), 1)
        logits = [
            model(inputs[:, :channels]).float()
            for model, channels in zip(self.models, self._channels, strict=True)
        ]
        return torch.stack(logits).mean(0)


def find_teacher(experiment: Experiment, output: Path, suffix: str = "") -> list[Path]:
    """Return the checkpoint of the experiment's own teacher; an empty list if it has none.

    The best checkpoint of the teacher's run in `output` comes first, then the shipped one. A fold
    (with a `suffix`) takes only the run on the same fold, because any other teacher has seen its
    validation wells. Raise CheckpointError, with the remedy, if there is no checkpoint.
    """
    if experiment.teacher is None:
        return []
    (teacher,) = find_experiments([str(experiment.teacher)])
    candidates = [output / f"{teacher.run_name}{suffix}" / "best.safetensors"]
    if not suffix:
        candidates.append(SHIPPED_CHECKPOINTS / f"{teacher.run_name}.safetensors")
    for path in candidates:
        if path.exists():
            return [path]
    missing = " nor ".join(map(str, candidates))
    raise CheckpointError(
        f"{experiment.run_name} learns from {teacher.run_name}, and there is no {missing}; train "
        f"that first (-e {teacher.id}), or name another teacher with --teacher FILE"
    )


def load_teacher(
    paths: Sequence[Path], normalisation: Normalisation, device: torch.device
) -> Teacher | None:
    """Load checkpoints as one teacher on `device`; return None if `paths` is empty.

    Raise CheckpointError if a file cannot be read, or if its model does not fit a student whose
    input is made by `normalisation`.
    """
    if not paths:
        return None
    models = [load_checkpoint(path) for path in paths]
    for path, model in zip(paths, models, strict=True):
        assert model.card
        if replace(model.card.normalisation, mask=normalisation.mask) != normalisation:
            raise CheckpointError(
                f"teacher {path} was trained on patches of {model.card.normalisation}, the student "
                f"on {normalisation}; only the mask may differ"
            )
        channels = model.arguments["in_channels"], model.arguments["out_channels"]
        if channels not in {(1, 1), (2, 1)}:
            raise CheckpointError(
                f"teacher {path} has {channels[0]} input and {channels[1]} output channels; it "
                "must have 1 input channel, or 2 with the mask, and 1 output channel"
            )
    files = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return Teacher(models, files).to(device)

"""The original's published weights: pickles, from which only tensors are loaded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.card import Card
from geoseg.checkpoint import CheckpointError
from geoseg.models import Model, create_model
from geoseg.normalisation import RAW
from geoseg.original.model_table import model_of
from geoseg.original.names import rename_weights

DATA = "the original project's weights"
# Four times the largest of its models: enough for the state of the optimizer too.
MAX_BYTES = 128 << 20
_WEIGHT_KEYS = ("state_dict", "model_state_dict", "model")  # as training scripts name them


def import_original(path: str | os.PathLike[str], experiment: int) -> Model:
    """Load the model of an experiment of the original with the weights of a published file.

    The file was written by `torch.save`; it holds a state_dict, or a dictionary with one under
    "state_dict", "model_state_dict" or "model". No code in it is run. The model is as from
    `load_checkpoint`: in evaluation mode on the CPU, with a `card`. `save_checkpoint` with the
    `provenance` of the card makes it a checkpoint of ours.

    Raise CheckpointError, with the name of the file, if it is missing, damaged, larger than 128
    MiB, or holds anything but finite weights of this experiment's names and shapes. Raise
    ValueError if the original has no such experiment.
    """
    path = Path(path)
    architecture, arguments = model_of(experiment)
    stored = _read(path)
    with torch.device("meta"):
        model = create_model(architecture, **arguments)
    renamed = rename_weights(model, stored)
    weights = {name: value.detach().float().contiguous() for name, value in renamed.items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path.name}: weight {name!r} holds NaN or infinity")
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        misfit = shorten(str(error), 300)  # torch names every weight that does not fit
        raise CheckpointError(
            f"{path.name}: not the weights of experiment {experiment}: {misfit}"
        ) from error
    model.card = Card(
        architecture, dict(model.arguments), RAW, experiment={"id": experiment}, data=DATA
    )
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by their names in it; their values are not checked."""
    try:
        with zipfile.ZipFile(path) as archive:  # unpacks nothing: a small file may hold a lot
            size = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path.name}: not a zip archive of torch.save: {error}") from error
    if size > MAX_BYTES:
        raise CheckpointError(
            f"{path.name}: holds {size >> 20:,} MiB; the original's weights take less than "
            f"{MAX_BYTES >> 20}"
        )
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(
            f"{path.name}: damaged, or holds something other than weights, which is not run"
        ) from error
    for key in _WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path.name}: holds no state_dict, but a {type(content).__name__}")
    for name, value in content.items():
        plain = type(value) in (Tensor, nn.Parameter) and value.device.type == "cpu"
        if not (isinstance(name, str) and plain and value.layout == torch.strided):
            raise CheckpointError(f"{path.name}: {name!r} is not a plain tensor")
        if not value.is_floating_point():
            raise CheckpointError(f"{path.name}: weight {name!r} is {value.dtype}, not float")
    if sum(value.numel() * value.element_size() for value in content.values()) > size:
        raise CheckpointError(f"{path.name}: claims to hold more values than it does")
    return dict(content)

"""The original's published weights: pickles, of which nothing but tensors is taken."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
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
# Four times the largest of its models, which leaves room for the state of its optimiser.
MOST_BYTES = 128 << 20
_NESTS = ("state_dict", "model_state_dict", "model")  # where training scripts keep the weights


def import_original(path: str | os.PathLike[str], experiment: int) -> Model:
    """The model of one of the original's experiments with the weights of a file it published.

    The file is one that `torch.save` made of a state_dict, or of a dictionary with one under
    "state_dict", "model_state_dict" or "model". No code in it is run. The model comes as
    `load_checkpoint` gives it: in evaluation mode on the CPU, with a `card`; `save_checkpoint` with
    what the card says makes it a checkpoint of ours.

    CheckpointError, naming the file, where it is missing, damaged, larger than 128 MiB or holds
    anything but finite weights of this experiment's names and shapes. ValueError where the original
    has no such experiment.
    """
    path = Path(path)
    architecture, arguments = model_of(experiment)
    weights = _read(path)
    with torch.device("meta"):
        model = create_model(architecture, **arguments)
    renamed = rename_weights(model, weights)
    misfit = _misfit(model, renamed)
    if misfit:
        raise CheckpointError(
            f"{path.name}: not the weights of experiment {experiment}, a {architecture}: {misfit}"
        )
    values = {name: value.detach().float().contiguous() for name, value in renamed.items()}
    for name, value in values.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path.name}: weight {name!r} holds NaN or infinity")
    model.load_state_dict({k: nn.Parameter(v) for k, v in values.items()}, assign=True)
    model.card = Card(
        architecture, dict(model.arguments), RAW, experiment={"id": experiment}, data=DATA
    )
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by their names there; no value has been looked at yet."""
    size = _check_archive(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(
            f"{path.name}: damaged, or holds something else than weights, which is not run"
        ) from error
    for nest in _NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path.name}: holds no state_dict, but a {type(content).__name__}")
    for name, value in content.items():
        plain = type(value) in (Tensor, nn.Parameter) and value.device.type == "cpu"
        if not (isinstance(name, str) and plain and value.layout == torch.strided):
            raise CheckpointError(f"{path.name}: {name!r} is no plain tensor")
        if not value.is_floating_point():
            raise CheckpointError(f"{path.name}: weight {name!r} is {value.dtype}, not float")
    if sum(value.numel() * value.element_size() for value in content.values()) > size:
        raise CheckpointError(f"{path.name}: claims to hold more values than it does")
    return dict(content)


def _check_archive(path: Path) -> int:
    """The bytes in the zip archive that `torch.save` makes, all of it; CheckpointError where not.

    Nothing is unpacked: an archive may be small and its content not.
    """
    if path.exists() and not path.is_file():
        raise CheckpointError(
            f"{path.name}: not a whole file of torch.save, but a folder or a device"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.name}: there is no such file") from error
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path.name}: not a whole file of torch.save, which makes zip archives ({error})"
        ) from error
    if max(size, path.stat().st_size) > MOST_BYTES:
        raise CheckpointError(
            f"{path.name}: holds {size / (1 << 20):,.0f} MiB; the original's weights take less "
            f"than {MOST_BYTES >> 20}"
        )
    return size


def _misfit(model: Model, weights: Mapping[str, Tensor]) -> str:
    """What of `weights`, under our names, does not fit the model; empty where all does."""
    expected = model.state_dict()
    lacking, stray = sorted(expected.keys() - weights), sorted(weights.keys() - expected)
    shapes = [
        f"{name!r} is {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems = [
        *(f"{name!r} is missing" for name in lacking),
        *(f"{name!r} is too many" for name in stray),
        *shapes,
    ]
    more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
    return ", ".join(problems[:3]) + more

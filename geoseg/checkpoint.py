"""Checkpoints: a model in one safetensors file, with its card in the metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg import hub
from geoseg.atomic_files import atomic_write
from geoseg.card import Card
from geoseg.models import Model, create_model
from geoseg.normalisation import Normalisation
from geoseg.quantisation import Quantisation


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the fault."""


def save_checkpoint(
    path: str | os.PathLike[str],
    model: Model,
    *,
    normalisation: Normalisation | None = None,
    threshold: float = 0.5,
    experiment: Mapping[str, Any] | None = None,
    data: str = "",
    metrics: Mapping[str, Any] | None = None,
    quantisation: Quantisation | None = None,
) -> None:
    """Write `model` and its card, atomically, and set `model.card`.

    A `normalisation` of None is the default one. A `quantisation` rounds the weights in the file,
    not those of `model`. Raise CheckpointError for weights that are not finite, since such a file
    could not be loaded, and OSError if the file cannot be written.
    """
    weights = {k: v.detach().float().cpu().contiguous() for k, v in model.state_dict().items()}
    if quantisation:
        weights = quantisation.quantise(weights)
    _check_finite(Path(path), weights)
    model.card = Card(
        model.name,
        dict(model.arguments),
        Normalisation() if normalisation is None else normalisation,
        threshold,
        dict(experiment or {}),
        data,
        dict(metrics or {}),
        quantisation=quantisation,
    )
    with atomic_write(path) as temporary:
        try:
            save_file(weights, temporary, model.card.to_metadata())
        except SafetensorError as error:  # raised for a full disk
            raise OSError(f"{Path(path).name} cannot be written: {error}") from error


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card without the weights; CheckpointError as in `load_checkpoint`."""
    return _open(resolve_checkpoint(path))[0]


def load_checkpoint(path: str | os.PathLike[str]) -> Model:
    """Rebuild the model, float32, in evaluation mode on the CPU, with its `card`.

    `path` may be an address on the Hugging Face Hub: hf://user/repo, optionally followed by
    @revision or /name.safetensors.

    Raise CheckpointError, with the name of the file, if it is missing, damaged or not a checkpoint
    of geoseg; if the names, shapes or dtypes of its weights do not fit the architecture; or if a
    value is not finite or out of range. Raise it, with the address, if the Hub has no such file,
    refuses it or cannot be reached.
    """
    path = resolve_checkpoint(path)
    card, weights = _open(path, with_weights=True)
    quantisation = card.quantisation
    # A value of the file holds two weights of 4 bits.
    weights_per_value = 2 if quantisation and quantisation.bits == 4 else 1
    try:
        _check_argument_sizes(
            card, weights_per_value * sum(value.numel() for value in weights.values())
        )
        with torch.device("meta"):  # allocates nothing before the weights are checked
            model = create_model(card.architecture, **card.arguments)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    expected = model.state_dict()
    _check_fit(path, quantisation.quantise(expected) if quantisation else expected, weights)
    _check_finite(path, weights)
    if quantisation:
        try:
            weights = quantisation.dequantise(weights, expected)
        except ValueError as error:
            raise CheckpointError(f"{path.name}: {error}") from error
        _check_finite(path, weights)
    model.load_state_dict(weights, assign=True)
    model.card = card
    return model.eval()


def resolve_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Return the local file, downloaded from the Hub if needed; CheckpointError if that fails."""
    try:
        return hub.download_checkpoint(path) if hub.is_hub_address(path) else Path(path)
    except hub.HubError as error:
        raise CheckpointError(str(error)) from error


def find_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """List the checkpoints of a folder, and the best one of every run in it, by number and name.

    The folder may be a repository on the Hub, hf://user/repo; CheckpointError if the download
    fails.
    """
    try:
        folder = hub.download_checkpoints(folder) if hub.is_hub_address(folder) else folder
    except hub.HubError as error:
        raise CheckpointError(str(error)) from error
    files = [*Path(folder).glob("*.safetensors"), *Path(folder).glob("*/best.safetensors")]

    def order(path: Path) -> tuple[float, str]:
        name = checkpoint_name(path)
        number = name.split("-")[0]
        return (int(number) if number.isdecimal() else float("inf"), name)

    return sorted((f for f in files if not f.name.startswith(".")), key=order)


def checkpoint_name(path: str | os.PathLike[str]) -> str:
    """Return the name of a checkpoint: the file's, the run's, or the repository's on the Hub.

    >>> checkpoint_name("checkpoints/402-unet.safetensors")
    '402-unet'
    >>> checkpoint_name("runs/3-a/best.safetensors"), checkpoint_name("runs/3-a/last.safetensors")
    ('3-a', '3-a-last')
    """
    path = Path(path).absolute()
    run = (hub.cached_repository(path) or path.parent.name).rpartition("/")[2]
    return {"best": run, "last": f"{run}-last"}.get(path.stem, path.stem)


def _open(path: Path, with_weights: bool = False) -> tuple[Card, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            card = Card.from_metadata(file.metadata() or {})
            names = file.keys() if with_weights else ()
            weights = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.name}: there is no such file") from error
    except (OSError, SafetensorError) as error:
        source = hub.cached_repository(path)
        remedy = f"; run `hf cache rm model/{source}` to download it again" if source else ""
        raise CheckpointError(
            f"{path.name}: not a whole safetensors file ({error}){remedy}"
        ) from error
    except KeyError as error:
        raise CheckpointError(
            f"{path.name}: not a geoseg checkpoint: {error} is missing"
        ) from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: its metadata cannot be read: {error}") from error
    return card, weights


def _check_argument_sizes(card: Card, count: int) -> None:
    """Raise ValueError for an argument larger than the count of weights in the file."""
    for name, argument in card.arguments.items():
        sizes = argument if isinstance(argument, list) else [argument]
        if any(isinstance(size, int) and size > count for size in [*sizes, len(sizes)]):
            raise ValueError(f"{name} is {argument}, but the file holds {count:,} weights")


def _check_fit(path: Path, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    for verb, names in (
        ("lacks", expected.keys() - weights),
        ("has a stray", weights.keys() - expected),
    ):
        if names:
            raise CheckpointError(f"{path.name}: {verb} weight {min(names)!r}")
    for name, value in weights.items():
        want = expected[name]
        if value.shape != want.shape or value.dtype != want.dtype:
            raise CheckpointError(
                f"{path.name}: weight {name!r} is {value.dtype} {tuple(value.shape)}, "
                f"the architecture needs {want.dtype} {tuple(want.shape)}"
            )


def _check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path.name}: weight {name!r} holds NaN or infinity")

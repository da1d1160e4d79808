"""Checkpoints: a model in one safetensors file, with its card in the metadata."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg import hub
from geoseg.atomic_files import atomic_write
from geoseg.card import Card
from geoseg.file_kinds import HEAD, SAFETENSORS, describe_foreign_file
from geoseg.models import Model, create_model
from geoseg.natural_sort import natural_key
from geoseg.normalisation import Normalisation
from geoseg.quantisation import Quantisation

_logger = logging.getLogger("geoseg")


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
    columns: int = 36,
    quantisation: Quantisation | None = None,
) -> None:
    """Write `model` and its card, atomically, and set `model.card`.

    A `normalisation` of None is the default one. A `quantisation` rounds the weights in the file,
    not those of `model`. Raise CheckpointError for weights that are not finite, and OSError if the
    file cannot be written.
    """
    weights = {k: v.detach().float().cpu().contiguous() for k, v in model.state_dict().items()}
    with _name_in_errors(Path(path)):
        _check_finite(weights)
    if quantisation:
        weights = quantisation.quantise(weights)
    model.card = Card(
        model.name,
        dict(model.arguments),
        normalisation or Normalisation(),
        threshold,
        dict(experiment or {}),
        data,
        dict(metrics or {}),
        columns,
        quantisation=quantisation,
    )
    with atomic_write(path) as temporary:
        try:
            save_file(weights, temporary, model.card.to_metadata())
        except SafetensorError as error:  # raised for a full disk
            raise OSError(str(error)) from error


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card without the weights; CheckpointError as in `load_checkpoint`."""
    return _open(resolve_checkpoint(path))[0]


def load_checkpoint(path: str | os.PathLike[str]) -> Model:
    """Rebuild the model, float32, in evaluation mode on the CPU, with its `card`.

    `path` may be an address on the Hugging Face Hub: hf://user/repo, optionally followed by
    @revision or /name.safetensors. Raise CheckpointError, with the name of the file, if it cannot
    be downloaded or read, is not a checkpoint of geoseg, or its weights do not fit or are not
    finite. Weights in another precision become float32 where that loses nothing, and a prefix that
    all names share is taken off; a warning in the log says so.
    """
    path = resolve_checkpoint(path)
    card, weights = _open(path, with_weights=True)
    quantisation = card.quantisation
    with _name_in_errors(path):
        _check_argument_sizes(card, sum(value.numel() for value in weights.values()))
        with torch.device("meta"):  # allocates nothing before the weights are checked
            model = create_model(card.architecture, **card.arguments)
        expected = model.state_dict()
        stored = quantisation.quantise(expected) if quantisation else expected
        weights = _to_float32(_remove_prefix(weights, stored, path.name), path.name)
        _check_fit(stored, weights)
        if quantisation:
            weights = quantisation.dequantise(weights, expected)
        _check_finite(weights)
    model.load_state_dict(weights, assign=True)
    model.card = card
    return model.eval()


def resolve_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Return the local file, downloaded from the Hub if needed; CheckpointError if that fails."""
    return _download(path, hub.download_checkpoint)


def find_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """List the checkpoints of a folder, and the best one of every run in it, in natural order.

    The folder may be a repository on the Hub; CheckpointError if the download fails.
    """
    folder = _download(folder, hub.download_checkpoints)
    files = [*folder.glob("[!.]*.safetensors"), *folder.glob("*/best.safetensors")]
    return sorted(files, key=lambda file: natural_key(checkpoint_name(file)))


def _download(path: str | os.PathLike[str], download: Callable[[Any], Path]) -> Path:
    try:
        return download(path) if hub.is_hub_address(path) else Path(path)
    except hub.HubError as error:
        raise CheckpointError(str(error)) from error


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
    with _name_in_errors(path):
        try:
            with safe_open(path, "pt") as file:
                card = Card.from_metadata(file.metadata() or {})
                names = file.keys() if with_weights else ()
                return card, {name: file.get_tensor(name) for name in names}
        except FileNotFoundError as error:
            raise ValueError("there is no such file") from error
        except (OSError, SafetensorError) as error:
            if what := _describe_other_kind(path):
                raise ValueError(what) from error
            source = hub.cached_repository(path)
            remedy = f"; run `hf cache rm model/{source}` to download it again" if source else ""
            raise ValueError(f"not a whole safetensors file ({error}){remedy}") from error
        except KeyError as error:
            raise ValueError(f"not a geoseg checkpoint: {error} is missing") from error
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"its metadata cannot be read: {error}") from error


def _describe_other_kind(path: Path) -> str | None:
    """Return what a file is that is no safetensors file; None if that is unknown."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    what = describe_foreign_file(head)
    return what if what != SAFETENSORS else None


def _remove_prefix(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor], name: str
) -> dict[str, Tensor]:
    """Take off the prefix of all names, such as "module." of a model that was wrapped."""
    first = min(expected)
    prefixes = {key.removesuffix(first) for key in weights if key.endswith(f".{first}")}
    for prefix in prefixes:
        if weights.keys() == {prefix + key for key in expected}:
            _logger.warning("%s: the prefix %r of all weights was taken off", name, prefix)
            return {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _to_float32(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Convert floating-point weights to float32; raise ValueError if that changes a value."""
    found = {}
    others = set()
    for key, value in weights.items():
        if not value.is_floating_point() or value.dtype == torch.float32:
            found[key] = value
            continue
        found[key] = value.float()
        others.add(str(value.dtype).removeprefix("torch."))
        finite = value.isfinite()
        if not torch.equal(found[key].to(value.dtype)[finite], value[finite]):
            raise ValueError(
                f"weight {key!r} is {value.dtype}, and float32 cannot hold its values; save it in "
                "float32"
            )
    if others:
        listed = ", ".join(sorted(others))
        _logger.warning("%s: its weights are %s; they are computed in float32", name, listed)
    return found


@contextmanager
def _name_in_errors(path: Path) -> Iterator[None]:
    """Turn errors into CheckpointError, with the name of the file."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error


def _check_argument_sizes(card: Card, count: int) -> None:
    """Raise ValueError for an argument larger than the count of weights in the file."""
    if card.quantisation and card.quantisation.bits == 4:
        count *= 2  # two weights share a byte
    for name, argument in card.arguments.items():
        sizes = argument if isinstance(argument, list) else [argument]
        if any(isinstance(size, int) and size > count for size in [*sizes, len(sizes)]):
            raise ValueError(f"{name} is {argument}, but the file holds {count:,} weights")


def _check_fit(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    if lacking := expected.keys() - weights:
        raise ValueError(f"lacks weight {min(lacking)!r}")
    if stray := weights.keys() - expected:
        raise ValueError(f"has the unexpected weight {min(stray)!r}")
    for name, value in weights.items():
        want = expected[name]
        if value.shape != want.shape or value.dtype != want.dtype:
            raise ValueError(
                f"weight {name!r} is {value.dtype} {tuple(value.shape)}, "
                f"the architecture needs {want.dtype} {tuple(want.shape)}"
            )


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"weight {name!r} holds NaN or infinity")

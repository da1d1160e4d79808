"""What a run must save to go on bit for bit, and how it is kept safe.

A state is tensors and JSON values. The last two are kept, each in a file of its own, with a
checksum: what is damaged is found out, and the one before is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg.atomic_files import atomic_write

KEPT = 2


class StateError(ValueError):
    """A run that cannot be resumed; the message says why and what to do."""


class State(NamedTuple):
    """Tensors by name, and what is not a tensor, as JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def digest(self) -> str:
        """SHA-256 over everything, in hexadecimal."""
        total = hashlib.sha256(json.dumps(self.values, sort_keys=True).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name].detach().cpu().contiguous()
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            total.update(tensor.numpy().data if tensor.numel() else b"")
        return total.hexdigest()


class StateStore:
    """The saved states of one run, in `folder`; their names sort by progress."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, steps: int, state: State) -> None:
        """Write the state after `steps` steps, atomically, and forget all but the last two.

        OSError where it cannot be written; the states before are then unharmed.
        """
        path = self.folder / f"{steps:012}.safetensors"
        tensors = {k: v.detach().cpu().contiguous() for k, v in state.tensors.items()}
        metadata = {"values": json.dumps(state.values), "sha256": state.digest()}
        try:
            with atomic_write(path) as temporary:
                save_file(tensors, temporary, metadata)
        except (OSError, SafetensorError) as error:  # either may report a full disk
            raise OSError(f"{path} cannot be written: {error}") from error
        files = self._files()
        place = files.index(path)  # what is ahead of it was damaged, or it would have been used
        for old in (*files[:place], *files[place + KEPT :]):
            old.unlink(missing_ok=True)

    def load(self) -> tuple[State | None, list[str]]:
        """The newest whole state, or None where there is none at all; and what was passed over.

        StateError where there are some and all are damaged.
        """
        damaged: list[str] = []
        for path in self._files():
            try:
                return _read(path), damaged
            except (OSError, SafetensorError, KeyError, ValueError) as error:
                damaged.append(f"{path} is damaged ({error})")
        if damaged:
            raise StateError(
                f"no saved state is whole: {'; '.join(damaged)}; --overwrite starts afresh"
            )
        return None, []

    def clear(self) -> None:
        """Forget every state."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("*.safetensors"), reverse=True)


def _read(path: Path) -> State:
    with safe_open(path, "pt") as file:
        metadata: Mapping[str, str] = file.metadata() or {}
        names = file.keys()  # a safetensors file is no dict, to be walked itself
        tensors = {name: file.get_tensor(name) for name in names}
    state = State(tensors, json.loads(metadata["values"]))
    if state.digest() != metadata["sha256"]:
        raise ValueError("its checksum does not fit its content")
    return state

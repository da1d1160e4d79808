"""The saved state of a run: all that it needs to resume bit for bit.

A state is tensors and JSON values. The last two are kept, each in its own file with a checksum; if
the newest is damaged, the one before is used.
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

KEPT_STATES = 2


class StateError(ValueError):
    """A run cannot be resumed; the message gives the reason and the remedy."""


class State(NamedTuple):
    """Tensors by name, and JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def digest(self) -> str:
        """Return the SHA-256 of everything, in hexadecimal."""
        total = hashlib.sha256(json.dumps(self.values, sort_keys=True).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name].detach().cpu().contiguous()
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            total.update(tensor.numpy().data if tensor.numel() else b"")
        return total.hexdigest()


class StateStore:
    """The saved states of one run in `folder`; their names sort by the number of steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, steps: int, state: State) -> None:
        """Write the state after `steps` steps atomically, and delete all but the last two.

        Raise OSError if it cannot be written; the earlier states are then unharmed.
        """
        path = self.folder / f"{steps:012}.safetensors"
        tensors = {k: v.detach().cpu().contiguous() for k, v in state.tensors.items()}
        metadata = {"values": json.dumps(state.values), "sha256": state.digest()}
        with atomic_write(path) as temporary:
            try:
                save_file(tensors, temporary, metadata)
            except SafetensorError as error:  # raised for a full disk
                raise OSError(str(error)) from error
        files = self._files()
        position = files.index(path)  # files ahead of it are damaged, or the run had used them
        for old in (*files[:position], *files[position + KEPT_STATES :]):
            old.unlink(missing_ok=True)

    def load(self) -> tuple[State | None, list[str]]:
        """Return the newest intact state and a message for each damaged file skipped.

        The state is None if there is no file. Raise StateError if all files are damaged.
        """
        damaged: list[str] = []
        for path in self._files():
            try:
                return _read_state(path), damaged
            except (OSError, SafetensorError, KeyError, ValueError) as error:
                damaged.append(f"{path} is damaged ({error})")
        if damaged:
            raise StateError(
                f"every saved state is damaged: {'; '.join(damaged)}; --overwrite starts afresh"
            )
        return None, []

    def clear(self) -> None:
        """Delete every state."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """List the files, the newest first."""
        return sorted(self.folder.glob("*.safetensors"), reverse=True)


def _read_state(path: Path) -> State:
    with safe_open(path, "pt") as file:
        metadata: Mapping[str, str] = file.metadata() or {}
        names = file.keys()  # safe_open returns no dict and cannot be iterated itself
        tensors = {name: file.get_tensor(name) for name in names}
    state = State(tensors, json.loads(metadata["values"]))
    if state.digest() != metadata["sha256"]:
        raise ValueError("its checksum does not match its content")
    return state

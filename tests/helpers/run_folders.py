"""What a run's folder holds, in a form that can be compared."""

import hashlib
import json

from safetensors.torch import load_file

from train.checkpointing import CHECKPOINTS
from train.state import StateStore

TIMING = {"seconds", "patches_per_second"}


def read_lines(folder):
    """Read the lines of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_timing(records):
    return [{k: v for k, v in record.items() if k not in TIMING} for record in records]


def hash_tensors(tensors):
    return {
        name: (t.dtype, tuple(t.shape), hashlib.sha256(t.numpy().tobytes()).hexdigest())
        for name, t in tensors.items()
    }


def list_temporary_files(folder):
    """List the files being written, or left by a process that was killed."""
    return [p for place in (folder, folder / "resume") for p in place.glob(".*.tmp")]


def read_outcome(folder):
    """Read all of a run that must not depend on interruptions."""
    assert not list_temporary_files(folder)
    state, damaged = StateStore(folder / "resume").load()
    assert not damaged
    return {
        "state": hash_tensors(state.tensors),
        "values": state.values["trainer"],
        "records": without_timing(state.values["records"]),
        "metrics": without_timing(read_lines(folder)),
        "best epoch": state.values["best"],
        **{name: hash_tensors(load_file(folder / name)) for name in CHECKPOINTS},
    }


def count_saved_steps(folder):
    """Return the steps of the newest state; -1 if there is none."""
    return max((int(p.stem) for p in (folder / "resume").glob("*.safetensors")), default=-1)


def read_contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

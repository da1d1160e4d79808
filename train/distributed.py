"""Distributed training with `torchrun`: several processes share one run.

Each process holds the whole data set and takes its shard of every batch; the summed gradients are
those of a single process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor


class ProcessGroup:
    """The processes of one run; in a group of one every operation returns its input.

    Attributes:
        rank: the number of this process, from 0; rank 0 writes the files and prints.
        world_size: the number of processes.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """Join the processes that torchrun started, if any; NCCL on GPUs, Gloo on CPUs."""
        if "WORLD_SIZE" not in os.environ:
            return cls()
        if not dist.is_initialized():
            # If torch's optimisers import this module after the group exists, it keeps a reference
            # to the group beyond `leave`, and Gloo's threads can crash the process at exit.
            import_module("torch.distributed.nn.functional")
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Leave the group."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def is_single(self) -> bool:
        """Whether this is the only process."""
        return self.world_size == 1

    def shard(self, values: Tensor) -> Tensor:
        """Return this process's part of `values` along the first axis; it may be empty."""
        return values.tensor_split(self.world_size)[self.rank]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors`, all of one dtype, by its sum over all processes."""
        if self.is_single:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        parts = flat.split([t.numel() for t in tensors])
        torch._foreach_copy_(
            list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)]
        )

    def gather(self, shard: Tensor, count: int) -> Tensor:
        """Return all shards of a tensor with `count` rows as one tensor, in every process."""
        if self.is_single:
            return shard
        whole = shard.new_zeros(count, *shard.shape[1:])
        self.shard(whole).copy_(shard)
        dist.all_reduce(whole)
        return whole

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether `flag` is set in any process."""
        if self.is_single:  # no wait for the GPU
            return flag
        count = torch.tensor(float(flag), device=device)
        self.all_reduce([count])
        return count.item() > 0


SINGLE_PROCESS = ProcessGroup()


def local_device(device: torch.device) -> torch.device:
    """Return the GPU that torchrun assigns to this process if `device` is "cuda", else `device`."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device

"""Several processes on one run, as `torchrun` starts them.

Each holds the whole set and takes its share of every batch; what they compute adds up to what one
process would have computed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor


class ProcessGroup:
    """This process's place among `world` of them; one that is alone passes everything through.

    Attributes:
        rank: from 0; the first one writes files and speaks.
        world: how many processes there are.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """Meet the others that torchrun started, if it did; NCCL on GPUs, Gloo on processors."""
        if "WORLD_SIZE" not in os.environ:
            return cls()
        if not dist.is_initialized():
            # Were this imported later, as torch's optimisers do, its functions would hold the group
            # beyond `leave`, and with it Gloo's threads, which may crash a process at its end.
            import_module("torch.distributed.nn.functional")
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Part from the others in good order."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world == 1

    def share(self, values: Tensor) -> Tensor:
        """This process's part of `values` along the first axis; empty where there are too few."""
        return values.tensor_split(self.world)[self.rank]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors`, of one dtype, by its sum over all processes."""
        if self.alone:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        parts = flat.split([t.numel() for t in tensors])
        torch._foreach_copy_(
            list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)]
        )

    def collect(self, part: Tensor, count: int) -> Tensor:
        """The parts of all processes, as `share` cut them from `count` rows, in every process."""
        if self.alone:
            return part
        whole = part.new_zeros(count, *part.shape[1:])
        self.share(whole).copy_(part)
        dist.all_reduce(whole)
        return whole

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is set in any process."""
        if self.alone:  # nobody to ask, and no GPU to wait for
            return flag
        count = torch.tensor(float(flag), device=device)
        self.add([count])
        return count.item() > 0


SINGLE_PROCESS = ProcessGroup()


def local_device(device: torch.device) -> torch.device:
    """The GPU that torchrun means for this process, where `device` is just "cuda"."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device

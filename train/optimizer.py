"""What moves the weights: optimisers, and the learning rate as a function of the step.

O channels out, C channels in, kz and ka the sides of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from train.experiments import Experiment, Linear


class KernelMuon(torch.optim.Muon):
    """Muon on convolution kernels, each taken as a matrix (O, C kz ka).

    Muon steps along the nearest orthogonal matrix to the momentum (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/); torch's works on matrices only.

    Args:
        kernels: (O, C, kz, ka), dense; changed in place.
        lr: its own scale, unlike Adam's: 0.02 is the usual one.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float) -> None:
        self.kernels = list(kernels)
        # Views of the kernels' memory: what Muon does to them it does to the kernels.
        matrices = [nn.Parameter(_matrix(k.detach(), k)) for k in self.kernels]
        super().__init__(matrices, lr=lr, weight_decay=0.0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step by the kernels' gradients."""
        for matrix, kernel in zip(self.param_groups[0]["params"], self.kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = _matrix(kernel.grad, kernel)
        return super().step(closure)


def _matrix(values: Tensor, kernel: Tensor) -> Tensor:
    """Values (O, C, kz, ka) as (O, C kz ka), in the order in which `kernel` lies in memory."""
    return (values.permute(0, 2, 3, 1) if _channels_last(kernel) else values).flatten(1)


def _unmatrix(matrix: Tensor, kernel: Tensor) -> Tensor:
    """The inverse of `_matrix`, a view."""
    out, channels, *sides = kernel.shape
    if _channels_last(kernel):
        return matrix.view(out, *sides, channels).permute(0, 3, 1, 2)
    return matrix.view(kernel.shape)


def _channels_last(kernel: Tensor) -> bool:
    return kernel.is_contiguous(memory_format=torch.channels_last)


def make_optimizers(
    experiment: Experiment, model: nn.Module, *, fused: bool, capturable: bool
) -> list[torch.optim.Optimizer]:
    """Adam for everything, or Muon for the kernels between many channels and Adam for the rest.

    Args:
        fused: let one kernel update all weights.
        capturable: keep Adam's counters and rate on the device, as CUDA graphs need them.
    """
    kernels: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for p in model.parameters():
        wide = p.ndim == 4 and min(p.shape[:2]) > 1
        (kernels if experiment.muon and wide else others).append(p)
    rate = torch.tensor(experiment.learning_rate, device=others[0].device)
    adam = torch.optim.Adam(
        others,
        rate if capturable else experiment.learning_rate,
        fused=fused or None,
        capturable=capturable,
    )
    if not experiment.muon:
        return [adam]
    return [adam, KernelMuon(kernels, experiment.muon)]


def rate_factor(schedule: Linear, step: int, steps: int) -> float:
    """What the learning rate is multiplied with at `step` (from 0) of `steps`.

    It rises linearly over the share `warmup` of all steps and falls linearly to reach 0 just after
    the last one.

    >>> [rate_factor(Linear(warmup=0.5), step, 4) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    rising = max(1, round(schedule.warmup * steps))
    return min((step + 1) / rising, (steps - step) / max(1, steps - rising))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimiser of `make_optimizers`."""
    (group,) = optimizer.param_groups
    if isinstance(group["lr"], Tensor):  # a CUDA graph reads it where it is
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers, as "<weight>.<kind>" and in the weight's shape; not copied."""
    saved = optimizer.state_dict()["state"]
    named = {f"{i}.{kind}": value for i, kinds in saved.items() for kind, value in kinds.items()}
    if isinstance(optimizer, KernelMuon):
        return {n: _unmatrix(v, optimizer.kernels[int(n.split(".")[0])]) for n, v in named.items()}
    return named


def load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """The inverse of `moments`."""
    (group,) = optimizer.param_groups
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in saved.items():
        index, kind = name.split(".")
        if isinstance(optimizer, KernelMuon):
            kernel = optimizer.kernels[int(index)]
            value = _matrix(torch.empty_like(kernel).copy_(value), kernel)
        elif value.ndim:  # a fused optimiser needs it laid out in memory as the weights are
            value = torch.empty_like(group["params"][int(index)]).copy_(value)
        state.setdefault(int(index), {})[kind] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def average_model(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` that follows its weights as an exponential moving average.

    The average forgets faster at first, when the weights are still far from good: its decay after
    n updates is the lesser of `decay` and (1 + n) / (10 + n).
    """

    def follow(averages: Any, current: Any, count: Any) -> None:
        near = min(decay, (1 + count.item()) / (10 + count.item()))
        torch._foreach_lerp_(averages, current, 1 - near)

    return AveragedModel(model, multi_avg_fn=follow)

"""Optimisers, their state, and a moving average of the weights.

O output channels, C input channels, kz and ka the height and width of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from train.experiments import Experiment


class KernelMuon(torch.optim.Muon):
    """Muon on convolution kernels, each taken as a matrix (O, C kz ka).

    Muon steps along the orthogonal matrix nearest to the momentum (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/); torch's class takes matrices only.

    Args:
        kernels: (O, C, kz, ka), dense; changed in place.
        lr: on a scale other than Adam's; 0.02 is usual.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float) -> None:
        self.kernels = list(kernels)
        # Views of the kernels' memory, so Muon updates the kernels themselves.
        matrices = [nn.Parameter(_as_matrix(k.detach(), k)) for k in self.kernels]
        super().__init__(matrices, lr=lr, weight_decay=0.0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the kernels by their gradients."""
        for matrix, kernel in zip(self.param_groups[0]["params"], self.kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = _as_matrix(kernel.grad, kernel)
        return super().step(closure)


def _as_matrix(values: Tensor, kernel: Tensor) -> Tensor:
    """Return values (O, C, kz, ka) as (O, C kz ka), in the memory order of `kernel`."""
    return (values.permute(0, 2, 3, 1) if _is_channels_last(kernel) else values).flatten(1)


def _as_kernel(matrix: Tensor, kernel: Tensor) -> Tensor:
    """Invert `_as_matrix`; the result is a view."""
    out, channels, *size = kernel.shape
    if _is_channels_last(kernel):
        return matrix.view(out, *size, channels).permute(0, 3, 1, 2)
    return matrix.view(kernel.shape)


def _is_channels_last(kernel: Tensor) -> bool:
    return kernel.is_contiguous(memory_format=torch.channels_last)


def make_optimizers(
    experiment: Experiment, model: nn.Module, *, fused: bool, capturable: bool
) -> list[torch.optim.Optimizer]:
    """Make Adam for all weights, or Muon for kernels between many channels and Adam for the rest.

    Args:
        fused: update all weights in one kernel.
        capturable: keep Adam's counters and learning rate on the device, as CUDA graphs require.
    """
    kernels: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for p in model.parameters():
        is_wide_kernel = p.ndim == 4 and min(p.shape[:2]) > 1
        (kernels if experiment.muon and is_wide_kernel else others).append(p)
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


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimiser made by `make_optimizers`."""
    (group,) = optimizer.param_groups
    if isinstance(group["lr"], Tensor):  # a CUDA graph reads this very tensor
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def get_moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state by "<weight>.<kind>", in the weight's shape, not copied."""
    saved = optimizer.state_dict()["state"]
    named = {f"{i}.{kind}": value for i, kinds in saved.items() for kind, value in kinds.items()}
    if isinstance(optimizer, KernelMuon):
        return {n: _as_kernel(v, optimizer.kernels[int(n.split(".")[0])]) for n, v in named.items()}
    return named


def load_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Load the state that `get_moments` returned."""
    (group,) = optimizer.param_groups
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in saved.items():
        index, kind = name.split(".")
        if isinstance(optimizer, KernelMuon):
            kernel = optimizer.kernels[int(index)]
            value = _as_matrix(torch.empty_like(kernel).copy_(value), kernel)
        elif value.ndim:  # a fused optimiser needs the memory layout of the weights
            value = torch.empty_like(group["params"][int(index)]).copy_(value)
        state.setdefault(int(index), {})[kind] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def make_averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of `model` that keeps an exponential moving average of its weights.

    The decay after n updates is min(decay, (1 + n) / (10 + n)), so that the average forgets the
    first, poor weights faster.
    """

    def update(averages: Any, current: Any, count: Any) -> None:
        current_decay = min(decay, (1 + count.item()) / (10 + count.item()))
        torch._foreach_lerp_(averages, current, 1 - current_decay)

    return AveragedModel(model, multi_avg_fn=update)

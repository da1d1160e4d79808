"""What every architecture promises.

B batch, C channel, Z depth (vertical), A azimuth (horizontal, circular).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from geoseg.card import Card

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
}


class Model(nn.Module):
    """A network from standardised images (B, C, Z, A) to logits (B, out_channels, Z, A).

    Both are float32; nothing squashes the logits. `arguments` are those the model was made with,
    defaults included, so that a checkpoint can make it again; `card` is what its checkpoint says of
    it, or None for a model that was not loaded from one.
    """

    name: ClassVar[str]
    arguments: dict[str, Any]
    card: Card | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        """Keep the arguments: here, so that no architecture can forget one."""
        self = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        self.__dict__["arguments"] = dict(list(bound.arguments.items())[1:])
        self.__dict__["card"] = None
        return self

    def count_parameters(self) -> int:
        """The number of trainable values."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def receptive_field(self) -> tuple[int, int]:
        """The (horizontal, vertical) extent in pixels of the input that one output pixel can see.

        Found by the gradient of the centre of the output: with positive weights, under which no
        ReLU closes and nothing cancels, it is above zero at every input pixel that counts. A field
        as large as 256 is reported as 256.
        """
        probe = copy.deepcopy(self).double().cpu()
        for parameter in probe.parameters():
            nn.init.constant_(parameter, 1 / parameter[0].numel())
        channels = next(probe.parameters()).shape[1]
        extent = (0, 0)
        for size in (64, 128, 256):
            image = torch.ones(1, channels, size, size, dtype=torch.float64, requires_grad=True)
            centre = probe(image)[..., size // 2, size // 2].sum()
            (gradient,) = torch.autograd.grad(centre, image)
            seen = (gradient != 0).any(1).any(0)
            extent = (int(seen.any(0).sum()), int(seen.any(1).sum()))
            if max(extent) < size:
                break
        return extent


def activation_named(name: str) -> nn.Module:
    """A fresh activation, which overwrites its input; ValueError lists the choices."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](inplace=True)


def same_padding(kernel_size: int) -> int:
    """The padding that keeps an image's size; ValueError for a kernel without a middle."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel size {kernel_size} has no middle; take an odd one, such as 3 or 5"
        )
    return kernel_size // 2


def check_positive(**sizes: int) -> None:
    """ValueError, with its name, for the first of `sizes` that is below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")

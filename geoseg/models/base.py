"""The contract of every architecture.

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

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


class Model(nn.Module):
    """A network from standardised images (B, C, Z, A) to logits (B, out_channels, Z, A).

    Both are float32. `arguments` are those of the constructor, defaults included, so that a
    checkpoint can rebuild the model; `card` is the card of its checkpoint, or None for a model that
    was not loaded from one.
    """

    name: ClassVar[str]
    arguments: dict[str, Any]
    card: Card | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        """Check and store the arguments: here, so that no architecture has to."""
        self = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        for name, value in arguments.items():
            sizes = value if isinstance(value, list | tuple) else [value]
            if not sizes or any(type(size) is int and size < 1 for size in sizes):
                raise ValueError(f"{name} is {value}; give at least 1")
        self.__dict__.update(arguments=arguments, card=None)
        return self

    def count_parameters(self) -> int:
        """Return the number of trainable values."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def receptive_field(self) -> tuple[int, int]:
        """Return the (horizontal, vertical) extent in pixels of the input of one output pixel.

        Computed from the gradient of the centre of the output: with positive weights, under which
        every ReLU is active and nothing cancels, it is above zero at every input pixel that
        matters. The largest field that is reported is 256.
        """
        model = copy.deepcopy(self).double().cpu()
        for parameter in model.parameters():
            nn.init.constant_(parameter, 1 / parameter[0].numel())
        channels = next(model.parameters()).shape[1]
        extent = (0, 0)
        for size in (64, 128, 256):
            image = torch.ones(1, channels, size, size, dtype=torch.float64, requires_grad=True)
            centre = model(image)[..., size // 2, size // 2].sum()
            (gradient,) = torch.autograd.grad(centre, image)
            field = (gradient != 0).any(1).any(0)
            extent = (int(field.any(0).sum()), int(field.any(1).sum()))
            if max(extent) < size:
                break
        return extent


def make_activation(name: str) -> nn.Module:
    """Return a new in-place activation; ValueError lists the choices."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](inplace=True)


def same_padding(kernel_size: int) -> int:
    """Return the padding that keeps an image's size; ValueError for an even kernel size."""
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel size {kernel_size} is not odd; use an odd one, such as 3 or 5")
    return kernel_size // 2

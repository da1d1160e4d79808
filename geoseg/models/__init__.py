"""Every architecture, by the name in its checkpoints."""

from __future__ import annotations

from typing import Any

from geoseg.models.base import Model
from geoseg.models.flexible_unet import FlexibleUNet
from geoseg.models.micro import Micro
from geoseg.models.ring_unet import RingUNet
from geoseg.models.stacked import Stacked
from geoseg.models.unet import UNet
from geoseg.models.vanilla import Vanilla

MODELS: tuple[type[Model], ...] = (Vanilla, Stacked, UNet, FlexibleUNet, Micro, RingUNet)

__all__ = ["MODELS", "Model", "create_model"]


def create_model(name: str, **arguments: Any) -> Model:
    """Create the architecture `name`; arguments that are not given have their defaults.

    Raises ValueError that lists the choices for an unknown name or argument.

    >>> create_model("vanilla").count_parameters()
    260161
    """
    classes = {cls.name: cls for cls in MODELS}
    if name not in classes:
        raise ValueError(f"unknown architecture {name!r}; choose one of {', '.join(classes)}")
    try:
        return classes[name](**arguments)
    except TypeError as error:
        choices = ", ".join(classes[name]().arguments)
        raise ValueError(f"{name}: {error}; its arguments are {choices}") from error

"""The original project's names of architectures, arguments and weights, and geoseg's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from geoseg.models import Model, create_model

# The original's class -> our architecture; below, its arguments and weights -> ours.
_ARCHITECTURES = {
    "VanillaConvolutionStack": "vanilla",
    "StackedConvolutions": "stacked",
    "UNet": "unet",
    "FlexibleUNET": "flexible_unet",
    "MicroConv": "micro",
}
_ARGUMENTS = {
    "vanilla": {"ch_in": "in_channels", "ch_out": "out_channels", "h_dim": "widths"},
    "stacked": {
        "ch_in": "in_channels",
        "ch_out": "out_channels",
        "h_dim": "width",
        "num_layers": "layers",
        "k_conv_h": "kernel_azimuth",
        "k_conv_v": "kernel_depth",
        "residual": "residual",
    },
    "unet": {
        "ch_in": "in_channels",
        "ch_out": "out_channels",
        "channels_extension": "width",
        "num_layers": "scales",
        "k_conv_ds": "kernel_down",
        "k_conv_us": "kernel_up",
    },
    "flexible_unet": {
        "thickness": "width",
        "encoders": "encoders",
        "decoders": "decoders",
        "bottleneck_depth": "bottleneck",
        "refinement_stage_depth": "refinement",
    },
    "micro": {"h_dim": "width"},
}
# Arguments of the original with only one value in its experiments.
_FIXED = {"flexible_unet": {"padding": True, "bias": True}}
_WEIGHTS = {
    "vanilla": [(r"conv_stack\.(\d+)\.conv", r"convolutions.\1")],
    "stacked": [
        (r"conv_in_modality", "layers.0"),
        (r"conv_out_modality", "layers.-1"),
        (r"conv_stack\.(\d+)", r"layers.+\1"),
        (r"conv_h", "azimuth"),
        (r"conv_v", "depth"),
    ],
    "unet": [
        (r"encoder_list\.(\d+)\.conv_block\.conv", r"encoders.\1"),
        (r"decoder_list\.(\d+)\.conv_block\.conv", r"decoders.\1"),
        (r"bottleneck\.conv", "bottleneck"),
        (r"target_modality_conv", "head"),
    ],
    "flexible_unet": [
        (r"(en|de)coder_list\.(\d+)\.conv_block\.conv_stage\.(\d+)\.conv", r"\1coders.\2.\3"),
        (r"bottleneck\.conv_stage\.(\d+)\.conv", r"bottleneck.\1"),
        (r"refinement_stage\.conv_stage\.(\d+)\.conv", r"refinement.\1"),
    ],
    "micro": [
        (r"conv1", "down.0"),
        (r"conv2", "down.2"),
        (r"conv3", "bottom.0"),
        (r"conv4", "bottom.2"),
        (r"up1", "rise"),
        (r"conv5", "up.0"),
        (r"conv6", "up.2"),
        (r"conv7", "head"),
    ],
}


def create_original(class_name: str, arguments: Mapping[str, Any]) -> Model:
    """Create our model from the class name and the arguments of one of the original's.

    Raise ValueError for a class or an argument without a counterpart.
    """
    if class_name not in _ARCHITECTURES:
        choices = ", ".join(_ARCHITECTURES)
        raise ValueError(f"unknown original architecture {class_name!r}; choose one of {choices}")
    architecture = _ARCHITECTURES[class_name]
    names, fixed = _ARGUMENTS[architecture], _FIXED.get(architecture, {})
    for name in fixed.keys() & arguments:
        if arguments[name] != fixed[name]:
            raise ValueError(f"{class_name} with {name} {arguments[name]} has no counterpart")
    arguments = {name: value for name, value in arguments.items() if name not in fixed}
    unknown = sorted(set(arguments) - set(names))
    if unknown:
        raise ValueError(f"{class_name} has no argument {unknown[0]!r}; it has {', '.join(names)}")
    return create_model(architecture, **{names[k]: v for k, v in arguments.items()})


def rename_weights(model: Model, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the original's weights for `load_state_dict` of `model`.

    They were trained on raw values: save such a model with `geoseg.normalisation.RAW`.
    """
    return {_rename(model, name): value for name, value in weights.items()}


def _rename(model: Model, name: str) -> str:
    for pattern, ours in _WEIGHTS[model.name]:
        name = re.sub(f"^{pattern}(?=\\.)|(?<=\\.){pattern}(?=\\.)", ours, name)
    # The original's first and last layers have names of their own; ours are items of one list.
    name = re.sub(r"layers\.\+(\d+)", lambda m: f"layers.{int(m[1]) + 1}", name)
    return name.replace("layers.-1", f"layers.{model.arguments.get('layers', 0) - 1}")

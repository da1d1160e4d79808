"""The original project's names of weights, and geoseg's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from geoseg.models import Model

# By architecture: patterns of the original's names of weights, and geoseg's.
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


def rename_weights(model: Model, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the original's weights for `load_state_dict` of `model`.

    They were trained on raw values: save such a model with `geoseg.normalisation.RAW`.
    """
    return {_rename(model, name): value for name, value in weights.items()}


def _rename(model: Model, name: str) -> str:
    for pattern, ours in _WEIGHTS[model.name]:
        name = re.sub(rf"\b{pattern}(?=\.)", ours, name)
    # The original's first and last layers have names of their own; ours are items of one list.
    name = re.sub(r"layers\.\+(\d+)", lambda m: f"layers.{int(m[1]) + 1}", name)
    return name.replace("layers.-1", f"layers.{model.arguments.get('layers', 0) - 1}")

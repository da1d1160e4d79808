"""Create geoseg's models from the original's names, for its golden files."""

from geoseg import create_model

# The original's class -> our architecture; below, its arguments -> ours.
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


def create_original(class_name, arguments):
    """Create our model from the class name and the arguments of one of the original's."""
    architecture = _ARCHITECTURES[class_name]
    names, fixed = _ARGUMENTS[architecture], _FIXED.get(architecture, {})
    assert {name: arguments[name] for name in fixed.keys() & arguments}.items() <= fixed.items()
    ours = {names[k]: v for k, v in arguments.items() if k not in fixed}
    return create_model(architecture, **ours)

"""The model of each experiment of the original project."""

from __future__ import annotations

from typing import Any

_RESIDUAL = {"width": 16, "layers": 6, "residual": True}
_LIGHT = {"encoders": (1, 1), "decoders": (1, 1)}
_LIGHT_THREE = {"encoders": (1, 1, 1), "decoders": (1, 1, 1)}
_DEEP = {"encoders": (8, 4, 2), "decoders": (2, 4, 8)}
_STUDENT = {"encoders": (2, 1, 1), "decoders": (2, 1, 1)}

_MODELS: tuple[tuple[str, dict[str, Any], tuple[int, ...]], ...] = (
    ("vanilla", {}, (10, *range(300, 307))),
    (
        "stacked",
        {},
        (32, 105, *range(110, 113), *range(200, 205), 206, 600, 610, 620, 624, 700),
    ),
    ("stacked", {"width": 128}, (30, 31)),
    ("stacked", {"width": 64, "layers": 3}, (100,)),
    ("stacked", {"width": 64}, (101,)),
    ("stacked", {"width": 32}, (102,)),
    ("stacked", {"layers": 3}, (103,)),
    ("stacked", {"layers": 4}, (104,)),
    ("stacked", _RESIDUAL, (106,)),
    ("stacked", {**_RESIDUAL, "width": 32}, (107,)),
    ("stacked", {**_RESIDUAL, "width": 64}, (108,)),
    ("stacked", {**_RESIDUAL, "layers": 8}, (109,)),
    ("unet", {}, (0, 1, 2, 601, 602, 611, 621, 622, 623, 625, 703)),
    ("unet", {"width": 8}, (3,)),
    ("unet", {"width": 32}, (4, 5, 6, 400, 401)),
    ("unet", {"width": 64}, (40, 402, 403, 404, 702)),
    ("flexible_unet", {}, (50, 54, 711)),
    ("flexible_unet", {"width": 4}, (51,)),
    ("flexible_unet", {"width": 8}, (1000, 2000)),
    ("flexible_unet", {"width": 64}, (53, 60, 61, 62)),
    ("flexible_unet", {"encoders": (4, 2), "decoders": (2, 4)}, (52,)),
    ("flexible_unet", {"refinement": 3}, (712, 713)),
    ("flexible_unet", _DEEP, (55,)),
    ("flexible_unet", {**_DEEP, "width": 32}, (63,)),
    ("flexible_unet", {**_DEEP, "refinement": 4}, (70,)),
    ("flexible_unet", {"encoders": (16, 8, 4), "decoders": (4, 8, 16)}, (71,)),
    ("flexible_unet", _LIGHT, (704, 705, 706, 707, 1005)),
    ("flexible_unet", {**_LIGHT, "width": 4}, (900,)),
    ("flexible_unet", _LIGHT_THREE, (708, 709)),
    ("flexible_unet", {**_LIGHT_THREE, "width": 64}, (710,)),
    ("flexible_unet", _STUDENT, (1001, 1002, 1003, 1004, 2001)),
    ("micro", {}, (20, *range(500, 504), 701)),
)


def model_of(experiment: int) -> tuple[str, dict[str, Any]]:
    """Return the architecture and the arguments for `create_model` of an experiment.

    Raise ValueError, with the numbers of all experiments, if there is no such experiment.

    >>> model_of(402)
    ('unet', {'width': 64})
    """
    for architecture, arguments, numbers in _MODELS:
        if experiment in numbers:
            return architecture, dict(arguments)
    known = ", ".join(map(str, sorted(number for row in _MODELS for number in row[2])))
    raise ValueError(f"the original has no experiment {experiment}; it has {known}")

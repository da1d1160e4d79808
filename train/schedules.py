"""Learning-rate schedules."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plateau:
    """Multiply the learning rate by `factor` after more than `patience` epochs without progress.

    Progress is a lower validation loss: torch's `ReduceLROnPlateau` with its other defaults.
    """

    factor: float
    patience: int


@dataclass(frozen=True)
class Linear:
    """Raise the learning rate over the first share `warmup` of all steps, then lower it to zero."""

    warmup: float


def learning_rate_factor(schedule: Linear, step: int, steps: int) -> float:
    """Return the factor of the learning rate at `step` (from 0) of `steps`.

    It rises linearly over the share `warmup` of all steps, then falls linearly to reach 0 just
    after the last step.

    >>> [learning_rate_factor(Linear(warmup=0.5), step, 4) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warmup_steps = max(1, round(schedule.warmup * steps))
    return min((step + 1) / warmup_steps, (steps - step) / max(1, steps - warmup_steps))

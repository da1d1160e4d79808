"""How runs are tracked with Weights & Biases: what the command line and the environment say."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

PROJECT = "geoseg"
Mode = Literal["online", "offline", "disabled"]
_MODES: Mapping[str, Mode] = {  # what WANDB_MODE may be, wandb's older words among it
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


@dataclass(frozen=True)
class Tracking:
    """How the runs of one command are tracked with Weights & Biases.

    Attributes:
        mode: "online" goes offline by itself where there is no login or no network.
        project, entity: where to; None leaves the entity to wandb.
        group: what the user calls the runs of this command, if anything.
        command: what they are called otherwise, where there are several.
        tags: beside the architecture's.
    """

    mode: Mode = "disabled"
    project: str = PROJECT
    entity: str | None = None
    group: str | None = None
    command: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def wanted(self) -> bool:
        """Whether anything is to be tracked."""
        return self.mode != "disabled"

    @property
    def environment(self) -> dict[str, str]:
        """What tells another process with the same options that its runs belong to these."""
        return {"WANDB_RUN_GROUP": self.command} if self.command else {}


UNTRACKED = Tracking()


def add_tracking_arguments(parser: argparse.ArgumentParser) -> None:
    """Add -nowb and the options of Weights & Biases."""
    group = parser.add_argument_group(
        "Weights & Biases", "Each option overrules wandb's own environment variable."
    )
    choice = group.add_mutually_exclusive_group()
    choice.add_argument("-nowb", "--no-wandb", action="store_true", help="do not track the run")
    choice.add_argument(
        "--wandb-mode",
        choices=("online", "offline", "disabled"),
        help="default: WANDB_MODE, or online; without a login or a network it is offline",
    )
    group.add_argument(
        "--wandb-project", metavar="NAME", help=f"default: WANDB_PROJECT, or {PROJECT}"
    )
    group.add_argument(
        "--wandb-entity",
        metavar="NAME",
        help="user or team (default: WANDB_ENTITY, or the login's own)",
    )
    group.add_argument(
        "--wandb-group",
        metavar="NAME",
        help="default: WANDB_RUN_GROUP, or one name for all runs of this command",
    )
    group.add_argument(
        "--wandb-tags",
        nargs="+",
        metavar="TAG",
        help="beside the architecture (default: WANDB_TAGS, with commas between)",
    )


def choose_tracking(
    arguments: argparse.Namespace, experiments: Sequence[int], console: Console
) -> Tracking:
    """What command line and environment say.

    `experiments` are the numbers of the command's; several of them, or several folds, are a group.
    """
    said = os.environ.get("WANDB_MODE") or "online"
    mode = "disabled" if arguments.no_wandb else arguments.wandb_mode or _MODES.get(said)
    if mode is None:
        mode = "disabled"  # wandb itself would refuse to start
        console.print(
            f"WANDB_MODE is {said!r}, not online, offline or disabled: nothing is tracked."
        )
    several = len(experiments) * (arguments.folds or 1) > 1
    name = f"{'-'.join(map(str, experiments))[:80]}-{time.strftime('%Y%m%d-%H%M%S')}"
    return Tracking(
        mode,
        arguments.wandb_project or os.environ.get("WANDB_PROJECT") or PROJECT,
        arguments.wandb_entity or os.environ.get("WANDB_ENTITY"),
        arguments.wandb_group,
        os.environ.get("WANDB_RUN_GROUP") or (name if several else None),
        tuple(arguments.wandb_tags or filter(None, os.environ.get("WANDB_TAGS", "").split(","))),
    )


def tracking_settings() -> dict[str, str]:
    """What the environment says of tracking, but the key: what another machine is to be told."""
    names = ("BASE_URL", "ENTITY", "MODE", "PROJECT", "RUN_GROUP", "TAGS")
    found = {f"WANDB_{name}": os.environ.get(f"WANDB_{name}", "") for name in names}
    return {name: value for name, value in found.items() if value}

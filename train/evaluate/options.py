"""The command line of `python -m train.evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from geoseg.atomic_files import check_writable
from geoseg.checkpoint import resolve_checkpoint
from geoseg.hub import is_hub_address
from geoseg.metrics import EmptyRule
from train.evaluate.submission import submission_paths
from train.report.charts import require_matplotlib


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score, on what, and what to write; the parser's help describes each option.

    `checkpoints` are resolved to local files. Without `data` and `log`, new synthetic wells are
    scored. `shifts` is None for all.
    """

    checkpoints: tuple[Path, ...]
    data: Path | None
    split: str
    labels: Path | None
    log: Path | None
    log_label: Path | None
    twins: bool
    json: Path | None
    html: Path | None
    submission: Path | None
    record: str | None
    empty: EmptyRule
    device: str
    robustness: bool
    shifts: int | None

    def check_outputs(self, models: tuple[str, ...]) -> None:
        """Check before the scoring that every output can be written and replaces no other file.

        Raises ValueError for a file that is also read or written twice, OSError for one that cannot
        be written.
        """
        inputs = (*self.checkpoints, self.labels, self.log, self.log_label)
        outputs = [self.json, self.html]
        if self.submission:
            outputs += submission_paths(self.submission, models).values()
        used = {path.resolve() for path in inputs if path}
        for path in filter(None, outputs):
            if path.resolve() in used:
                raise ValueError(f"{path} is read, or written twice; choose another file to write")
            used.add(path.resolve())
            check_writable(path)


def parse_options(argv: list[str] | None) -> EvaluateOptions:
    """Parse the command line and resolve its checkpoints.

    Exits with code 2 if options contradict each other; raises CheckpointError if a checkpoint
    cannot be resolved.
    """
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    if contradiction := _find_contradiction(arguments):
        parser.error(contradiction)
    if arguments.html:
        require_matplotlib()
    options = {
        **vars(arguments),
        "checkpoints": tuple(map(resolve_checkpoint, arguments.checkpoints)),
    }
    return EvaluateOptions(**options)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate",
        description="Score checkpoints on labelled patches or on a log. Without --data or --log "
        "the patches are synthetic, of wells that no run has seen.",
    )
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="CHECKPOINT",
        help="safetensors files, or hf://user/repo for one on the Hugging Face Hub",
    )
    _add_inputs(parser)
    _add_outputs(parser)
    parser.add_argument(
        "--empty",
        choices=get_args(EmptyRule),
        default="challenge",
        help="how the five metrics score a patch without a groove (default: challenge)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--robustness",
        "--all",
        action="store_true",
        help="also measure the effect of shifts, noise and gain; takes about fifty times as long",
    )
    parser.add_argument(
        "--rolls",
        type=int,
        metavar="N",
        dest="shifts",
        help="with --robustness: shift by N numbers of columns, evenly spaced (default: by every "
        "number)",
    )
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    inputs = parser.add_argument_group("what to score on (default: new synthetic wells)")
    inputs.add_argument("--data", type=Path, metavar="DIR", help="data set in the SLB layout")
    inputs.add_argument(
        "--split", default="validation", help="folder of --data to score on (default: validation)"
    )
    inputs.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="labels in the challenge's form, such as y_train.csv, instead of the labels/ folder",
    )
    inputs.add_argument(
        "--log",
        type=Path,
        metavar="NPY",
        help="one whole log (depth, azimuth), scored in patches of 36 rows",
    )
    inputs.add_argument(
        "--log-truth",
        type=Path,
        metavar="FILE",
        dest="log_label",
        help="the log's label, .npy, or .npz with an array mask: 0, 1, and 255 where unknown",
    )
    inputs.add_argument(
        "--no-twins",
        action="store_false",
        dest="twins",
        help="give a log of 72 columns to the models as it is; by default its even and its odd "
        "columns are two logs of 36, the 10 degrees a column of the training data",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    outputs = parser.add_argument_group("what to write")
    outputs.add_argument("--json", type=Path, metavar="FILE", help="all results")
    outputs.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="one page with tables, charts, and pictures of the best, median and worst patches",
    )
    outputs.add_argument(
        "--submission",
        type=Path,
        metavar="CSV",
        help="masks of every image in the split of --data, labelled or not, in the challenge's "
        "form; one file per model",
    )
    outputs.add_argument(
        "--record", metavar="NAME", help="save the scores in the checkpoints, under NAME"
    )


def _find_contradiction(arguments: argparse.Namespace) -> str | None:
    """Return what is wrong with the command line, if anything."""
    if arguments.record == "":
        return "--record needs a name for the scores"
    if arguments.record and arguments.empty != "challenge":
        return "--record saves scores by the challenge's rule only; omit --empty"
    if arguments.record and any(map(is_hub_address, arguments.checkpoints)):
        return "--record writes into the checkpoints; give files of your own, not hf:// addresses"
    if arguments.log and arguments.data:
        return "--log and --data are two things to score on; choose one"
    if bool(arguments.log) != bool(arguments.log_label):
        return "--log and --log-truth belong together; python -m geoseg segment needs no label"
    if not arguments.twins and not arguments.log:
        return "--no-twins applies to --log only; give a log"
    for option in ("labels", "submission"):
        if getattr(arguments, option) and not arguments.data:
            return f"--{option} applies to --data only; give a folder"
    if arguments.shifts is not None and arguments.shifts < 1:
        return f"--rolls is {arguments.shifts}; it must be at least 1"
    if arguments.shifts is not None and not arguments.robustness:
        return "--rolls applies to --robustness only; add it"
    return None

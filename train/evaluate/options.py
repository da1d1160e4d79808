"""The command line of `python -m train.evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from geoseg.atomic_files import check_writable
from geoseg.checkpoint import resolve_checkpoint
from geoseg.hub import is_hub_address
from geoseg.measurement_options import add_measurement_options, take_measurement_options
from geoseg.measurements import MeasurementOptions
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
    json: Path | None
    html: Path | None
    submission: Path | None
    record: str | None
    empty: EmptyRule
    device: str
    robustness: bool
    shifts: int | None
    measurements: MeasurementOptions

    def check_outputs(self, models: tuple[str, ...]) -> None:
        """Check before the scoring that every output can be written and replaces no other file.

        Raises ValueError for a file that is also read or written twice, or cannot be written.
        """
        outputs = [self.json, self.html]
        if self.submission:
            outputs += submission_paths(self.submission, models).values()
        inputs = (*self.checkpoints, self.labels, self.log, self.log_label)
        used = {path.resolve() for path in inputs if path}
        for path in filter(None, outputs):
            if path.resolve() in used:
                raise ValueError(f"{path} is read, or written twice; choose another file to write")
            used.add(path.resolve())
            try:
                check_writable(path)
            except OSError as error:
                raise ValueError(str(error)) from error


def parse_options(argv: list[str] | None) -> EvaluateOptions:
    """Parse the command line and resolve its checkpoints.

    Exits with code 2 if options contradict each other; raises CheckpointError if a checkpoint
    cannot be resolved.
    """
    parser = _make_parser()
    given = parser.parse_args(argv)
    for option, is_given, needed, has_needed in (
        ("--log", given.log, "--log-truth", given.log_label),
        ("--log-truth", given.log_label, "--log", given.log),
        ("--labels", given.labels, "--data", given.data),
        ("--submission", given.submission, "--data", given.data),
        ("--rolls", given.shifts is not None, "--robustness", given.robustness),
    ):
        if is_given and not has_needed:
            parser.error(f"{option} applies together with {needed} only; give both")
    if given.shifts is not None and given.shifts < 1:
        parser.error(f"--rolls is {given.shifts}; it must be at least 1")
    if given.record and given.empty != "challenge":
        parser.error("--record saves scores by the challenge's rule only; omit --empty")
    if given.record and any(map(is_hub_address, given.checkpoints)):
        parser.error("--record writes into the checkpoints; give files, not hf:// addresses")
    if given.html:
        require_matplotlib()
    checkpoints = tuple(map(resolve_checkpoint, given.checkpoints))
    values = {**vars(given), "checkpoints": checkpoints}
    measurements = take_measurement_options(values)
    return EvaluateOptions(**values, measurements=measurements)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate",
        description="Score checkpoints on labelled patches or on a log. Without --data or --log "
        "the patches are synthetic, of wells that no run has seen.",
    )
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="CHECKPOINT", help="safetensors files or hf://user/repo")
    data_or_log = parser.add_mutually_exclusive_group().add_argument
    data_or_log("--data", type=Path, metavar="DIR", help="score on a data set in the SLB layout")
    data_or_log("--log", type=Path, metavar="NPY", help="score on a log (depth, azimuth)")
    add("--split", default="validation", help="folder of --data (default: validation)")
    add("--labels", type=Path, metavar="CSV", help="labels of --data in the challenge's form")
    add(
        "--log-truth",
        type=Path,
        metavar="FILE",
        dest="log_label",
        help="the log's label, .npy, or .npz with an array mask: 0, 1, and 255 where unknown",
    )
    add("--json", type=Path, metavar="FILE", help="write all results")
    add("--html", type=Path, metavar="FILE", help="write a page of tables, charts and pictures")
    add("--submission", type=Path, metavar="CSV", help="write masks in the challenge's form")
    add("--record", metavar="NAME", help="save the scores in the checkpoints, under NAME")
    add(
        "--empty",
        choices=get_args(EmptyRule),
        default="challenge",
        help="how the five metrics score a patch without a groove (default: challenge)",
    )
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add(
        "--robustness",
        "--all",
        action="store_true",
        help="also measure the effect of shifts, noise and gain; takes about fifty times as long",
    )
    add(
        "--rolls",
        type=int,
        metavar="N",
        dest="shifts",
        help="with --robustness: shift by N numbers of columns (default: by every number)",
    )
    add_measurement_options(parser)
    return parser

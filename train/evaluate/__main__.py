"""Score checkpoints on labelled patches: `python -m train.evaluate checkpoints/*.safetensors`.

Without --data or --log the patches are synthetic ones of wells that no run has seen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console

from geoseg.atomic_files import check_writable
from geoseg.checkpoint import checkpoint_name, load_checkpoint, resolve_checkpoint, save_checkpoint
from geoseg.dataset import PatchDataset
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import find_label_errors
from geoseg.hub import is_hub_address
from geoseg.metrics import EmptyRule
from geoseg.segmenter import Segmenter
from train.evaluate import tables
from train.evaluate.assessment import Assessment, assess
from train.evaluate.data import load_evaluation_set
from train.evaluate.page import write_page
from train.evaluate.results import EvaluationResults, write_json
from train.evaluate.robustness import Robustness, examine
from train.evaluate.submission import submission_paths, write_submission
from train.report.charts import require_matplotlib


def evaluate(
    segmenter: Segmenter, dataset: PatchDataset, empty: EmptyRule = "challenge"
) -> dict[str, dict[str, float]]:
    """Scores of every model on a labelled set, at its checkpoint's threshold.

    The five metrics are means over patches; `micro_iou` and `micro_dice` pool all pixels;
    `threshold` is the one that was used. for the others see `train.evaluate.assessment`.
    """
    case = EvaluationSet.of_patches(dataset)
    return {name: a.scores for name, a in assess_all(segmenter, case, empty).items()}


def assess_all(
    segmenter: Segmenter, case: EvaluationSet, empty: EmptyRule
) -> dict[str, Assessment]:
    """Judge every model on one case."""
    return {
        name: assess(
            case, case.probability(segmenter, name), segmenter.cards[name].threshold, empty
        )
        for name in segmenter.names
    }


def investigate(
    segmenter: Segmenter, case: EvaluationSet, arguments: argparse.Namespace
) -> EvaluationResults:
    """Everything that the command line asks to know."""
    assessments = assess_all(segmenter, case, arguments.empty)
    robustness: dict[str, Robustness] = {}
    if arguments.robustness:
        for name, found in assessments.items():
            robustness[name] = examine(case, segmenter, name, found.mask, arguments.rolls)
    suspects = None
    if len(assessments) > 1:
        suspects = find_label_errors(
            torch.stack([found.probability for found in assessments.values()]),
            [found.threshold for found in assessments.values()],
            case.patches(case.truth),
        )
    return EvaluationResults(case, arguments.empty, assessments, robustness, suspects)


def record(paths: list[Path], key: str, table: dict[str, dict[str, float]], about: str) -> None:
    """Keep the scores in the checkpoints, under `key`, with what they were measured on."""
    for path in paths:
        model = load_checkpoint(path)
        card = model.card
        assert card
        entry = {**{k: round(v, 6) for k, v in table[checkpoint_name(path)].items()}, "on": about}
        told = {**card.provenance, "metrics": {**card.metrics, key: entry}}
        save_checkpoint(path, model, **told, quantisation=card.quantisation)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="CHECKPOINT",
        help="safetensors files, or hf://user/repo for one on the Hugging Face Hub",
    )
    _add_subject(parser)
    _add_outputs(parser)
    parser.add_argument(
        "--empty",
        choices=get_args(EmptyRule),
        default="challenge",
        help="what a patch without a groove is worth in the five metrics (default: challenge)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--robustness",
        "--all",
        action="store_true",
        help="also what turning the pipe, noise and gain change; takes some fifty times as long",
    )
    parser.add_argument(
        "--rolls",
        type=int,
        metavar="N",
        help="turn the pipe by N shifts only, spread evenly (default: by every column)",
    )
    arguments = parser.parse_args(argv)
    if fault := _contradiction(arguments):
        parser.error(fault)
    return arguments


def _add_subject(parser: argparse.ArgumentParser) -> None:
    subject = parser.add_argument_group("what to score on (default: fresh synthetic wells)")
    subject.add_argument("--data", type=Path, metavar="DIR", help="data set in the SLB layout")
    subject.add_argument(
        "--split", default="validation", help="folder of --data to score on (default: validation)"
    )
    subject.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="labels in the challenge's form, such as y_train.csv, instead of the labels/ folder",
    )
    subject.add_argument(
        "--log",
        type=Path,
        metavar="NPY",
        help="one whole log (depth, azimuth), scored in slices of 36 rows",
    )
    subject.add_argument(
        "--log-truth",
        type=Path,
        metavar="FILE",
        help="its mask, .npy, or .npz with an array mask: 0, 1, and 255 where it is unknown",
    )
    subject.add_argument(
        "--no-twins",
        action="store_true",
        help="show a log of 72 columns to the models whole; by default they see its even and its "
        "odd columns as two logs of 36, the 10 degrees a column that they were trained on",
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    outputs = parser.add_argument_group("what to write")
    outputs.add_argument("--json", type=Path, metavar="FILE", help="everything that was found")
    outputs.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="one page with tables, curves, and pictures of the best, median and worst patches",
    )
    outputs.add_argument(
        "--submission",
        type=Path,
        metavar="CSV",
        help="masks of every image in the split of --data, labelled or not, in the challenge's "
        "form; a file a model where there are several",
    )
    outputs.add_argument(
        "--record", metavar="NAME", help="the scores into the checkpoints, under NAME"
    )


def _contradiction(arguments: argparse.Namespace) -> str | None:
    """What is wrong with a command line, in words."""
    if arguments.record and arguments.empty != "challenge":
        return "--record keeps scores by the challenge's rule only; leave --empty away"
    if arguments.record and any(map(is_hub_address, arguments.checkpoints)):
        return "--record writes into the checkpoints; give files of your own, not hf:// addresses"
    if arguments.log and arguments.data:
        return "--log and --data name two things to score on; choose one"
    if bool(arguments.log) != bool(arguments.log_truth):
        return "--log and --log-truth belong together; train.predict needs no truth"
    if arguments.no_twins and not arguments.log:
        return "--no-twins says how to see a --log; name one"
    for option in ("labels", "submission"):
        if getattr(arguments, option) and not arguments.data:
            return f"--{option} is about the patches of --data; name their folder"
    if arguments.record == "":
        return "--record needs a name for the scores"
    if arguments.rolls is not None and arguments.rolls < 1:
        return f"--rolls is {arguments.rolls}; it must be at least 1"
    if arguments.rolls is not None and not arguments.robustness:
        return "--rolls belongs to --robustness; add it"
    return None


def main(argv: list[str] | None = None) -> int:
    """Score what the command line names; gives the exit code."""
    arguments = parse(argv)
    console = Console(highlight=False, markup=False)
    try:
        return _run(arguments, console)
    except KeyboardInterrupt:
        print("evaluate: stopped; nothing more is written.", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace, console: Console) -> int:
    try:
        if arguments.html:
            require_matplotlib()
        arguments.checkpoints = [resolve_checkpoint(name) for name in arguments.checkpoints]
        segmenter = Segmenter(arguments.checkpoints, arguments.device)
        _check_writable(arguments, segmenter)
        if arguments.submission:
            folder = arguments.data / arguments.split / "images"
            for path, rows in write_submission(segmenter, folder, arguments.submission).items():
                console.print(f"{path}: {rows:,} masks", soft_wrap=True)
            if not (arguments.labels or (folder.parent / "labels").is_dir()):
                console.print(f"{arguments.split} has no labels, so nothing is scored or written.")
                return 0
        case = load_evaluation_set(arguments, console)
        findings = investigate(segmenter, case, arguments)
    except (OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    try:
        _show(findings, console)
        if arguments.json:
            write_json(arguments.json, findings)
        if arguments.html:
            write_page(arguments.html, findings)
        if arguments.record:
            scores = {name: findings.record(name) for name in findings.assessments}
            record(arguments.checkpoints, arguments.record, scores, case.about)
    except OSError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    return 0


def _check_writable(arguments: argparse.Namespace, segmenter: Segmenter) -> None:
    """Better to fail now than after the scoring; and nothing that is read may be replaced."""
    read = [*arguments.checkpoints, arguments.labels, arguments.log, arguments.log_truth]
    taken = {path.resolve() for path in read if path}
    targets = [arguments.json, arguments.html]
    if arguments.submission:
        targets += submission_paths(arguments.submission, segmenter.names).values()
    for path in filter(None, targets):
        if path.resolve() in taken:
            raise ValueError(f"{path} is read, or written twice; choose another file to write")
        taken.add(path.resolve())
        check_writable(path)


def _show(findings: EvaluationResults, console: Console) -> None:
    """The tables, the most important one last: that is where a terminal stands."""
    assessments = findings.assessments
    if findings.suspects:
        console.print(tables.suspects_table(findings.suspects, findings.case.names), "")
    if len(next(iter(assessments.values())).wells) > 1:
        console.print(tables.wells_table(assessments), "")
    if findings.robustness:
        console.print(tables.robustness_table(findings.robustness), "")
    console.print(tables.lines_table(assessments), "")
    console.print(tables.scores_table(assessments, findings.title))


if __name__ == "__main__":
    sys.exit(main())

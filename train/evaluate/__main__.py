"""Score checkpoints on labelled patches: `python -m train.evaluate checkpoints/*.safetensors`."""

from __future__ import annotations

import sys

import torch
from rich.console import Console

from geoseg.atomic_files import atomic_write_text
from geoseg.command_line import run_command
from geoseg.dataset.folder import find_split
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import find_label_errors
from geoseg.evaluation.perturbations import measure_robustness
from geoseg.input_files import find_child
from geoseg.segmenter import Segmenter
from train.evaluate.assessment import assess_models
from train.evaluate.data import load_labelled_patches
from train.evaluate.options import EvaluateOptions, parse_options
from train.evaluate.page import make_page
from train.evaluate.results import EvaluationResults, record_scores, write_json
from train.evaluate.submission import write_submission
from train.evaluate.tables import make_tables


def main(argv: list[str] | None = None) -> int:
    """Parse, evaluate, write; return the exit code."""
    stopped = "stopped; nothing more is written"
    return run_command("evaluate", lambda: evaluate_checkpoints(parse_options(argv)), stopped)


def evaluate_checkpoints(options: EvaluateOptions) -> int:
    """Write the submission, print the tables and write the files that the options name; return 0.

    Raises OSError or ValueError for an input or an output that cannot be used.
    """
    console = Console(highlight=False, markup=False)
    segmenter = Segmenter(options.checkpoints, options.device)
    options.check_outputs(segmenter.names)
    if options.submission and options.data:
        split = find_split(options.data, options.split)
        written = write_submission(segmenter, split, options.submission, options.measurements)
        for path, rows in written.items():
            console.print(f"{path}: {rows:,} masks", soft_wrap=True)
        if not (options.labels or find_child(split, "labels")):
            console.print(f"{options.split} has no labels, so nothing is scored or written.")
            return 0
    if options.log and options.log_label:
        evaluation_set = EvaluationSet.from_log(
            options.log, options.log_label, options.measurements
        )
    else:
        dataset, description = load_labelled_patches(
            options.data, options.split, console, options.labels, options.measurements
        )
        evaluation_set = EvaluationSet.from_dataset(dataset, description)
    for note in evaluation_set.notes:
        console.print(note)
    results = compute_results(segmenter, evaluation_set, options)
    for table in make_tables(results).values():
        console.print("", table.to_rich())
    if options.json:
        write_json(options.json, results)
    if options.html:
        atomic_write_text(options.html, make_page(results))
    if options.record:
        record_scores(options.checkpoints, options.record, results)
    return 0


def compute_results(
    segmenter: Segmenter, evaluation_set: EvaluationSet, options: EvaluateOptions
) -> EvaluationResults:
    """Assess every model, and measure robustness and find label errors where that is possible."""
    assessments = assess_models(segmenter, evaluation_set, options.empty)
    robustness = {
        name: measure_robustness(evaluation_set, segmenter, name, a.mask, options.shifts)
        for name, a in assessments.items()
        if options.robustness
    }
    label_errors = None
    if len(assessments) > 1:
        label_errors = find_label_errors(
            torch.stack([a.probability for a in assessments.values()]),
            [a.threshold for a in assessments.values()],
            evaluation_set.cut_patches(evaluation_set.labels),
        )
    return EvaluationResults(evaluation_set, options.empty, assessments, robustness, label_errors)


if __name__ == "__main__":
    sys.exit(main())

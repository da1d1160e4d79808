"""Score checkpoints on labelled patches: `python -m train.evaluate checkpoints/*.safetensors`."""

from __future__ import annotations

import sys

import torch
from rich.console import Console

from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.label_errors import find_label_errors
from geoseg.evaluation.robustness import measure_robustness
from geoseg.segmenter import Segmenter
from train.evaluate import tables
from train.evaluate.assessment import assess_models
from train.evaluate.data import load_labelled_patches
from train.evaluate.options import EvaluateOptions, parse_options
from train.evaluate.page import write_page
from train.evaluate.results import EvaluationResults, record_scores, write_json
from train.evaluate.submission import write_submission


def main(argv: list[str] | None = None) -> int:
    """Parse, evaluate, write; return the exit code."""
    console = Console(highlight=False, markup=False)
    exit_code = 2
    try:
        options = parse_options(argv)
        results = evaluate_checkpoints(options, console)
        exit_code = 1
        if results is not None:
            print_tables(results, console)
            write_results(results, options)
    except KeyboardInterrupt:
        print("evaluate: stopped; nothing more is written.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return exit_code
    return 0


def evaluate_checkpoints(options: EvaluateOptions, console: Console) -> EvaluationResults | None:
    """Write the submission and compute the results; None if there are no labels to score on.

    Raises OSError or ValueError for an input that cannot be used.
    """
    segmenter = Segmenter(options.checkpoints, options.device)
    options.check_outputs(segmenter.names)
    if options.submission and options.data:
        split = options.data / options.split
        written = write_submission(segmenter, split / "images", options.submission)
        for path, rows in written.items():
            console.print(f"{path}: {rows:,} masks", soft_wrap=True)
        if not (options.labels or (split / "labels").is_dir()):
            console.print(f"{options.split} has no labels, so nothing is scored or written.")
            return None
    if options.log and options.log_label:
        evaluation_set = EvaluationSet.from_log(options.log, options.log_label, options.twins)
    else:
        dataset, description = load_labelled_patches(
            options.data, options.split, console, options.labels
        )
        evaluation_set = EvaluationSet.from_dataset(dataset, description)
    return compute_results(segmenter, evaluation_set, options)


def compute_results(
    segmenter: Segmenter, evaluation_set: EvaluationSet, options: EvaluateOptions
) -> EvaluationResults:
    """Assess every model, and measure robustness and find label errors where that is possible."""
    assessments = assess_models(segmenter, evaluation_set, options.empty)
    robustness = {}
    if options.robustness:
        for name, a in assessments.items():
            robustness[name] = measure_robustness(
                evaluation_set, segmenter, name, a.mask, options.shifts
            )
    label_errors = None
    if len(assessments) > 1:
        label_errors = find_label_errors(
            torch.stack([a.probability for a in assessments.values()]),
            [a.threshold for a in assessments.values()],
            evaluation_set.cut_patches(evaluation_set.labels),
        )
    return EvaluationResults(evaluation_set, options.empty, assessments, robustness, label_errors)


def print_tables(results: EvaluationResults, console: Console) -> None:
    """Print the tables, the most important one last, where a terminal shows it."""
    assessments, names = results.assessments, results.evaluation_set.names
    if results.label_errors:
        console.print(tables.make_label_errors_table(results.label_errors, names), "")
    if len(next(iter(assessments.values())).wells) > 1:
        console.print(tables.make_wells_table(assessments), "")
    if results.robustness:
        console.print(tables.make_robustness_table(results.robustness), "")
    console.print(tables.make_grooves_table(assessments), "")
    console.print(tables.make_scores_table(assessments, results.title))


def write_results(results: EvaluationResults, options: EvaluateOptions) -> None:
    """Write the files that the options name; OSError if one cannot be written."""
    if options.json:
        write_json(options.json, results)
    if options.html:
        write_page(options.html, results)
    if options.record:
        record_scores(options.checkpoints, options.record, results)


if __name__ == "__main__":
    sys.exit(main())

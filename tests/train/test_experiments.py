"""The table of experiments, compared with the original project's."""

import csv
import json
from dataclasses import asdict

import pytest

from geoseg.models import create_model
from tests.helpers.original_models import create_original
from train.experiments import EXPERIMENTS, FAST, ORIGINAL, find_experiments


def as_json(value):
    """Convert tuples to lists."""
    return json.loads(json.dumps(value))


@pytest.fixture(scope="module")
def rows(original):
    with (original / "experiments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows)
    return {int(row["id"]): row for row in rows}


def test_table_holds_every_original_experiment(rows):
    assert [e.id for e in ORIGINAL] == sorted(rows)


def test_ids_and_names_are_unique():
    assert len({e.id for e in EXPERIMENTS}) == len({e.name for e in EXPERIMENTS})
    assert len({e.name for e in EXPERIMENTS}) == len(EXPERIMENTS)


def test_every_architecture_has_a_fast_recipe_for_the_same_model():
    assert {e.architecture for e in FAST} == {e.architecture for e in ORIGINAL}
    for fast in FAST:
        (original,) = find_experiments([str(fast.id)[1:]])
        assert fast.name == f"{original.name}-fast"
        assert (fast.architecture, fast.arguments) == (original.architecture, original.arguments)


@pytest.mark.parametrize("experiment", ORIGINAL, ids=lambda e: e.run_name)
def test_hyperparameters_are_the_originals(rows, experiment):
    row = rows[experiment.id]
    model = experiment.create_model()
    theirs = create_original(row["architecture"], json.loads(row["arguments"]))
    assert (model.name, as_json(model.arguments)) == (theirs.name, as_json(theirs.arguments))
    assert model.count_parameters() == int(row["parameters"])
    assert experiment.epochs == int(row["epochs"])
    assert experiment.batch == int(row["batch_train"])
    assert (experiment.batch_validation or experiment.batch) == int(row["batch_validation"])
    assert row["optimizer"] == "Adam"
    assert experiment.learning_rate == float(row["learning_rate"])
    schedule = experiment.schedule and asdict(experiment.schedule)
    assert schedule == (json.loads(row["scheduler_configuration"]) if row["scheduler"] else None)
    augmentations = ["h_roll"] * experiment.roll + ["flip"] * experiment.flip
    assert " ".join(augmentations) == row["augmentations"]
    assert experiment.loss == row["loss"]
    ours = (experiment.muon, experiment.average, experiment.cycle, experiment.noise)
    assert ours == (None, None, False, 0.0)
    assert (experiment.toy_labels or "") == row["toy_labels"]
    assert str(experiment.teacher or "") == row["teacher"]
    if experiment.teacher:
        assert experiment.temperature == float(row["temperature"])
        assert experiment.distillation == float(row["distillation_weight"])


def test_receptive_fields_are_the_originals(rows):
    """The original measured up to 128 pixels; the width of a model has no influence."""
    found = {}
    for experiment in ORIGINAL:
        arguments = {k: v for k, v in experiment.arguments.items() if k != "width"}
        thin = {} if experiment.architecture == "vanilla" else {"width": 2}
        key = (experiment.architecture, json.dumps(arguments))
        if key not in found:
            found[key] = create_model(experiment.architecture, **arguments, **thin)
            found[key] = found[key].receptive_field()
        row = rows[experiment.id]
        field = (int(row["receptive_field_h"]), int(row["receptive_field_v"]))
        assert tuple(min(extent, 128) for extent in found[key]) == field, experiment.run_name


def test_experiments_are_found_once_by_id_name_or_both():
    found = find_experiments(["300", "unet", "402", "200-stacked"])
    assert [e.id for e in found] == [300, 402, 200]


def test_unknown_experiment_lists_the_choices():
    with pytest.raises(ValueError, match=r"no experiment '999'.* 402 unet"):
        find_experiments(["999"])

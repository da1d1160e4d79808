"""The table of experiments against the original's own."""

import csv
import json
from dataclasses import asdict

import pytest

from geoseg.original import create_original
from train.experiments import EXPERIMENTS, FAST, ORIGINAL, find_experiments

IDS = [*range(7), 10, 30, 31, 32, 40, *range(100, 113), *range(200, 205), 206]
IDS += [*range(300, 307), *range(400, 405)]


@pytest.fixture(scope="module")
def rows(original):
    with (original / "experiments.csv").open() as file:
        return {int(row["id"]): row for row in csv.DictReader(file)}


def test_numbers_and_names_are_unique_and_complete():
    assert [e.id for e in ORIGINAL] == IDS
    assert len({e.id for e in EXPERIMENTS}) == len({e.name for e in EXPERIMENTS})
    assert len({e.name for e in EXPERIMENTS}) == len(EXPERIMENTS)


def test_every_family_has_a_fast_recipe_for_the_same_model():
    assert {e.architecture for e in FAST} == {e.architecture for e in ORIGINAL}
    for fast in FAST:
        (original,) = find_experiments([str(fast.id)[1:]])
        assert fast.name == f"{original.name}-fast"
        assert (fast.architecture, fast.arguments) == (original.architecture, original.arguments)


@pytest.mark.parametrize("experiment", ORIGINAL, ids=lambda e: e.label)
def test_exactly_the_originals_hyperparameters(rows, experiment):
    row = rows[experiment.id]
    model = experiment.create_model()
    theirs = create_original(row["architecture"], json.loads(row["arguments"]))
    assert (model.name, model.arguments) == (theirs.name, theirs.arguments)
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
    assert not row["toy_labels"]
    assert not row["teacher"]


def test_found_by_number_name_or_both_and_once():
    found = find_experiments(["300", "unet", "402", "200-stacked"])
    assert [e.id for e in found] == [300, 402, 200]


def test_an_unknown_one_lists_the_choices():
    with pytest.raises(ValueError, match=r"no experiment '999'.* 402 unet"):
        find_experiments(["999"])

"""Files of a run at every moment: a process may die before any file operation."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from geoseg.synthetic import make_synthetic_dataset
from tests.helpers.run_folders import list_temporary_files, read_contents, read_outcome
from train.data import TrainingData
from train.experiments import find_experiments
from train.options import parse_options
from train.run import RunSettings, run_experiment
from train.signals import StopRequest
from train.state import StateError

# Two epochs of two steps.
TINY = replace(
    find_experiments(["3"])[0], arguments={"width": 2}, epochs=2, batch=20, roll=True, flip=True
)


@pytest.fixture(scope="module")
def train_tiny():
    """Return a function that trains TINY into a folder and saves after every step."""
    dataset = make_synthetic_dataset(4, 50, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    data = TrainingData(dataset.select(~validation), dataset.select(validation), "tiny")

    def train_tiny(output, *words):
        command = ["-e", "3", "-nowb", "--precision", "fp32", "--save-every", "0"]
        options = parse_options([*command, "-o", str(output), *words])
        with StopRequest() as stop:
            settings = RunSettings(options, torch.device("cpu"), stop, Console(quiet=True))
            run_experiment(TINY, data, settings)
        return output / TINY.run_name

    return train_tiny


def copy_every_moment(folder, copies, monkeypatch):
    """Copy a folder before each file operation, as a death at that moment leaves it."""
    moments = []

    def wrap(owner, name):
        original = getattr(owner, name)

        def copy_and_call(*arguments, **options):
            if not moments or read_contents(folder) != read_contents(moments[-1]):
                moments.append(shutil.copytree(folder, copies / str(len(moments)) / folder.name))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, copy_and_call)

    for owner, name in ((os, "fsync"), *((Path, n) for n in ("touch", "replace", "unlink"))):
        wrap(owner, name)
    return moments


def test_run_that_died_before_any_file_operation_ends_the_same(train_tiny, tmp_path, monkeypatch):
    expected = read_outcome(train_tiny(tmp_path / "straight"))
    folder = tmp_path / "run" / TINY.run_name
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        moments = copy_every_moment(folder, tmp_path / "moments", patch)
        train_tiny(folder.parent)
    assert len(moments) > 30
    assert sum(bool(list_temporary_files(moment)) for moment in moments) > 10
    checkpoints = set()
    for moment in moments:
        before = checkpoints
        checkpoints = {p.name for p in moment.glob("*.safetensors") if load_file(p)}
        assert before <= checkpoints
        assert read_outcome(train_tiny(moment.parent, "--resume")) == expected, moment


def test_death_while_replacing_a_run_never_mixes_the_two(train_tiny, tmp_path, monkeypatch):
    """A resumed run is the old one, or the new one, or refused."""
    old = train_tiny(tmp_path / "run", "--seed", "1")
    expected = {
        seed: read_outcome(train_tiny(tmp_path / str(seed), "--seed", str(seed))) for seed in (1, 2)
    }
    with monkeypatch.context() as patch:
        moments = copy_every_moment(old, tmp_path / "moments", patch)
        train_tiny(old.parent, "--seed", "2")
    ends = []
    for moment in moments:
        copy = shutil.copytree(moment.parent, moment.parent.with_suffix(".old"))
        for output, seed in ((moment.parent, 2), (copy, 1)):
            try:
                end = read_outcome(train_tiny(output, "--resume", "--seed", str(seed)))
            except StateError as error:
                ends.append("no state" if "no state to resume" in str(error) else "other")
            else:
                assert end == expected[seed], moment
                ends.append(seed)
    assert {1, 2, "other", "no state"} == set(ends)


def test_report_of_a_replaced_run_is_deleted_before_the_new_one_begins(
    train_tiny, tmp_path, monkeypatch
):
    folder = train_tiny(tmp_path, "--seed", "1")
    assert (folder / "report.json").exists()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("train.run._train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path, "--seed", "2")
    assert not (folder / "report.json").exists()

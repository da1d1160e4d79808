"""Files of a run at every moment: a process may die before any file operation."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from geoseg.synthetic import synthetic_dataset
from tests.helpers.run_folders import list_temporary_files, read_contents, read_outcome
from train.data import Data
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
    dataset = synthetic_dataset(4, 50, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    data = Data(dataset.select(~validation), dataset.select(validation), "tiny")

    def train_tiny(output, *words):
        command = ["-e", "3", "-nowb", "--precision", "fp32", "--save-every", "0"]
        options = parse_options([*command, "-o", str(output), *words])
        with StopRequest() as stop:
            settings = RunSettings(options, torch.device("cpu"))
            run_experiment(TINY, data, settings, stop, Console(quiet=True))
        return output / TINY.run_name

    return train_tiny


def keep_every_moment(folder, into, monkeypatch):
    """Copy a folder before each thing that happens to a file, as a death just then leaves it."""
    get_moments = []

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            if not get_moments or read_contents(folder) != read_contents(get_moments[-1]):
                get_moments.append(
                    shutil.copytree(folder, into / str(len(get_moments)) / folder.name)
                )
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((os, "fsync"), *((Path, n) for n in ("touch", "replace", "unlink"))):
        watch(owner, name)
    return get_moments


def test_whatever_file_a_run_was_at_when_it_died_it_ends_the_same(
    train_tiny, tmp_path, monkeypatch
):
    expected = read_outcome(train_tiny(tmp_path / "straight"))
    folder = tmp_path / "run" / TINY.run_name
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        get_moments = keep_every_moment(folder, tmp_path / "get_moments", patch)
        train_tiny(folder.parent)
    assert len(get_moments) > 30
    assert sum(bool(list_temporary_files(moment)) for moment in get_moments) > 10
    there = set()
    for moment in get_moments:
        before, there = there, {p.name for p in moment.glob("*.safetensors") if load_file(p)}
        assert before <= there
        assert read_outcome(train_tiny(moment.parent, "--resume")) == expected, moment


def test_a_death_while_replacing_a_run_never_mixes_the_two(train_tiny, tmp_path, monkeypatch):
    """It is the old run still, or the new one, or refused."""
    old = train_tiny(tmp_path / "run", "--seed", "1")
    expected = {
        seed: read_outcome(train_tiny(tmp_path / str(seed), "--seed", str(seed))) for seed in (1, 2)
    }
    with monkeypatch.context() as patch:
        get_moments = keep_every_moment(old, tmp_path / "get_moments", patch)
        train_tiny(old.parent, "--seed", "2")
    ends = []
    for moment in get_moments:
        again = shutil.copytree(moment.parent, moment.parent.with_suffix(".old"))
        for output, seed in ((moment.parent, 2), (again, 1)):
            try:
                end = read_outcome(train_tiny(output, "--resume", "--seed", str(seed)))
            except StateError as error:
                ends.append("no state" if "no state to resume" in str(error) else "other")
            else:
                assert end == expected[seed], moment
                ends.append(seed)
    assert {1, 2, "other", "no state"} == set(ends)


def test_a_report_of_the_run_that_is_replaced_is_gone_before_the_new_one_begins(
    train_tiny, tmp_path, monkeypatch
):
    folder = train_tiny(tmp_path, "--seed", "1")
    assert (folder / "report.json").exists()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("train.run._train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path, "--seed", "2")
    assert not (folder / "report.json").exists()

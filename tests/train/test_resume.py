"""`--resume` within this process: what is accepted, refused, repaired, and reported."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from geoseg import read_card
from tests.helpers.run_folders import (
    list_temporary_files,
    read_contents,
    read_outcome,
    without_timing,
)
from tests.helpers.synthetic_data import make_data
from train import experiments
from train.__main__ import main
from train.checkpointing import CHECKPOINTS
from train.experiments import find_experiments
from train.schedules import Linear, Plateau
from train.tracking import Tracker

RUN = "3-unet-8-halving"


def train(output, data, *arguments):
    """Train the smallest experiment and return the exit code."""
    command = ["-e", "3", "-nowb", "--cpu", "--data", str(data), "-o", str(output), "--seed", "4"]
    return main([*command, "--precision", "fp32", "--epochs", "2", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Train a run of two epochs."""
    output = tmp_path_factory.mktemp("finished")
    assert train(output, data) == 0
    return output / RUN


@pytest.fixture(scope="module")
def halted(data, tmp_path_factory):
    """Train the same run for one epoch only."""
    output = tmp_path_factory.mktemp("halted")
    assert train(output, data, "--epochs", 1) == 0
    return output / RUN


@pytest.fixture
def folder(finished, tmp_path):
    """Return a copy of the finished run."""
    return shutil.copytree(finished, tmp_path / RUN)


@pytest.fixture
def half(halted, tmp_path):
    """Return a copy of the run with one epoch left."""
    return shutil.copytree(halted, tmp_path / RUN)


def newest(folder):
    return max((folder / "resume").glob("*.safetensors"))


def test_run_starts_afresh_if_there_is_nothing_to_resume(finished, data, tmp_path, capsys):
    assert train(tmp_path, data, "--resume") == 0
    folder = tmp_path / RUN
    assert f"Nothing to resume in {folder}: starting afresh." in capsys.readouterr().out
    assert read_outcome(folder) == read_outcome(finished)


def test_resuming_a_finished_run_changes_nothing(folder, data, capsys):
    before = read_contents(folder)
    assert train(folder.parent, data, "--resume") == 0
    output = capsys.readouterr().out
    assert f"Resuming {folder} finds all 2 epochs done." in output
    assert "best validation IoU" in output
    after = read_contents(folder)
    assert after.keys() == before.keys()
    report = Path("report.json")
    assert {k for k in after if after[k] != before[k]} <= {report, Path("config.json")}
    before_report, after_report = (json.loads(files[report]) for files in (before, after))
    assert {**before_report, "seconds": 0} == {**after_report, "seconds": 0}


def test_lost_files_of_a_finished_run_are_written_again(folder, data):
    before = read_outcome(folder)
    (folder / "metrics.jsonl").unlink()
    (folder / "config.json").write_text("garbage")
    assert train(folder.parent, data, "--resume") == 0
    assert read_outcome(folder) == before
    assert json.loads((folder / "config.json").read_text())["id"] == 3


def test_more_epochs_equal_a_longer_run(half, finished, data, capsys):
    assert train(half.parent, data, "--resume", "--epochs", 2) == 0
    assert f"Resuming {half} after 1 epochs and 0 of 2 steps." in capsys.readouterr().out
    assert read_outcome(half) == read_outcome(finished)
    report, expected = (json.loads((run / "report.json").read_text()) for run in (half, finished))
    assert report["epochs"] == 2
    assert without_timing([report["best"], report["last"]]) == without_timing(
        [expected["best"], expected["last"]]
    )
    for name in CHECKPOINTS:
        card, other = (read_card(run / name) for run in (half, finished))
        assert (card.threshold, card.metrics) == (other.threshold, other.metrics)


def change_recipe(monkeypatch, **changes):
    (recipe,) = find_experiments(["3"])
    monkeypatch.setattr(experiments, "EXPERIMENTS", (replace(recipe, **changes),))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.5}, "learning_rate 0.001, not 0.5"),
        ({"arguments": {"width": 9}}, "arguments {'width': 8}, not {'width': 9}"),
        ({"loss": "dice"}, "loss bce, not dice"),
        ({"roll": True}, "roll False, not True"),
        ({"schedule": None}, "schedule {'factor': 0.5, 'patience': 5}, not None"),
        ({"schedule": Plateau(0.5, 6)}, "schedule {'factor': 0.5, 'patience': 5}, not"),
        ({"schedule": Linear(0.5)}, "schedule {'factor': 0.5, 'patience': 5}, not"),
    ],
)
def test_other_recipe_is_refused(changes, words, folder, data, monkeypatch, capsys):
    change_recipe(monkeypatch, **changes)
    assert_refused(folder, data, words, capsys)


def test_other_seed_or_data_is_refused(folder, data, tmp_path, capsys):
    assert_refused(folder, data, "seed 4, not 5", capsys, "--seed", 5)
    other = make_data(tmp_path / "other", 5, 60, seed=1)
    capsys.readouterr()
    assert_refused(folder, other, "patches {'train': ", capsys)
    assert_refused(folder, data, "patches {'train': ", capsys, "--fold", "1/2")


def assert_refused(folder, data, words, capsys, *arguments):
    before = read_contents(folder)
    assert train(folder.parent, data, "--resume", *arguments) == 2
    message = capsys.readouterr().err
    assert f"train: the run in {folder} began with {words}" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert read_contents(folder) == before


def test_epochs_cannot_change_with_a_schedule_that_depends_on_them(
    data, tmp_path, monkeypatch, capsys
):
    change_recipe(monkeypatch, schedule=Linear(0.5))
    assert train(tmp_path, data) == 0
    assert_refused(tmp_path / RUN, data, "epochs 2, not 3", capsys, "--epochs", 3)
    assert train(tmp_path, data, "--resume") == 0


def test_other_circumstances_are_accepted_and_reported(half, data, capsys):
    torch.set_num_threads(2)
    try:
        assert train(half.parent, data, "--resume", "--precision", "bf16") == 0
    finally:
        torch.set_num_threads(1)
    output = capsys.readouterr().out
    assert "Resuming: precision was float32 and is bfloat16 now: the run can go on" in output
    assert "Resuming: threads was 1 and is 2 now" in output
    assert output.count("Resuming: ") == 2
    assert len((half / "metrics.jsonl").read_text().splitlines()) == 2


def test_resume_and_overwrite_exclude_each_other(folder, data, capsys):
    before = read_contents(folder)
    with pytest.raises(SystemExit) as stop:
        train(folder.parent, data, "--resume", "--overwrite")
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
    assert read_contents(folder) == before


@pytest.mark.parametrize("choice", ["--resume", "--overwrite"])
def test_unfinished_files_of_a_killed_process_are_deleted(choice, folder, data):
    for name in (".best.safetensors.1.tmp", ".report.json.1.tmp", "resume/.0.safetensors.1.tmp"):
        (folder / name).write_bytes(b"half")
    (folder / ".mine").touch()
    assert train(folder.parent, data, choice) == 0
    assert not list_temporary_files(folder)
    assert (folder / ".mine").exists()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_without_a_state_are_not_resumed(name, folder, data, capsys):
    shutil.rmtree(folder / "resume")
    for other in set(CHECKPOINTS) - {name}:
        (folder / other).unlink()
    before = read_contents(folder)
    assert train(folder.parent, data, "--resume") == 2
    message = capsys.readouterr().err
    assert "no state to resume from" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert read_contents(folder) == before


def damage(path):
    """Flip a bit of the last tensor in the file."""
    data = path.read_bytes()
    path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])


def test_damaged_state_is_reported_and_previous_is_used(folder, finished, data, capsys):
    command = (folder.parent, data, "--save-every", 0)
    assert train(*command, "--overwrite") == 0
    path = newest(folder)
    damage(path)
    capsys.readouterr()
    assert train(*command, "--resume") == 0
    output = capsys.readouterr().out
    assert f"Resuming: {path} is damaged (its checksum does not match its content)" in output
    assert "using the one before." in output
    assert f"Resuming {folder} after 1 epochs and" in output
    assert read_outcome(folder) == read_outcome(finished)


def test_run_with_only_damaged_states_is_not_changed(folder, data, capsys):
    for path in (folder / "resume").iterdir():
        damage(path)
    before = read_contents(folder)
    assert train(folder.parent, data, "--resume") == 2
    message = capsys.readouterr().err
    assert "train: every saved state is damaged" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert read_contents(folder) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_error_of_writing_metrics_names_the_file(tmp_path):
    with Tracker(tmp_path, {}, [], Console(quiet=True)) as tracker:
        lines = tmp_path / "metrics.jsonl"
        lines.unlink()
        lines.symlink_to("/dev/full")
        with pytest.raises(OSError, match=f"{lines} cannot be written: .*No space left"):
            tracker.log_epoch({"epoch": 1})

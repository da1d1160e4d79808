"""Tracking with the real client of Weights & Biases, read from its files or from a server."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from safetensors.torch import load_file

from geoseg.dataset import PatchDataset
from geoseg.normalisation import Normalisation
from tests.helpers.run_folders import read_lines, without_timing
from tests.helpers.train_process import finish, print_wandb_import
from tests.helpers.wandb_server import Run, Server
from train import tracking
from train.__main__ import main
from train.prediction_samples import PredictionSamples
from train.sampling import prepare

RUN = "3-unet-8-halving"
KEY = "a" * 40


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Simulate the environment of a user without a login."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB")]:
            patch.delenv(name)
        folder = tmp_path_factory.mktemp("home")
        for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(folder))
        patch.setenv("NETRC", str(folder / "no"))
        yield folder
    wandb.teardown()


@pytest.fixture
def set_environment(home, monkeypatch):
    """Set variables for one test; wandb caches them, so it is torn down."""
    wandb.teardown()
    yield lambda **variables: [monkeypatch.setenv(*pair) for pair in variables.items()]
    wandb.teardown()


def train(data, output, *arguments, code=0):
    command = ["--cpu", "--precision", "fp32", "--data", str(data), "-o", str(output)]
    assert main([*command, "--seed", "4", *arguments]) == code
    return output / RUN


def read_runs(folder):
    """Read every part of a run, the oldest first, once wandb's own process has written its end."""
    paths = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    deadline = time.monotonic() + 20
    while any(Run(path).code is None for path in paths) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [Run(path) for path in paths]


def read_pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def tracked(home, data, tmp_path_factory):
    """Track two experiments of one command offline."""
    output = tmp_path_factory.mktemp("runs")
    options = ["--wandb-project", "pipes", "--wandb-entity", "somebody", "--wandb-tags", "a b", "c"]
    return train(data, output, "-e", "3", "0", "--epochs", "2", *options)


def test_run_has_its_names_tags_and_configuration(tracked):
    (run,) = read_runs(tracked)
    header = run.header
    assert (header.project, header.entity) == ("pipes", "somebody")
    assert header.display_name == RUN
    assert list(header.tags) == ["unet", "a b", "c"]
    saved = json.loads((tracked / "config.json").read_text())
    assert {key: run.config[key] for key in saved} == saved
    assert run.code == 0


def test_runs_of_one_command_are_a_group(tracked):
    headers = [read_runs(tracked.parent / name)[0].header for name in (RUN, "0-unet-24-short")]
    assert headers[0].run_group == headers[1].run_group
    assert headers[0].run_group.startswith("3-0-20")
    assert headers[0].run_id != headers[1].run_id


def test_metrics_are_logged_against_epochs(tracked):
    (run,) = read_runs(tracked)
    ((metric,), lines) = run.metrics, read_lines(tracked)
    assert (metric.glob_name, metric.step_metric) == ("*", "epoch")
    assert [entry["epoch"] for entry in run.history] == [1, 2, 2]  # the last one is the table's
    for line, entry in zip(lines, run.history[:2], strict=True):
        wells = {f"wells/{well}": iou for well, iou in line.pop("wells").items()}
        assert wells
        expected = {**line, **wells}
        assert {key: entry[key] for key in expected} == pytest.approx(expected)
    best = max(lines, key=lambda line: line["iou"])
    assert run.summary["best_iou"] == pytest.approx(best["iou"])
    assert run.summary["best_epoch"] == best["epoch"]


def test_masks_of_validation_patches_are_logged(tracked, data):
    (run,) = read_runs(tracked)
    samples = run.history[0]["samples"]
    assert samples["count"] == 8
    assert samples["_type"] == "images/separated"
    files = next(tracked.glob("wandb/offline-run-*/files"))
    for index in range(8):
        name = samples["captions"][index]
        mask = samples["all_masks"][index]
        label, prediction = (
            read_pixels(files / mask[kind]["path"])[::6, ::6]
            for kind in ("ground_truth", "prediction")
        )
        expected = np.load(data / name.replace("images", "labels"))
        null = label == 255
        assert (label == 1).sum() > 0
        assert np.array_equal(label[~null], expected[~null])
        assert np.array_equal(prediction == 255, null)
        assert read_pixels(files / samples["filenames"][index]).shape[:2] == (216, 216)
    assert run.config["_wandb"]["mask/class_labels"]


def test_samples_cover_all_validation_wells(data):
    dataset = PatchDataset.load(data)
    grooves = dataset.select(dataset.masks.bool().flatten(1).any(1))
    prepared = prepare(grooves, Normalisation(), torch.device("cpu"))
    samples = PredictionSamples(grooves, prepared)
    assert len(set(samples.names)) == 8
    wells = {int(well) for well in grooves.wells}
    assert len(wells) > 2
    assert {int(Path(name).name.split("_")[1]) for name in samples.names} == wells


def test_tracking_does_not_change_a_run(tracked, data, tmp_path):
    untracked = train(data, tmp_path, "-e", "3", "--epochs", "2", "-nowb")
    lines = [without_timing(read_lines(folder)) for folder in (tracked, untracked)]
    assert lines[0] == lines[1]
    weights = [load_file(folder / "last.safetensors") for folder in (tracked, untracked)]
    assert all(weights[1][name].equal(value) for name, value in weights[0].items())


def test_scores_by_well_and_checkpoints_are_logged(tracked):
    (run,) = read_runs(tracked)
    (path,) = tracked.glob("wandb/offline-run-*/files/media/table/*.json")
    table, lines = json.loads(path.read_text()), read_lines(tracked)
    names = ["well", "patches", "IoU, best epoch", "IoU, last epoch"]
    assert table["columns"] == names
    best = max(lines, key=lambda line: line["iou"])
    assert table["data"] == [[5, 12, best["wells"]["5"], lines[-1]["wells"]["5"]]]
    models = [a for a in run.artifacts if a.type == "model"]
    assert {alias for a in models for alias in a.aliases} == {"best", "latest"}
    assert models[0].name == f"{RUN}-{run.header.run_id}"
    assert models[0].manifest.contents[0].path == "best.safetensors"
    assert "best" in models[0].aliases
    assert json.loads(models[0].metadata)["epochs_done"] == best["epoch"]


def test_resumed_run_continues_the_wandb_run(tracked, data, set_environment):
    """Offline, a second folder of the same run holds the new epochs."""
    set_environment(WANDB_MODE="offline")
    lines = read_lines(tracked)
    train(data, tracked.parent, "-e", "3", "0", "--epochs", "3", "--resume")
    first, second = read_runs(tracked)
    assert first.header.run_id == second.header.run_id
    assert first.header.run_group == second.header.run_group
    assert second.header.resume
    assert [entry["epoch"] for entry in second.history] == [3, 3]
    assert read_lines(tracked)[:2] == lines
    best = max(read_lines(tracked), key=lambda line: line["iou"])
    assert second.summary["best_epoch"] == best["epoch"]
    train(data, tracked.parent, "-e", "3", "-nowb", "--epochs", "1", "--overwrite")
    assert not (tracked / "wandb.json").exists()  # an overwritten run is a new one


def test_resumed_run_continues_offline_after_kills_and_untracked_epochs(
    data, tmp_path, set_environment
):
    """The parts, synchronised one after the other, hold every tracked epoch once."""
    set_environment(WANDB_MODE="offline")
    command = (data, tmp_path, "-e", "3", "--resume", "--epochs")
    folder = train(*command, "2")
    train(*command, "3", "-nowb")
    train(*command, "4")
    first, second = read_runs(folder)
    assert [entry["epoch"] for entry in first.history] == [1, 2, 2]
    assert [entry["epoch"] for entry in second.history] == [3, 4, 4]
    saved = json.loads((folder / "wandb.json").read_text())
    assert saved["sent"] == 4
    (folder / "wandb.json").write_text(
        json.dumps({**saved, "sent": 5})
    )  # as if killed after sending 5
    train(*command, "6")
    assert [entry["epoch"] for entry in read_runs(folder)[2].history] == [6, 6]
    with Server() as server:
        set_environment(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url, WANDB_MODE="online")
        for part in sorted(folder.glob("wandb/offline-run-*")):
            sync = [sys.executable, "-m", "wandb", "sync", str(part)]
            subprocess.run(sync, cwd=tmp_path, check=True, capture_output=True)
            lines = len(server.history)
            server.set_run(saved["id"], epoch=server.history[-1]["epoch"], lines=lines)
        assert [line["epoch"] for line in server.history] == [1, 2, 2, 3, 4, 4, 6, 6]
        assert [line["_step"] for line in server.history] == list(range(8))


def test_server_gets_all_epochs_and_from_a_resumed_run_the_missing_ones(
    data, tmp_path, set_environment, capsys
):
    with Server() as server:
        set_environment(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url, WANDB_TAGS="d,e")
        folder = train(data, tmp_path, "-e", "3", "--epochs", "2")
        assert f"Weights & Biases: {server.url}/somebody/geoseg/runs/" in capsys.readouterr().out
        first = server.requests["UpsertBucket"][0]
        assert (first["displayName"], first["tags"]) == (RUN, ["unet", "d", "e"])
        assert [line["epoch"] for line in server.history] == [1, 2, 2]
        artifacts = [a["input"] for a in server.requests["CreateArtifact"]]
        assert {a["artifactTypeName"] for a in artifacts} == {"run_table", "model"}

        server.history.clear()  # as if the second epoch had been lost
        server.set_run(first["name"], epoch=1, lines=1)
        train(data, tmp_path, "-e", "3", "--epochs", "3", "--resume")
        assert server.requests["UpsertBucket"][-1]["name"] == first["name"]
        assert [line["epoch"] for line in server.history] == [2, 3, 3]
        assert [line["_step"] for line in server.history] == [1, 2, 3]
        assert server.history[0]["iou"] == read_lines(folder)[1]["iou"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "no login found (`wandb login`); tracking offline."),
        ({"WANDB_API_KEY": "abc"}, "WANDB_API_KEY invalid"),
        ({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "connection refused"),
        ({"WANDB_MODE": "of"}, "Input should be 'online', 'offline'"),
        ({"WANDB_PROJECT": "a/b?c"}, "Invalid project name 'a/b?c'"),
    ],
)
def test_tracking_errors_are_reported_and_stop_nothing(
    variables, words, data, tmp_path, set_environment, capsys, monkeypatch
):
    monkeypatch.setattr(tracking, "_START_SECONDS", 1)
    set_environment(**variables)
    folder = train(data, tmp_path, "-e", "3", "--epochs", "1")
    printed = capsys.readouterr()
    (sentence,) = [line for line in printed.out.splitlines() if words in line]
    offline = sentence.endswith("; tracking offline.")
    assert offline or sentence.endswith("training continues without it.")
    assert "Traceback" not in printed.err
    assert [line["epoch"] for line in read_lines(folder)] == [1]
    assert len(read_runs(folder)) == offline
    assert (folder / "wandb.json").exists() == offline


def test_refusing_and_unreachable_servers_stop_nothing(
    data, tmp_path, set_environment, capsys, monkeypatch
):
    monkeypatch.setattr(tracking, "_FINISH_SECONDS", 1)
    # The client waits ten seconds for these.
    monkeypatch.setattr(tracking.Tracker, "log_results", lambda *_: None)
    with Server() as server:
        set_environment(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        server.status = 401
        folder = train(data, tmp_path / "refused", "-e", "3", "--epochs", "1")
        assert "error 401" in capsys.readouterr().out
        assert len(read_runs(folder)) == 1
        wandb.teardown()

        server.status, server.silent_after = 200, "UpsertBucket"
        folder = train(data, tmp_path / "it is lost", "-e", "3", "--epochs", "1")
        output = capsys.readouterr().out
        assert "did not receive everything in 1 s; `wandb sync --include-online " in output
        assert [line["epoch"] for line in read_lines(folder)] == [1]
        server.silent_after = None
        assert not server.history
        command = shlex.split(output.partition("`")[2].partition("`")[0])
        command = [sys.executable, "-m", *command]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert [line["epoch"] for line in server.history] == [1]


def test_report_is_written_before_the_rest_is_sent(data, tmp_path, set_environment, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking.Tracker, "_finish", interrupt)
    set_environment(WANDB_MODE="offline")
    with contextlib.suppress(KeyboardInterrupt):
        train(data, tmp_path, "-e", "3", "--epochs", "1", code=130)
    assert json.loads((tmp_path / RUN / "report.json").read_text())["epochs"] == 1


def test_wrong_options_are_reported_and_stop_nothing(data, tmp_path, set_environment, capsys):
    set_environment(WANDB_MODE="offline")
    for name, option in enumerate((["--wandb-project", "a/b"], ["--wandb-tags", "x" * 65])):
        train(data, tmp_path / str(name), "-e", "3", "--epochs", "1", *option)
        output = capsys.readouterr().out
        (message,) = [line for line in output.splitlines() if "Weights & Biases" in line]
        assert message.endswith("; training continues without it.")
        assert "pydantic" not in message


def test_tracking_cannot_be_turned_off_and_on_at_once(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["-e", "3", "-nowb", "--wandb-mode", "online"])
    assert stop.value.code == 2


def test_disabled_wandb_is_not_imported(data, tmp_path, start_process):
    command = ("-e", 3, "--epochs", 1, "--cpu", "--data", data, "-o", tmp_path)
    process = start_process(
        *command, prepare=print_wandb_import, environment={"WANDB_MODE": "disabled"}
    )
    output, _ = finish(process)
    assert output.splitlines()[-1] == "False"
    assert len(read_lines(tmp_path / RUN)) == 1
    assert not list(tmp_path.rglob("*wandb*"))

"""Runs at Weights & Biases, by the real client: read back from its files, or from a server."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from safetensors.torch import load_file

from geoseg.dataset import PatchDataset
from geoseg.normalisation import Normalisation
from tests.helpers import ROOT
from tests.helpers.synthetic_data import make_data
from tests.helpers.wandb_server import Run, Server
from train import tracking
from train.__main__ import main
from train.prediction_samples import PredictionSamples
from train.sampling import prepare

SMALL = "3-unet-8-halving"
KEY = "a" * 40


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 5, 60)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The environment of a user without a login."""
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
    """Sets variables for one test; wandb, which remembers them, is to forget."""
    wandb.teardown()
    yield lambda **variables: [monkeypatch.setenv(*pair) for pair in variables.items()]
    wandb.teardown()


def train(data, output, *arguments, code=0):
    command = ["--cpu", "--precision", "fp32", "--data", str(data), "-o", str(output)]
    assert main([*command, "--seed", "4", *arguments]) == code
    return output / SMALL


def read_runs(folder):
    """Every part of a run, the oldest first."""
    return [Run(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def tracked(home, data, tmp_path_factory):
    """Two experiments of one command, tracked offline."""
    output = tmp_path_factory.mktemp("runs")
    options = ["--wandb-project", "pipes", "--wandb-entity", "somebody", "--wandb-tags", "a b", "c"]
    return train(data, output, "-e", "3", "0", "--epochs", "2", *options)


def test_a_run_is_described(tracked):
    (run,) = read_runs(tracked)
    header = run.header
    assert (header.project, header.entity) == ("pipes", "somebody")
    assert header.display_name == SMALL
    assert list(header.tags) == ["unet", "a b", "c"]
    saved = json.loads((tracked / "config.json").read_text())
    assert {key: run.config[key] for key in saved} == saved
    assert run.code == 0


def test_the_runs_of_one_command_are_a_group(tracked):
    headers = [read_runs(tracked.parent / name)[0].header for name in (SMALL, "0-unet-24-short")]
    assert headers[0].run_group == headers[1].run_group
    assert headers[0].run_group.startswith("3-0-20")
    assert headers[0].run_id != headers[1].run_id


def test_metrics_have_an_axis_of_epochs(tracked):
    (run,) = read_runs(tracked)
    ((metric,), lines) = run.metrics, lines_of(tracked)
    assert (metric.glob_name, metric.step_metric) == ("*", "epoch")
    assert [entry["epoch"] for entry in run.history] == [1, 2, 2], "the last with the table"
    for line, entry in zip(lines, run.history[:2], strict=True):
        wells = {f"wells/{well}": iou for well, iou in line.pop("wells").items()}
        assert wells
        expected = {**line, **wells}
        assert {key: entry[key] for key in expected} == pytest.approx(expected)
    best = max(lines, key=lambda line: line["iou"])
    assert run.summary["best_iou"] == pytest.approx(best["iou"])
    assert run.summary["best_epoch"] == best["epoch"]


def test_masks_of_validation_patches_are_shown(tracked, data):
    (run,) = read_runs(tracked)
    shown = run.history[0]["samples"]
    assert shown["count"] == 8
    assert shown["_type"] == "images/separated"
    files = next(tracked.glob("wandb/offline-run-*/files"))
    for place in range(8):
        name = shown["captions"][place]
        mask = shown["all_masks"][place]
        truth, prediction = (
            pixels_of(files / mask[kind]["path"])[::6, ::6]
            for kind in ("ground_truth", "prediction")
        )
        label = np.load(data / name.replace("images", "labels"))
        null = truth == 255
        assert (truth == 1).sum() > 0
        assert np.array_equal(truth[~null], label[~null])
        assert np.array_equal(prediction == 255, null)
        assert pixels_of(files / shown["filenames"][place]).shape[:2] == (216, 216)
    assert run.config["_wandb"]["mask/class_labels"]


def test_samples_are_of_all_validation_wells(data):
    dataset = PatchDataset.load(data)
    grooves = dataset.select(dataset.masks.bool().flatten(1).any(1))
    prepared = prepare(grooves, Normalisation(), torch.device("cpu"))
    samples = PredictionSamples(grooves, prepared)
    assert len(set(samples.names)) == 8
    wells = {int(well) for well in grooves.wells}
    assert len(wells) > 2
    assert {int(Path(name).name.split("_")[1]) for name in samples.names} == wells


def test_watching_a_run_does_not_change_it(tracked, data, tmp_path):
    unwatched = train(data, tmp_path, "-e", "3", "--epochs", "2", "-nowb")
    timing = {"seconds", "patches_per_second"}
    lines = [
        [{k: v for k, v in line.items() if k not in timing} for line in lines_of(folder)]
        for folder in (tracked, unwatched)
    ]
    assert lines[0] == lines[1]
    weights = [load_file(folder / "last.safetensors") for folder in (tracked, unwatched)]
    assert all(weights[1][name].equal(value) for name, value in weights[0].items())


def test_wells_and_checkpoints_are_kept(tracked):
    (run,) = read_runs(tracked)
    (path,) = tracked.glob("wandb/offline-run-*/files/media/table/*.json")
    table, lines = json.loads(path.read_text()), lines_of(tracked)
    names = ["well", "patches", "IoU, best epoch", "IoU, last epoch"]
    assert table["columns"] == names
    best = max(lines, key=lambda line: line["iou"])
    assert table["data"] == [[5, 12, best["wells"]["5"], lines[-1]["wells"]["5"]]]
    models = [a for a in run.artifacts if a.type == "model"]
    assert {alias for a in models for alias in a.aliases} == {"best", "latest"}
    assert models[0].name == f"{SMALL}-{run.header.run_id}"
    assert models[0].manifest.contents[0].path == "best.safetensors"
    assert "best" in models[0].aliases
    assert json.loads(models[0].metadata)["epochs_done"] == best["epoch"]


def test_a_resumed_run_is_the_same_run(tracked, data, set_environment):
    """Offline its files are another folder of the same run, and hold what is new."""
    set_environment(WANDB_MODE="offline")
    lines = lines_of(tracked)
    train(data, tracked.parent, "-e", "3", "0", "--epochs", "3", "--resume")
    first, second = read_runs(tracked)
    assert first.header.run_id == second.header.run_id
    assert first.header.run_group == second.header.run_group
    assert second.header.resume
    assert [entry["epoch"] for entry in second.history] == [3, 3]
    assert lines_of(tracked)[:2] == lines
    best = max(lines_of(tracked), key=lambda line: line["iou"])
    assert second.summary["best_epoch"] == best["epoch"]
    train(data, tracked.parent, "-e", "3", "-nowb", "--epochs", "1", "--overwrite")
    assert not (tracked / "wandb.json").exists(), "a new run is another one"


def test_a_resumed_run_goes_on_in_its_files_whatever_came_between(data, tmp_path, set_environment):
    """A process that was killed before it saved, epochs that were not tracked, and the sync."""
    set_environment(WANDB_MODE="offline")
    command = (data, tmp_path, "-e", "3", "--resume", "--epochs")
    folder = train(*command, "2")
    train(*command, "3", "-nowb")
    train(*command, "4")
    first, second = read_runs(folder)
    assert [entry["epoch"] for entry in first.history] == [1, 2, 2]
    assert [entry["epoch"] for entry in second.history] == [3, 4, 4]
    known = json.loads((folder / "wandb.json").read_text())
    assert known["sent"] == 4
    (folder / "wandb.json").write_text(json.dumps({**known, "sent": 5}))  # but saved it was not
    train(*command, "6")
    assert [entry["epoch"] for entry in read_runs(folder)[2].history] == [6, 6]
    with Server() as server:
        set_environment(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url, WANDB_MODE="online")
        for part in sorted(folder.glob("wandb/offline-run-*")):
            sync = [sys.executable, "-m", "wandb", "sync", str(part)]
            subprocess.run(sync, cwd=tmp_path, check=True, capture_output=True)
            lines = len(server.history)
            server.keep_run(known["id"], epoch=server.history[-1]["epoch"], lines=lines)
        assert [line["epoch"] for line in server.history] == [1, 2, 2, 3, 4, 4, 6, 6]
        assert [line["_step"] for line in server.history] == list(range(8))


def test_a_server_hears_all_of_it_and_of_a_resumed_run_what_it_lacks(
    data, tmp_path, set_environment, capsys
):
    with Server() as server:
        set_environment(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url, WANDB_TAGS="d,e")
        folder = train(data, tmp_path, "-e", "3", "--epochs", "2")
        assert f"Weights & Biases: {server.url}/somebody/geoseg/runs/" in capsys.readouterr().out
        began = server.asked["UpsertBucket"][0]
        assert (began["displayName"], began["tags"]) == (SMALL, ["unet", "d", "e"])
        assert [line["epoch"] for line in server.history] == [1, 2, 2]
        kept = [a["input"] for a in server.asked["CreateArtifact"]]
        assert {a["artifactTypeName"] for a in kept} == {"run_table", "model"}

        server.history.clear()  # but the second epoch had not come through
        server.keep_run(began["name"], epoch=1, lines=1)
        train(data, tmp_path, "-e", "3", "--epochs", "3", "--resume")
        assert server.asked["UpsertBucket"][-1]["name"] == began["name"]
        assert [line["epoch"] for line in server.history] == [2, 3, 3]
        assert [line["_step"] for line in server.history] == [1, 2, 3]
        assert server.history[0]["iou"] == lines_of(folder)[1]["iou"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "no login found (`wandb login`); tracking offline."),
        ({"WANDB_API_KEY": "abc"}, "WANDB_API_KEY invalid"),
        ({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "connection refused"),
        ({"WANDB_MODE": "of"}, "not online, offline or disabled: nothing is tracked."),
        ({"WANDB_PROJECT": "a/b?c"}, "Invalid project name 'a/b?c'"),
    ],
)
def test_what_is_wrong_with_tracking_is_said_and_stops_nothing(
    variables, words, data, tmp_path, set_environment, capsys, monkeypatch
):
    monkeypatch.setattr(tracking, "_START", 1)
    set_environment(**variables)
    folder = train(data, tmp_path, "-e", "3", "--epochs", "1")
    said = capsys.readouterr()
    (sentence,) = [line for line in said.out.splitlines() if words in line]
    offline = sentence.endswith("; tracking offline.")
    assert offline or sentence.endswith(("nothing is tracked.", "the run goes on without it."))
    assert "Traceback" not in said.err
    assert [line["epoch"] for line in lines_of(folder)] == [1]
    assert len(read_runs(folder)) == offline
    assert (folder / "wandb.json").exists() == offline


def test_a_server_that_refuses_and_one_that_is_lost(
    data, tmp_path, set_environment, capsys, monkeypatch
):
    monkeypatch.setattr(tracking, "_FINISH", 1)
    # Its own limit, of ten seconds, is too long for a test.
    monkeypatch.setattr(tracking._Mirror, "send_scores", lambda *_: None)
    monkeypatch.setattr(tracking._Mirror, "send_checkpoints", lambda *_: None)
    with Server() as server:
        set_environment(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        server.status = 401
        folder = train(data, tmp_path / "refused", "-e", "3", "--epochs", "1")
        assert "error 401" in capsys.readouterr().out
        assert len(read_runs(folder)) == 1
        wandb.teardown()

        server.status, server.lost_after = 200, "UpsertBucket"
        folder = train(data, tmp_path / "it is lost", "-e", "3", "--epochs", "1")
        told = capsys.readouterr().out
        assert "did not take all of it in 1 s; `wandb sync --include-online " in told
        assert [line["epoch"] for line in lines_of(folder)] == [1]
        server.lost_after = None
        assert not server.history
        command = shlex.split(told.partition("`")[2].partition("`")[0])
        command = [sys.executable, "-m", *command]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert [line["epoch"] for line in server.history] == [1]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"id": "a/b"}'])
def test_a_damaged_note_of_the_run_is_named(content, data, tmp_path, set_environment, capsys):
    set_environment(WANDB_MODE="offline")
    folder = train(data, tmp_path, "-e", "3", "--epochs", "1", "-nowb")
    (folder / "wandb.json").write_text(content)
    train(data, tmp_path, "-e", "3", "--epochs", "2", "--resume")
    told = " ".join(capsys.readouterr().out.split())
    assert f"{folder / 'wandb.json'} is damaged; without it, the next --resume begins" in told
    assert [line["epoch"] for line in lines_of(folder)] == [1, 2]


def test_the_report_is_there_before_the_last_of_it_is_sent(
    data, tmp_path, set_environment, monkeypatch
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking._Mirror, "finish", interrupt)
    set_environment(WANDB_MODE="offline")
    with contextlib.suppress(KeyboardInterrupt):
        train(data, tmp_path, "-e", "3", "--epochs", "1", code=130)
    assert json.loads((tmp_path / SMALL / "report.json").read_text())["epochs"] == 1


def test_wrong_options_are_one_sentence(data, tmp_path, set_environment, capsys):
    for option in (
        ["--wandb-project", "a/b"],
        ["--wandb-entity", "a b/c"],
        ["--wandb-tags", "x" * 65],
        ["--wandb-tags", ""],
    ):
        train(data, tmp_path, "-e", "3", *option, code=2)
        message = capsys.readouterr().err
        assert message.startswith("train: Weights & Biases: ")
        assert message.count("\n") == 1
        assert "pydantic" not in message
    with pytest.raises(SystemExit) as stop:
        main(["-e", "3", "-nowb", "--wandb-mode", "online"])
    assert stop.value.code == 2


def test_disabled_it_is_not_even_imported(data, tmp_path):
    code = "import sys; from train.__main__ import main; main(); print('wandb' in sys.modules)"
    command = ("-e", "3", "--epochs", "1", "--cpu", "--data", str(data), "-o", str(tmp_path))
    answer = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines()[-1] == "False"
    assert len(lines_of(tmp_path / SMALL)) == 1
    assert not list(tmp_path.rglob("*wandb*"))

"""Several experiments side by side, a process for each."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console

import train.__main__ as program
from geoseg import read_card
from tests.helpers import ROOT
from tests.helpers.synthetic_data import make_data
from train.checkpointing import lock_folder
from train.multi_gpu import list_gpus, train_on_gpus
from train.signals import StopRequest

RUNS = {"3": "3-unet-8-halving", "0": "0-unet-24-short", "2": "2-unet-24-halving"}
FLEET = """
import sys
from rich.console import Console
from train.multi_gpu import train_on_gpus
from train.signals import StopRequest

with StopRequest() as stop:
    sys.exit(train_on_gpus(["3", "0", "2", "4", "5"], ["cpu", "cpu"], sys.argv[1:], stop, Console()))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 3, 40)


def arguments(data, output, *more):
    """A command line for every experiment; what it says of them and of the device is overruled."""
    command = ["-e", "3", "0", "2", "--device", "cuda", "-nowb", "--precision", "fp32"]
    return [*command, "--data", str(data), "-o", str(output), *more]


def fleet(experiments, devices, typed, monkeypatch):
    """The exit code, and what was said, by experiment."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(ROOT)
    said = io.StringIO()
    console = Console(file=said, highlight=False)
    with StopRequest() as stop:
        code = train_on_gpus(experiments, devices, typed, stop, console)
    lines = [line.partition(" ") for line in said.getvalue().splitlines()]
    return code, {e: [rest for first, _, rest in lines if first == e] for e in experiments}, lines


def test_experiments_train_side_by_side_each_in_its_folder(data, tmp_path, monkeypatch):
    typed = arguments(data, tmp_path, "--epochs", "1")
    code, said, lines = fleet(list(RUNS), ["cpu", "cpu"], typed, monkeypatch)
    assert code == 0, lines
    assert {path.name for path in tmp_path.iterdir()} == set(RUNS.values())
    for experiment, name in RUNS.items():
        text = "\n".join(said[experiment])
        assert f"{name}: best validation IoU" in text
        assert text.count("epoch 1/1  loss") == 1
        card = read_card(tmp_path / name / "last.safetensors")
        assert (str(card.experiment["id"]), card.experiment["device"]) == (experiment, "cpu")
    assert {first for first, _, _ in lines} == set(RUNS)
    # The third one waited until a device was free.
    order = [rest for _, _, rest in lines]
    third = next(i for i, rest in enumerate(order) if rest.startswith(f"{RUNS['2']}: "))
    assert any("best validation IoU" in rest for rest in order[:third])


def test_one_that_fails_does_not_keep_the_next_from_its_end(data, tmp_path, monkeypatch):
    typed = arguments(data, tmp_path, "--epochs", "1")
    code, said, lines = fleet(["999", "3"], ["cpu"], typed, monkeypatch)
    assert code == 2, lines
    assert any("no experiment '999'" in line for line in said["999"])
    assert any("best validation IoU" in line for line in said["3"])
    assert [path.name for path in tmp_path.iterdir()] == [RUNS["3"]]


def test_a_signal_stops_all_saves_all_and_starts_no_more(data, tmp_path):
    typed = arguments(data, tmp_path, "--epochs", "10000", "--save-every", "0")
    process = subprocess.Popen(
        [sys.executable, "-c", FLEET, *typed],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    folders = [tmp_path / RUNS[experiment] for experiment in ("3", "0")]
    deadline = time.monotonic() + 120
    while not all((folder / "last.safetensors").exists() for folder in folders):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 143, text
    assert "Traceback" not in text
    for experiment in ("3", "0"):
        assert f"{experiment} Stopped by SIGTERM: everything is saved" in text
    # Both have ended, and those that waited never began.
    assert sorted(tmp_path.iterdir()) == sorted(folders)
    for folder in folders:
        with lock_folder(folder):
            states = sorted((folder / "resume").glob("*.safetensors"))
        assert int(states[-1].stem) > 0
        assert not list(folder.rglob("*.tmp"))


def test_a_signal_that_came_before_starts_nothing(data, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with StopRequest() as stop:
        stop.signal_number = signal.SIGINT
        typed = arguments(data, tmp_path)
        assert train_on_gpus(["3", "0", "2"], ["cpu"], typed, stop, Console()) == 130
    assert not list(tmp_path.iterdir())


@pytest.fixture
def gpus(monkeypatch):
    """A machine that seems to have two GPUs; gives the fleets that were asked for."""
    fleets = []

    def record(experiments, devices, typed, stop, console, environment):
        fleets.append((experiments, devices, typed, environment))
        return 7

    def no_data(*_):
        raise ValueError("no data here")

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(program, "train_on_gpus", record)
    monkeypatch.setattr(program, "load_data", no_data)  # where training would begin
    return fleets


def test_several_experiments_on_several_gpus_are_a_fleet(gpus):
    typed = ["-e", "unet-8-halving", "0", "-nowb"]
    assert program.main(typed) == 7
    ((*fleet, environment),) = gpus
    assert fleet == [["3", "0"], ["cuda:0", "cuda:1"], typed]
    assert environment["WANDB_RUN_GROUP"].startswith("3-0-"), "their runs belong together"
    assert list_gpus() == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    "typed",
    [
        ["-e", "3"],
        ["-e", "3", "unet-8-halving"],
        ["-e", "3", "0", "--cpu"],
        ["-e", "3", "0", "--device", "cuda:1"],
    ],
)
def test_one_experiment_or_one_device_is_no_fleet(typed, gpus, capsys):
    assert program.main([*typed, "-nowb"]) == 2
    assert gpus == []
    assert "no data here" in capsys.readouterr().err


def test_one_gpu_or_a_place_among_ranks_is_no_fleet(gpus, monkeypatch):
    monkeypatch.setattr(program.ProcessGroup, "join", classmethod(lambda cls, device: cls()))
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        assert program.main(["-e", "3", "0", "-nowb"]) == 2
        patch.setenv("LOCAL_RANK", "1")
        assert program.main(["-e", "3", "0", "-nowb"]) == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert program.main(["-e", "3", "0", "-nowb"]) == 2
    assert gpus == []


def test_a_gpu_that_is_named_is_made_the_current_one(gpus, monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert program.main(["-e", "3", "0", "--device", "cuda:1", "-nowb"]) == 2
    assert current == [torch.device("cuda:1")]


def test_an_unknown_experiment_stops_a_fleet_before_it_starts(gpus, capsys):
    assert program.main(["-e", "3", "999", "-nowb"]) == 2
    assert gpus == []
    assert "no experiment '999'" in capsys.readouterr().err

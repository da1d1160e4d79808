"""Several experiments on several GPUs, one process each."""

import io
import os
import signal
import sys
import time
from threading import Thread

import pytest
import torch
from rich.console import Console

import train.__main__ as program
from geoseg import read_card
from tests.helpers import ROOT
from tests.helpers.synthetic_data import make_data
from train.checkpointing import lock_folder
from train.multi_gpu import train_on_gpus
from train.signals import StopRequest

RUNS = {"3": "3-unet-8-halving", "0": "0-unet-24-short", "2": "2-unet-24-halving"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 3, 40)


def arguments(data, output, *more):
    """Return a command line for every experiment; its -e and --device are overridden."""
    command = ["-e", "3", "0", "2", "--device", "cuda", "-nowb", "--precision", "fp32"]
    return [*command, "--data", str(data), "-o", str(output), *more]


def train(experiments, devices, typed, monkeypatch):
    """Return the exit code, the output by experiment, and all lines in their order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(ROOT)
    output = io.StringIO()
    console = Console(file=output, highlight=False)
    with StopRequest() as stop:
        code = train_on_gpus(experiments, devices, typed, stop, console)
    lines = [line.partition(" ") for line in output.getvalue().splitlines()]
    return code, {e: [rest for first, _, rest in lines if first == e] for e in experiments}, lines


def test_experiments_train_side_by_side_and_a_failure_stops_no_other(data, tmp_path, monkeypatch):
    typed = arguments(data, tmp_path, "--epochs", "1")
    experiments = ["999", *RUNS]
    code, output, lines = train(experiments, ["cpu", "cpu"], typed, monkeypatch)
    assert code == 2, lines
    assert any("no experiment '999'" in line for line in output["999"])
    assert {path.name for path in tmp_path.iterdir()} == set(RUNS.values())
    for experiment, name in RUNS.items():
        text = "\n".join(output[experiment])
        assert f"{name}: best validation IoU" in text
        assert text.count("epoch 1/1  loss") == 1
        card = read_card(tmp_path / name / "last.safetensors")
        assert (str(card.experiment["id"]), card.experiment["device"]) == (experiment, "cpu")
    assert {first for first, _, _ in lines} == set(experiments)
    # The last one waited until a device was free: the failure, and another run, had ended.
    order = [rest for _, _, rest in lines]
    last = next(i for i, rest in enumerate(order) if rest.startswith(f"{RUNS['2']}: "))
    assert any("best validation IoU" in rest for rest in order[:last])
    assert any("no experiment '999'" in rest for rest in order[:last])


@pytest.mark.parametrize(("failing", "code"), [([], 0), (["b"], 3), (["c", "b"], 3)])
@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_exit_code_is_the_first_that_is_not_zero(failing, code, tmp_path, monkeypatch):
    """A script stands for Python: it prints what it is started with."""
    script = tmp_path / "python"
    exits = "".join(f"{name}) exit {3 if name == 'b' else 4};; " for name in failing)
    script.write_text(f'#!/bin/sh\necho "$@"\ncase $5 in {exits}esac\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    found, output, _ = train(["a", "b", "c"], ["cuda:0"], ["--seed"], monkeypatch)
    assert found == code
    assert output == {e: [f"-m train --seed -e {e} --device cuda:0"] for e in "abc"}


def test_signal_stops_and_saves_all_runs_and_starts_no_more(data, tmp_path, monkeypatch):
    typed = arguments(data, tmp_path, "--epochs", "10000", "--save-every", "0")
    folders = [tmp_path / RUNS[experiment] for experiment in ("3", "0")]

    def send_signal_when_both_train():
        deadline = time.monotonic() + 120
        while not all((folder / "last.safetensors").exists() for folder in folders):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=send_signal_when_both_train).start()
    code, output, lines = train(["3", "0", "2", "4", "5"], ["cpu", "cpu"], typed, monkeypatch)
    text = "\n".join(" ".join((first, rest)) for first, _, rest in lines)
    assert code == 143, text
    assert "Traceback" not in text
    assert not any(output[waiting] for waiting in ("2", "4", "5"))
    for experiment in ("3", "0"):
        assert f"{experiment} Stopped by SIGTERM: everything is saved" in text
    # Both have ended, and the waiting ones never started.
    assert sorted(tmp_path.iterdir()) == sorted(folders)
    for folder in folders:
        with lock_folder(folder):
            states = sorted((folder / "resume").glob("*.safetensors"))
        assert int(states[-1].stem) > 0
        assert not list(folder.rglob("*.tmp"))


def test_earlier_signal_starts_nothing(data, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with StopRequest() as stop:
        stop.signal_number = signal.SIGINT
        typed = arguments(data, tmp_path)
        assert train_on_gpus(["3", "0", "2"], ["cpu"], typed, stop, Console()) == 130
    assert not list(tmp_path.iterdir())


@pytest.fixture
def gpus(monkeypatch):
    """Simulate a machine with two GPUs; return the calls of `train_on_gpus`."""
    calls = []

    def record(experiments, devices, typed, stop, console, environment):
        calls.append((experiments, devices, typed, environment))
        return 7

    def fail(*_):
        raise ValueError("no data here")

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(program, "train_on_gpus", record)
    monkeypatch.setattr(program, "load_data", fail)  # training would begin there
    return calls


def test_several_experiments_use_several_gpus(gpus):
    typed = ["-e", "unet-8-halving", "0", "-nowb"]
    assert program.main(typed) == 7
    ((*call, environment),) = gpus
    assert call == [["3", "0"], ["cuda:0", "cuda:1"], tuple(typed)]
    assert environment["WANDB_RUN_GROUP"].startswith("3-0-")


@pytest.mark.parametrize(
    "typed",
    [
        ["-e", "3"],
        ["-e", "3", "unet-8-halving"],
        ["-e", "3", "0", "--cpu"],
        ["-e", "3", "0", "--device", "cuda:1"],
    ],
)
def test_one_experiment_or_a_named_device_uses_one_process(typed, gpus, capsys):
    assert program.main([*typed, "-nowb"]) == 2
    assert gpus == []
    assert "no data here" in capsys.readouterr().err


def test_one_gpu_or_torchrun_uses_one_process(gpus, monkeypatch):
    monkeypatch.setattr(program.ProcessGroup, "join", classmethod(lambda cls, device: cls()))
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        assert program.main(["-e", "3", "0", "-nowb"]) == 2
        patch.setenv("LOCAL_RANK", "1")
        assert program.main(["-e", "3", "0", "-nowb"]) == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert program.main(["-e", "3", "0", "-nowb"]) == 2
    assert gpus == []


def test_named_gpu_becomes_the_current_one(gpus, monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert program.main(["-e", "3", "0", "--device", "cuda:1", "-nowb"]) == 2
    assert current == [torch.device("cuda:1")]


def test_unknown_experiment_is_found_before_any_process_starts(gpus, capsys):
    assert program.main(["-e", "3", "999", "-nowb"]) == 2
    assert gpus == []
    assert "no experiment '999'" in capsys.readouterr().err

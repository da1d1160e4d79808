"""Runs in real processes: whatever interrupts a run, it ends as if nothing had."""

import re
import signal
import subprocess
import sys
import time
from random import Random

import pytest

from tests.helpers.run_folders import (
    count_saved_steps,
    list_temporary_files,
    read_contents,
    read_outcome,
)
from tests.helpers.train_process import (
    add_rich_experiment,
    finish,
    limit_file_size,
    slow_down_second_step,
    wait_until,
)
from train.__main__ import main
from train.state import StateStore

RUN = "3-unet-8-halving"


@pytest.fixture
def start(start_process):
    """Start experiment 3, or another one."""

    def start(output, *words, e=3, **options):
        command = ("-e", e, "-nowb", "--cpu", "--precision", "fp32", "-o", output)
        return start_process(*command, *words, **options)

    return start


OUTCOMES = {}


@pytest.fixture
def straight(start, tmp_path_factory):
    """Return the outcome of a run that nothing interrupts; each is trained once."""

    def straight(*words, **options):
        key = str((words, options))
        if key not in OUTCOMES:
            output = tmp_path_factory.mktemp("straight")
            finish(start(output, *words, **options))
            (folder,) = output.iterdir()
            OUTCOMES[key] = read_outcome(folder)
        return OUTCOMES[key]

    return straight


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("kills", "e", "prepare"),
    [
        (10, 3, None),
        pytest.param(100, 3, None, marks=LONG),
        pytest.param(100, 9000, add_rich_experiment, marks=LONG),
    ],
)
def test_run_killed_at_random_moments_ends_the_same(
    kills, e, prepare, start, straight, data, tmp_path
):
    """Every second kill happens while a file is written."""
    random, killed_in_write = Random(20), 0
    command = ("--data", data, "--epochs", 5 * kills // 2)
    folder = tmp_path / (RUN if e == 3 else "9000-rich")
    for kill in range(kills):
        goal = count_saved_steps(folder) + random.randint(1, 3)
        process = start(tmp_path, *command, "--save-every", 0, "--resume", e=e, prepare=prepare)
        wait_until(lambda goal=goal: count_saved_steps(folder) >= goal, process)
        if kill % 2:
            wait_until(lambda: list_temporary_files(folder), process, pause=0)
        else:
            time.sleep(random.uniform(0, 0.05))
        process.kill()
        finish(process, -signal.SIGKILL)
        killed_in_write += bool(list_temporary_files(folder))
    assert killed_in_write
    output, _ = finish(start(tmp_path, *command, "--resume", e=e, prepare=prepare))
    assert f"Resuming {folder} after" in output
    assert read_outcome(folder) == straight(*command, e=e, prepare=prepare)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_stopped_by_signal_ends_the_same(number, start, straight, data, tmp_path):
    command, folder = ("--data", data, "--epochs", 20), tmp_path / RUN
    process = start(tmp_path, *command, "--save-every", 0)
    wait_until(lambda: count_saved_steps(folder) >= 7, process)
    for _ in range(2):  # as `timeout` does: to the process, and to its group
        process.send_signal(number)
    output, _ = finish(process, 128 + number)
    assert "finishing this step and saving" in output
    assert f"Stopped by {signal.Signals(number).name}" in output
    steps = count_saved_steps(folder)
    output, _ = finish(start(tmp_path, *command, "--resume"))
    epochs, step = re.search(
        r"Resuming .* after (\d+) epochs and (\d) of 2 steps\.", output
    ).groups()
    assert int(epochs) * 2 + int(step) == steps
    assert read_outcome(folder) == straight(*command)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_exits_within_an_operation_and_run_can_resume(
    number, start, straight, data, tmp_path
):
    command, folder = ("--data", data, "--epochs", 1), tmp_path / RUN
    process = start(tmp_path, *command, "--save-every", 0, prepare=slow_down_second_step)
    wait_until(lambda: "slow\n" in process.read_output(), process)
    for _ in range(2):
        time.sleep(0.5)  # a second signal within 0.3 s counts as a repetition of the first
        process.send_signal(number)
    output, errors = finish(process, 128 + number)
    assert "Stopped" not in output
    assert not errors
    assert count_saved_steps(folder) == 1
    finish(start(tmp_path, *command, "--resume"))
    assert read_outcome(folder) == straight(*command)


def assert_fails_in_one_line(process, *words):
    output, errors = finish(process, 1)
    assert "Traceback" not in output
    assert errors.count("\n") == 1
    assert all(word in errors for word in ("train: ", *words))


def test_full_disk_is_one_line_and_run_can_resume(start, straight, data, tmp_path):
    """The first state, config.json, or a later state does not fit."""
    pytest.importorskip("resource", reason="needs a POSIX system")
    command, folder = ("--data", data, "--epochs", 20), tmp_path / RUN
    expected = straight(*command)

    def resume(size=None):
        options = {"prepare": limit_file_size, "arguments": (size,)} if size else {}
        return start(tmp_path, *command, "--save-every", 0, "--resume", **options)

    assert_fails_in_one_line(resume(20_000), "000000000000.safetensors", "File too large")
    assert not [path for path in folder.rglob("*") if path.is_file()]
    process = resume()
    wait_until(lambda: count_saved_steps(folder) >= 7, process)
    process.kill()
    finish(process, -signal.SIGKILL)
    before = {path: data for path, data in read_contents(folder).items() if path.suffix != ".tmp"}
    assert_fails_in_one_line(resume(100), "config.json", "File too large")
    assert read_contents(folder) == before
    assert_fails_in_one_line(resume(100_000), "File too large")
    assert StateStore(folder / "resume").load()[1] == []
    finish(resume())
    assert read_outcome(folder) == expected


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 400 kB; return it with a function that changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if sys.platform != "linux" or mount("size=400k"):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder, lambda size: mount(f"remount,size={size}")
    subprocess.run(["umount", str(folder)], check=True)


def test_full_file_system_harms_nothing(small_disk, start, straight, data):
    disk, resize = small_disk
    command, folder = ("--data", data, "--epochs", 20), disk / RUN
    expected = straight(*command)
    process = start(disk, *command, "--save-every", 0, "--resume")
    assert_fails_in_one_line(process, "No space left on device")
    assert count_saved_steps(folder) >= 0
    assert not list_temporary_files(folder)
    assert resize("10m") == 0
    finish(start(disk, *command, "--resume"))
    assert read_outcome(folder) == expected


def test_two_processes_cannot_train_in_one_folder(start, data, tmp_path, capsys):
    folder = tmp_path / RUN

    def train(*words):
        command = ["-e", "3", "-nowb", "--cpu", "--precision", "fp32", "-o", str(tmp_path)]
        return main([*command, "--data", str(data), "--seed", "4", "--epochs", "2", *words])

    process = start(tmp_path, "--data", data, "--seed", 4, "--epochs", 10_000, "--save-every", 0)
    wait_until(lambda: count_saved_steps(folder) > 5, process)
    for choice in ("--resume", "--overwrite"):
        assert train(choice) == 1
        message = capsys.readouterr().err
        assert f"another process is training in {folder}" in message
        assert message.count("\n") == 1
    assert process.poll() is None
    steps = count_saved_steps(folder)
    wait_until(lambda: count_saved_steps(folder) > steps, process)
    process.kill()
    finish(process, -signal.SIGKILL)
    # The folder is free again, but its run has more epochs than requested now.
    assert train("--resume", "--epochs", "1") == 2
    assert "beyond 1 epochs already" in capsys.readouterr().err

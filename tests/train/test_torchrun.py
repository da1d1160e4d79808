"""`torchrun`: two processes train one run, are stopped, killed and resumed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.run_folders import count_saved_steps, read_lines, read_outcome

RUN = "3-unet-8-halving"
COMMAND = ("-e", "3", "-nowb", "--cpu", "--precision", "fp32")


def start_torchrun(data, output, *words):
    """Start two processes on one run, as a user does."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "train", *COMMAND, "--data", data, "-o", output, *words]
    return subprocess.Popen(
        [sys.executable, *launcher, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def start_pair(start_process):
    """Start the two processes of a run without torchrun, which is faster."""

    def start_pair(data, output, *words):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        return [
            start_process(
                *(*COMMAND, "--data", data, "-o", output, *words),
                environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in (0, 1)
        ]

    return start_pair


def finish_pair(pair):
    """Await two processes; return the output of both."""
    outputs = [process.communicate() for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    return "".join(output for output, _ in outputs)


def wait_for_progress(processes, folder, since):
    """Wait until some steps more than `since` are saved."""
    deadline = time.monotonic() + 120
    while count_saved_steps(folder) < since + 4:
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def find_workers(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.timeout(600)  # on a busy machine torchrun starts slowly
@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM],
        pytest.param([signal.SIGTERM, signal.SIGINT], marks=pytest.mark.long),
    ],
)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes in /proc")
def test_torchrun_stopped_killed_and_resumed_gives_the_bits_of_one_run(
    signals, data, tmp_path, start_pair
):
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    endless = ("--epochs", 10_000, "--save-every", 0, "--resume")

    pair = start_pair(data, stopped, *endless)
    wait_for_progress(pair, stopped / RUN, 0)
    for process in pair:
        process.kill()
    assert [process.wait() for process in pair] == [-signal.SIGKILL] * 2

    for number in signals:
        before = count_saved_steps(stopped / RUN)
        process = start_torchrun(data, stopped, *endless)
        wait_for_progress([process], stopped / RUN, before)
        workers = find_workers(process)
        assert len(workers) == 2
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        # torchrun itself ends with its own traceback and exit code 1.
        assert process.returncode == 1
        assert "SignalException" in errors
        assert output.count(f"Stopped by {number.name}: everything is saved") == 1
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        assert output.count("Resuming ") == 1

    epochs = len(read_lines(stopped / RUN)) + 2
    finish_pair(start_pair(data, stopped, "--epochs", epochs, "--resume"))
    output = finish_pair(start_pair(data, straight, "--epochs", epochs))
    assert read_outcome(stopped / RUN) == read_outcome(straight / RUN)

    # There is one folder, as a single process leaves it, and every line is printed once.
    assert sorted(path.name for path in (straight / RUN).iterdir()) == [
        *("best.safetensors", "config.json", "last.safetensors", "metrics.jsonl"),
        *("report.json", "resume"),
    ]
    assert [path.name for path in straight.iterdir()] == [RUN]
    assert json.loads((straight / RUN / "config.json").read_text())["processes"] == 2
    for number in range(1, epochs + 1):
        assert output.count(f"epoch {number:{len(str(epochs))}}/{epochs}  loss") == 1
    for words in ("Data: 60 patches", "in 2 processes in float32", "best validation IoU"):
        assert output.count(words) == 1

"""Training processes that start quickly: each is a fork of a server that has imported torch."""

import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.util import Finalize

import torch

from tests.helpers.fork_server import fork_server
from train import experiments
from train.__main__ import main
from train.experiments import Experiment
from train.loop import Trainer
from train.schedules import Linear

RICH = Experiment(  # all options of a recipe at once
    *(9000, "rich", "unet", {"width": 6}),
    learning_rate=3e-3,
    schedule=Linear(0.2),
    muon=0.02,
    average=0.99,
    roll=True,
    flip=True,
    cycle=True,
    noise=0.1,
    loss="dice_bce",
)

# The first optimiser imports a part of torch that takes seconds: the fork server does it once.
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])


def add_rich_experiment():
    experiments.EXPERIMENTS += (RICH,)


def limit_file_size(size):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def slow_down_second_step():
    """Let the second step spend seconds within one operation of torch."""
    update = Trainer._update_weights

    def update_slowly(self, *arguments, **options):
        if self.step == 1:
            matrix = torch.ones(6000, 6000)
            print("slow", flush=True)
            matrix @ matrix
        return update(self, *arguments, **options)

    Trainer._update_weights = update_slowly


def print_wandb_import():
    """Print at exit whether wandb was imported."""
    Finalize(None, lambda: print("wandb" in sys.modules), exitpriority=1)


def _run(words, prepare, arguments, environment, streams):
    """Run `python -m train` with its streams redirected, after `prepare(*arguments)`."""
    os.environ.clear()  # the server's environment is that of its first user
    os.environ |= environment
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode) for n, mode in enumerate("rww"))
    if prepare:
        prepare(*arguments)
    sys.argv = ["train", *words]
    sys.exit(main())


class TrainProcess:
    """A training process, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, folder, words, prepare=None, arguments=(), environment=None, terminal=None):
        self._outputs = {}
        pipes = [folder / "stdout", folder / "stderr"]
        for pipe in pipes:  # not files, whose size a test limits
            os.mkfifo(pipe)
            self._outputs[os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)] = b""
        streams = [terminal] * 3 if terminal else [os.devnull, *pipes]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self._process = fork_server().Process(
            target=_run,
            args=([*map(str, words)], prepare, arguments, variables, [*map(str, streams)]),
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        self.read_output()  # a full pipe would block the process
        return self.returncode

    def wait(self, timeout=120):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline, "the process does not end"
            self._process.join(0.01)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def read_output(self):
        """Return what it has printed so far."""
        for pipe in self._outputs:
            with suppress(BlockingIOError):
                while piece := os.read(pipe, 65536):
                    self._outputs[pipe] += piece
        return next(iter(self._outputs.values())).decode()

    def communicate(self, timeout=120):
        self.wait(timeout)
        self.read_output()
        output, errors = (text.decode() for text in self._outputs.values())
        return output, errors

    def close(self):
        """Kill the process if it runs, and close the pipes."""
        if self.poll() is None:
            self.kill()
            self.wait()
        for pipe in self._outputs:
            os.close(pipe)


def finish(process, code=0):
    """Await the end with an exit code; return the output and the errors."""
    output, errors = process.communicate()
    assert process.returncode == code, output + errors
    return output, errors


def wait_until(happened, process, pause=0.002):
    """Wait for a condition while the process runs."""
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        assert process.poll() is None, f"it has ended: {process.communicate()}"
        time.sleep(pause)

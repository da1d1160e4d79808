"""Resuming as its user meets it: whatever stopped a run, it ends as if nothing had."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from geoseg import read_card
from geoseg.synthetic import make_synthetic_dataset
from tests.helpers import ROOT
from tests.helpers.synthetic_data import make_data
from train import experiments
from train.__main__ import main
from train.checkpointing import CHECKPOINTS
from train.data import Data
from train.experiments import Linear, Plateau, find_experiments
from train.run import RunSettings, run
from train.signals import StopRequest
from train.state import StateError, StateStore
from train.tracking import Tracker
from train.wandb_options import UNTRACKED

TIMING = {"seconds", "patches_per_second"}
SMALL = "3-unet-8-halving"
RUN = "runpy.run_module('train', run_name='__main__', alter_sys=True)"
# Ways of starting Python: as the user does; with an experiment more, of all that a recipe may ask
# for; where no file can be larger than so many bytes; with a second step that takes seconds, in
# one operation of torch.
PLAIN = ("-m", "train")
RICH = (
    "-c",
    f"""
import runpy, train.experiments as e
e.EXPERIMENTS += (e.Experiment(
    9000, "rich", "unet", {{"width": 6}}, learning_rate=3e-3, schedule=e.Linear(0.2), muon=0.02,
    average=0.99, roll=True, flip=True, cycle=True, noise=0.1, loss="dice_bce",
),)
{RUN}""",
)
LIMITED = (
    "-c",
    f"""
import resource, runpy, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
{RUN}""",
)
SLOW = (
    "-c",
    f"""
import runpy, torch
from train.loop import Trainer
learn = Trainer._learn
def learn_slowly(self, *arguments, **options):
    if self.step == 1:
        matrix = torch.ones(6000, 6000)
        print("slow", flush=True)
        matrix @ matrix
    return learn(self, *arguments, **options)
Trainer._learn = learn_slowly
{RUN}""",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five steps an epoch."""
    return make_data(tmp_path_factory.mktemp("set") / "data", 5, 200)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Two steps an epoch."""
    return make_data(tmp_path_factory.mktemp("set") / "few", 5, 60)


@pytest.fixture(scope="module")
def start():
    """Starts a training process; none outlives the tests."""
    processes = []

    def start(output, *arguments, python=PLAIN, e=3):
        command = (*python, "-e", e, "-nowb", "--cpu", "--precision", "fp32", "-o", output)
        process = subprocess.Popen(
            [sys.executable, *map(str, (*command, *arguments))],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def finish(process, code=0):
    """Await its end with an exit code; gives what it said and what it complained of."""
    said, complaint = process.communicate(timeout=250)
    assert process.returncode == code, said + complaint
    return said, complaint


@pytest.fixture(scope="module")
def straight(start, tmp_path_factory):
    """Gives the outcome of a run that nothing disturbs."""
    outcomes = {}

    def straight(*arguments, **options):
        key = str((arguments, options))
        if key not in outcomes:
            output = tmp_path_factory.mktemp("straight")
            finish(start(output, *arguments, **options))
            (folder,) = output.iterdir()
            outcomes[key] = outcome(folder)
        return outcomes[key]

    return straight


def outcome(folder):
    """All of a run that must not depend on how often it was stopped."""
    assert not leftovers(folder)
    state, damaged = StateStore(folder / "resume").load()
    assert not damaged
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {
        "state": fingerprints(state.tensors),
        "values": state.values["trainer"],
        "records": untimed(state.values["records"]),
        "metrics": untimed(map(json.loads, lines)),
        "best epoch": state.values["best"],
        **{name: fingerprints(load_file(folder / name)) for name in CHECKPOINTS},
    }


def fingerprints(tensors):
    return {
        name: (t.dtype, tuple(t.shape), hashlib.sha256(t.numpy().tobytes()).hexdigest())
        for name, t in tensors.items()
    }


def untimed(records):
    return [{k: v for k, v in record.items() if k not in TIMING} for record in records]


def leftovers(folder):
    """What is being written, or was when a process died."""
    return [p for place in (folder, folder / "resume") for p in place.glob(".*.tmp")]


def reached(folder):
    """How many steps are saved; -1 where nothing is."""
    return max((int(p.stem) for p in (folder / "resume").glob("*.safetensors")), default=-1)


def wait_until(happened, process, pause=0.002):
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        if process.poll() is not None:
            pytest.fail(f"it has ended: {process.communicate()}")
        time.sleep(pause)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("kills", "e", "python"),
    [
        pytest.param(20, 3, PLAIN, marks=pytest.mark.timeout(600)),
        pytest.param(100, 3, PLAIN, marks=LONG),
        pytest.param(100, 9000, RICH, marks=LONG),
    ],
)
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(
    kills, e, python, start, straight, data, tmp_path
):
    """Every other time it is killed while it writes a file."""
    random, half_written = Random(20), 0
    command = ("--data", data, "--epochs", 2 * kills)
    folder = tmp_path / (SMALL if e == 3 else "9000-rich")
    for kill in range(kills):
        goal = reached(folder) + random.randint(1, 3)
        process = start(tmp_path, *command, "--save-every", 0, "--resume", e=e, python=python)
        wait_until(lambda goal=goal: reached(folder) >= goal, process)
        if kill % 2:
            wait_until(lambda: leftovers(folder), process, pause=0)
        else:
            time.sleep(random.uniform(0, 0.1))
        process.kill()
        finish(process, -signal.SIGKILL)
        half_written += bool(leftovers(folder))
    assert half_written
    said, _ = finish(start(tmp_path, *command, "--resume", e=e, python=python))
    assert f"Resuming {folder} after" in said
    assert outcome(folder) == straight(*command, e=e, python=python)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_stopped_by_a_signal_ends_as_if_it_had_not_been(
    number, start, straight, data, tmp_path
):
    command, folder = ("--data", data, "--epochs", 8), tmp_path / SMALL
    process = start(tmp_path, *command, "--save-every", 0)
    wait_until(lambda: reached(folder) >= 7, process)
    for _ in range(2):  # as `timeout` does: to the process, and to its group
        process.send_signal(number)
    said, _ = finish(process, 128 + number)
    assert "finishing this step and saving" in said
    assert f"Stopped by {signal.Signals(number).name}" in said
    steps = reached(folder)
    said, _ = finish(start(tmp_path, *command, "--resume"))
    epochs, step = re.search(r"Resuming .* after (\d+) epochs and (\d) of 5 steps\.", said).groups()
    assert int(epochs) * 5 + int(step) == steps
    assert outcome(folder) == straight(*command)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once_and_the_run_can_be_resumed(
    number, start, straight, few, tmp_path
):
    """Though the first one finds no end of an operation at which Python could obey."""
    command, folder = ("--data", few, "--epochs", 1), tmp_path / SMALL
    process = start(tmp_path, *command, "--save-every", 0, python=SLOW)
    while process.stdout.readline() not in ("slow\n", ""):
        pass
    for _ in range(2):
        time.sleep(0.5)  # one that comes at once is taken for an echo of the first
        process.send_signal(number)
    said, complaint = finish(process, 128 + number)
    assert "Stopped" not in said
    assert not complaint
    assert reached(folder) == 1
    finish(start(tmp_path, *command, "--resume"))
    assert outcome(folder) == straight(*command)


def assert_refused(process, *words):
    said, complaint = finish(process, 1)
    assert "Traceback" not in said
    assert complaint.count("\n") == 1
    assert all(word in complaint for word in ("train: ", *words))


def test_a_full_disk_is_one_line_and_the_run_can_be_resumed(start, straight, data, tmp_path):
    """Whether it is the first state that does not fit any more, a later one, or anything at all."""
    pytest.importorskip("resource", reason="needs a POSIX system")
    command, folder = ("--data", data, "--epochs", 8), tmp_path / SMALL
    expected = straight(*command)

    def resume(**options):
        return start(tmp_path, *command, "--save-every", 0, "--resume", **options)

    def start_limited(size):
        return resume(python=(*LIMITED, size))

    assert_refused(start_limited(20_000), "000000000000.safetensors", "File too large")
    assert not [path for path in folder.rglob("*") if path.is_file()]
    process = resume()
    wait_until(lambda: reached(folder) >= 7, process)
    process.kill()
    finish(process, -signal.SIGKILL)
    before = {path: data for path, data in contents(folder).items() if path.suffix != ".tmp"}
    assert_refused(start_limited(100), "config.json", "File too large")
    assert contents(folder) == before
    assert_refused(start_limited(100_000), "File too large")
    assert StateStore(folder / "resume").load()[1] == []
    finish(resume())
    assert outcome(folder) == expected


@pytest.fixture
def little_disk(tmp_path):
    """A file system of 400 kB, and how to change its size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if sys.platform != "linux" or mount("size=400k"):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder, lambda size: mount(f"remount,size={size}")
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_that_is_full_harms_nothing(little_disk, start, straight, data):
    disk, resize = little_disk
    command, folder = ("--data", data, "--epochs", 8), disk / SMALL
    expected = straight(*command)
    process = start(disk, *command, "--save-every", 0, "--resume")
    assert_refused(process, "No space left on device")
    assert reached(folder) >= 0
    assert not leftovers(folder)
    assert resize("10m") == 0
    finish(start(disk, *command, "--resume"))
    assert outcome(folder) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_record_that_cannot_be_written_is_said_with_its_file(tmp_path):
    with Tracker(tmp_path, {}, tracking=UNTRACKED, console=Console(quiet=True)) as tracker:
        lines = tmp_path / "metrics.jsonl"
        lines.unlink()
        lines.symlink_to("/dev/full")
        with pytest.raises(OSError, match=f"{lines} cannot be written: .*No space left"):
            tracker.log({"epoch": 1})


def test_two_processes_do_not_train_in_one_folder(start, data, tmp_path, capsys):
    folder = tmp_path / SMALL
    process = start(tmp_path, "--data", data, "--seed", 4, "--epochs", 10_000, "--save-every", 0)
    wait_until(lambda: reached(folder) > 5, process)
    for choice in ("--resume", "--overwrite"):
        assert train(tmp_path, data, choice) == 1
        message = capsys.readouterr().err
        assert f"another process is training in {folder}" in message
        assert message.count("\n") == 1
    assert process.poll() is None
    steps = reached(folder)
    wait_until(lambda: reached(folder) > steps, process)
    process.kill()
    finish(process, -signal.SIGKILL)
    # The folder is free again, but its run has gone further than is asked now.
    assert train(tmp_path, data, "--resume", "--epochs", "1") == 2
    assert "beyond 1 epochs already" in capsys.readouterr().err


# From here on a run is in this process, which is quicker.


def train(output, data, *arguments):
    """Train the smallest experiment; gives the exit code."""
    command = ["-e", "3", "-nowb", "--cpu", "--data", str(data), "-o", str(output), "--seed", "4"]
    return main([*command, "--precision", "fp32", "--epochs", "2", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory):
    """A run of two epochs."""
    output = tmp_path_factory.mktemp("finished")
    assert train(output, few) == 0
    return output / SMALL


@pytest.fixture(scope="module")
def halted(few, tmp_path_factory):
    """The same run after its first epoch."""
    output = tmp_path_factory.mktemp("halted")
    assert train(output, few, "--epochs", 1) == 0
    return output / SMALL


@pytest.fixture
def folder(finished, tmp_path):
    """A finished run to do something to."""
    return shutil.copytree(finished, tmp_path / SMALL)


@pytest.fixture
def half(halted, tmp_path):
    """A run with an epoch to go."""
    return shutil.copytree(halted, tmp_path / SMALL)


def newest(folder):
    return max((folder / "resume").glob("*.safetensors"))


def test_with_nothing_to_resume_a_run_starts_afresh(finished, few, tmp_path, capsys):
    assert train(tmp_path, few, "--resume") == 0
    folder = tmp_path / SMALL
    assert f"Nothing to resume in {folder}: starting afresh." in capsys.readouterr().out
    assert outcome(folder) == outcome(finished)


def test_a_finished_run_is_done(folder, few, capsys):
    before = contents(folder)
    assert train(folder.parent, few, "--resume") == 0
    said = capsys.readouterr().out
    assert f"Resuming {folder} finds all 2 epochs done." in said
    assert "best validation IoU" in said
    after = contents(folder)
    assert after.keys() == before.keys()
    report = Path("report.json")
    assert {k for k in after if after[k] != before[k]} <= {report, Path("config.json")}
    timed, again = (json.loads(files[report]) for files in (before, after))
    assert {**timed, "seconds": 0} == {**again, "seconds": 0}


def test_what_a_finished_run_has_lost_is_written_again(folder, few):
    before = outcome(folder)
    (folder / "metrics.jsonl").unlink()
    (folder / "last.safetensors").unlink()
    (folder / "config.json").write_text("garbage")
    assert train(folder.parent, few, "--resume") == 0
    assert outcome(folder) == before
    assert json.loads((folder / "config.json").read_text())["id"] == 3


def test_more_epochs_are_the_same_as_a_longer_run_from_the_start(half, finished, few, capsys):
    assert train(half.parent, few, "--resume", "--epochs", 2) == 0
    assert f"Resuming {half} after 1 epochs and 0 of 2 steps." in capsys.readouterr().out
    assert outcome(half) == outcome(finished)
    report, expected = (json.loads((run / "report.json").read_text()) for run in (half, finished))
    assert report["epochs"] == 2
    assert untimed([report["best"], report["last"]]) == untimed(
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
def test_another_recipe_is_refused(changes, words, folder, few, monkeypatch, capsys):
    change_recipe(monkeypatch, **changes)
    assert_another(folder, few, words, capsys)


def test_another_seed_or_other_data_are_refused(folder, few, tmp_path, capsys):
    assert_another(folder, few, "seed 4, not 5", capsys, "--seed", 5)
    other = make_data(tmp_path / "other", 5, 60, seed=1)
    capsys.readouterr()
    assert_another(folder, other, "patches {'train': ", capsys)
    assert_another(folder, few, "patches {'train': ", capsys, "--fold", "1/2")


def assert_another(folder, data, words, capsys, *arguments):
    before = contents(folder)
    assert train(folder.parent, data, "--resume", *arguments) == 2
    message = capsys.readouterr().err
    assert f"train: the run in {folder} began with {words}" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert contents(folder) == before


def test_a_schedule_that_depends_on_the_end_fixes_it(few, tmp_path, monkeypatch, capsys):
    change_recipe(monkeypatch, schedule=Linear(0.5))
    assert train(tmp_path, few) == 0
    assert_another(tmp_path / SMALL, few, "epochs 2, not 3", capsys, "--epochs", 3)
    assert train(tmp_path, few, "--resume") == 0


def test_other_circumstances_are_accepted_and_said(half, few, capsys):
    torch.set_num_threads(2)
    try:
        assert train(half.parent, few, "--resume", "--precision", "bf16") == 0
    finally:
        torch.set_num_threads(1)
    said = capsys.readouterr().out
    assert "Resuming: precision was float32 and is bfloat16 now: the run stays sound" in said
    assert "Resuming: threads was 1 and is 2 now" in said
    assert said.count("Resuming: ") == 2
    assert len((half / "metrics.jsonl").read_text().splitlines()) == 2


def test_resume_and_overwrite_exclude_each_other(folder, few, capsys):
    before = contents(folder)
    with pytest.raises(SystemExit) as stop:
        train(folder.parent, few, "--resume", "--overwrite")
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize("choice", ["--resume", "--overwrite"])
def test_what_a_killed_process_left_half_written_is_removed(choice, folder, few):
    for name in (".best.safetensors.1.tmp", ".report.json.1.tmp", "resume/.0.safetensors.1.tmp"):
        (folder / name).write_bytes(b"half")
    (folder / ".mine").touch()
    assert train(folder.parent, few, choice) == 0
    assert not leftovers(folder)
    assert (folder / ".mine").exists()


def test_a_best_checkpoint_that_is_gone_is_said(half, few, capsys):
    (half / "best.safetensors").unlink()
    assert train(half.parent, few, "--resume") == 0
    said = capsys.readouterr().out
    assert "Resuming: best.safetensors is gone; the best epoch from here on replaces it." in said
    assert read_card(half / "best.safetensors").experiment["epochs_done"] == 2


def test_a_best_checkpoint_that_is_gone_for_good_is_said(folder, few, capsys):
    (folder / "best.safetensors").unlink()
    before = json.loads((folder / "report.json").read_text())
    assert train(folder.parent, few, "--resume") == 0
    said = capsys.readouterr().out
    assert "best.safetensors is gone, and no epoch is left to replace it." in said
    assert json.loads((folder / "report.json").read_text())["best"] == before["best"]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_without_a_state_are_not_resumed(name, folder, few, capsys):
    shutil.rmtree(folder / "resume")
    for other in set(CHECKPOINTS) - {name}:
        (folder / other).unlink()
    before = contents(folder)
    assert train(folder.parent, few, "--resume") == 2
    message = capsys.readouterr().err
    assert "no state to resume from" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert contents(folder) == before


def damage(path):
    """Flip a bit of the last tensor."""
    data = path.read_bytes()
    path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])


def test_a_damaged_state_is_said_and_the_one_before_is_used(folder, finished, few, capsys):
    command = (folder.parent, few, "--save-every", 0)
    assert train(*command, "--overwrite") == 0
    path = newest(folder)
    damage(path)
    capsys.readouterr()
    assert train(*command, "--resume") == 0
    said = capsys.readouterr().out
    assert f"Resuming: {path} is damaged (its checksum does not fit its content)" in said
    assert "going on from the one before." in said
    assert f"Resuming {folder} after 1 epochs and" in said
    assert outcome(folder) == outcome(finished)


def test_where_all_states_are_damaged_nothing_is_touched(folder, few, capsys):
    for path in (folder / "resume").iterdir():
        damage(path)
    before = contents(folder)
    assert train(folder.parent, few, "--resume") == 2
    message = capsys.readouterr().err
    assert "train: no saved state is whole" in message
    assert "--overwrite" in message
    assert message.count("\n") == 1
    assert contents(folder) == before


# The smallest run there is, of two epochs of two steps.
TINY = replace(
    find_experiments(["3"])[0], arguments={"width": 2}, epochs=2, batch=20, roll=True, flip=True
)


@pytest.fixture(scope="module")
def tiny():
    """Gives a function that runs TINY in a folder, saving after every step."""
    dataset = make_synthetic_dataset(4, 50, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    data = Data(dataset.select(~validation), dataset.select(validation), "tiny")

    def tiny(output, **options):
        setting = RunSettings(
            output, torch.device("cpu"), precision="fp32", save_every=0, **options
        )
        with StopRequest() as stop:
            run(TINY, data, setting, stop, Console(quiet=True))
        return output / TINY.run_name

    return tiny


def keep_every_moment(folder, into, monkeypatch):
    """Copy a folder before each thing that happens to a file, as a death just then leaves it."""
    moments = []

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            if not moments or contents(folder) != contents(moments[-1]):
                moments.append(shutil.copytree(folder, into / str(len(moments)) / folder.name))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((os, "fsync"), *((Path, n) for n in ("touch", "replace", "unlink"))):
        watch(owner, name)
    return moments


def test_whatever_file_a_run_was_at_when_it_died_it_ends_the_same(tiny, tmp_path, monkeypatch):
    expected = outcome(tiny(tmp_path / "straight"))
    folder = tmp_path / "run" / TINY.run_name
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        moments = keep_every_moment(folder, tmp_path / "moments", patch)
        tiny(folder.parent)
    assert len(moments) > 30
    assert sum(bool(leftovers(moment)) for moment in moments) > 10
    there = set()
    for moment in moments:
        before, there = there, {p.name for p in moment.glob("*.safetensors") if load_file(p)}
        assert before <= there
        assert outcome(tiny(moment.parent, resume=True)) == expected, moment


def test_a_death_while_replacing_a_run_never_mixes_the_two(tiny, tmp_path, monkeypatch):
    """It is the old run still, or the new one, or refused."""
    old = tiny(tmp_path / "run", seed=1)
    expected = {seed: outcome(tiny(tmp_path / str(seed), seed=seed)) for seed in (1, 2)}
    with monkeypatch.context() as patch:
        moments = keep_every_moment(old, tmp_path / "moments", patch)
        tiny(old.parent, seed=2)
    ends = []
    for moment in moments:
        again = shutil.copytree(moment.parent, moment.parent.with_suffix(".old"))
        for output, seed in ((moment.parent, 2), (again, 1)):
            try:
                end = outcome(tiny(output, resume=True, seed=seed))
            except StateError as error:
                ends.append("no state" if "no state to resume" in str(error) else "other")
            else:
                assert end == expected[seed], moment
                ends.append(seed)
    assert {1, 2, "other", "no state"} == set(ends)


def test_a_report_of_the_run_that_is_replaced_is_gone_before_the_new_one_begins(
    tiny, tmp_path, monkeypatch
):
    folder = tiny(tmp_path, seed=1)
    assert (folder / "report.json").exists()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("train.run._train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path, seed=2)
    assert not (folder / "report.json").exists()

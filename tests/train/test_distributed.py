"""Several processes on one run: together they compute what a single one does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from safetensors import safe_open
from safetensors.torch import load_file

import train.__main__ as program
from geoseg import create_model, read_card
from geoseg.losses import LOSSES
from geoseg.normalisation import Normalisation
from geoseg.synthetic import synthetic_dataset
from tests.helpers import ROOT
from tests.helpers.synthetic_data import make_data
from train.__main__ import main
from train.distributed import SINGLE_PROCESS, ProcessGroup, local_device
from train.experiments import Experiment, Linear, Plateau
from train.loop import Trainer
from train.sampling import IGNORED, PreparedSet, prepare
from train.teacher import Teacher
from train.tuning import Tuning

CPU = torch.device("cpu")
RUN = "3-unet-8-halving"
SMALL = Experiment(9000, "small", "unet", {"width": 4}, batch=8, learning_rate=3e-3, roll=True)
LEARNING = {
    "adam": replace(SMALL, flip=True, loss="dice_bce", schedule=Plateau(0.5, 0), epochs=2),
    "muon": replace(
        SMALL, muon=0.02, average=0.9, noise=0.1, cycle=True, schedule=Linear(0.2), epochs=2
    ),
}
BATCHES = {8: [4, 4], 7: [4, 3], 1: [1, 0]}  # what each of two processes gets of it
PLACES = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
SHAPES = [(3, 2), (), (0,), (2, 3, 4, 5)]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uneven_sets():
    """Training and validation sets of which every patch has more nulls than the one before."""
    dataset = synthetic_dataset(3, 39, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    sets = [prepare(dataset.select(c), Normalisation(), CPU) for c in (~validation, validation)]
    for part in sets:
        for i, pair in enumerate(part.pairs):
            pair[1, : 30 * i // len(part)] = IGNORED
    return sets


def first_gradients(group, sets, **options):
    """Of the first step: the gradients, the loss, and how many patches this process had."""
    experiment = replace(SMALL, **options.pop("changes", {}))
    trainer = Trainer(experiment, *sets, group=group, **options)
    seen, loss = [], trainer._compute_loss

    def watch(logits, *rest):
        seen.append(len(logits))
        return loss(logits, *rest)

    trainer._compute_loss = watch
    assert trainer.run_epoch(lambda _: False) is None
    gradients = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    return {"gradients": gradients, "loss": trainer._losses[0], "patches": sum(seen)}


def two_epochs(experiment, group, sets):
    """What two epochs with their validations bring, and the state they end in."""
    trainer = Trainer(experiment, *sets, group=group)
    epochs = [trainer.run_epoch(lambda _: True) for _ in range(2)]
    return {
        "metrics": [
            [e.loss, e.validation_loss, *e.metrics.values(), *e.wells.values(), e.threshold]
            for e in epochs
        ],
        "logits": trainer.predict(sets[1]),
        "state": trainer.state().digest(),
        "weights": torch.cat([p.detach().flatten() for p in trainer.model.parameters()]),
    }


def compute(group):
    """Everything that must not depend on how many processes there are."""
    sets = uneven_sets()
    few = PreparedSet(*(part[:1] for part in sets[1]))
    plain = {
        (loss, batch): first_gradients(group, sets, changes={"loss": loss, "batch": batch})
        for loss in LOSSES
        for batch in BATCHES
    }
    others = {
        (name, batch): first_gradients(
            *(group, sets),
            changes={"architecture": name, "arguments": arguments, "batch": batch},
            tuning=Tuning(channels_last=True, fused=True),
        )
        for name, arguments in (
            ("unet", {"width": 4}),
            ("stacked", {"width": 4}),
            ("vanilla", {"widths": (4, 4)}),
        )
        for batch in (7, 1)
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = Teacher([create_model("vanilla", widths=(4,))], {})
    taught = {
        ("taught", batch): first_gradients(group, sets, changes={"batch": batch}, teacher=teacher)
        for batch in (7, 1)
    }
    return {
        "gradients": plain | others | taught,
        "epochs": {name: two_epochs(e, group, sets) for name, e in LEARNING.items()},
        "few": [
            Trainer(replace(SMALL, **e), sets[0], few, group=group).validate()
            for e in (
                {},
                {"architecture": "stacked", "arguments": {"width": 4}},
                {"architecture": "vanilla", "arguments": {"widths": (4, 4)}},
            )
        ],
    }


def exchange(group):
    """What the processes tell each other."""
    wholes = [random(count, 2, 3, seed=count) for count in range(8)]
    own = [random(*shape, seed=group.rank) for shape in SHAPES]
    own[-1] = own[-1].contiguous(memory_format=torch.channels_last)
    places = [t.data_ptr() for t in own]
    group.all_reduce(own)
    return {
        "collected": [group.gather(group.shard(whole), len(whole)) for whole in wholes],
        "added": own,
        "in place": places == [t.data_ptr() for t in own],
        "any": [
            group.any(flag, CPU)
            for flag in (False, True, group.rank == 0, group.rank == group.world_size - 1)
        ],
    }


def ask_one_to_stop(group, which):
    """How many steps each process does where just one is told to stop after its third."""
    trainer = Trainer(SMALL, *uneven_sets(), group=group)
    ended = trainer.run_epoch(lambda _: not (group.rank == which and trainer.step == 3))
    return ended is None, trainer.step


def signal_after(function):
    """The function, but the process gets a signal when it has done its work."""

    def wrapper(*arguments):
        answer = function(*arguments)
        signal.raise_signal(signal.SIGTERM)
        return answer

    return wrapper


def place(rank, world, ports):
    """Say, as torchrun does, which of how many processes this is, and where they meet."""
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": next(ports), "RANK": rank}
    os.environ |= {name: str(value) for name, value in (here | {"WORLD_SIZE": world}).items()}


def threads():
    """The names of this process's threads, where the system shows them."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.append(path.read_text().strip())
    return names


def run_program(rank, folder, data, ports):
    """The exit codes of the program, where each process has a folder of its own.

    Of a cross-validation, of a mistake, and where only the second process gets a signal: after a
    validation, and between two experiments.
    """

    def run(name, *more):
        place(rank, 2, ports)
        command = ["-nowb", "--cpu", "--precision", "fp32", "--data", data]
        code = main([*command, "-o", f"{folder}/{name}{rank}", *more])
        assert not dist.is_initialized()
        return code

    codes = [run("folds", "-e", "3", "--epochs", "1", "--folds", "2")]
    codes += [run("mistake", "-e", "3", "--folds", "99")]
    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            patch.setattr(Trainer, "validate", signal_after(Trainer.validate))
        codes += [run("epoch", "-e", "3", "--epochs", "3")]
    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            patch.setattr(program, "run", signal_after(program.run))
        codes += [run("between", "-e", "3", "0", "--epochs", "1")]
    return codes


def work(rank, folder, data, ports):
    """What each of three processes does: all exchange, and the first two do all the rest."""
    torch.set_num_threads(1)
    ports = iter(ports)
    place(rank, 3, ports)
    group = ProcessGroup.join(CPU)
    answers = {"place": (group.rank, group.world_size), "exchange": exchange(group)}
    group.leave()
    if rank < 2:
        place(rank, 2, ports)
        group = ProcessGroup.join(CPU)
        answers |= {"exchange2": exchange(group), **compute(group)}
        answers["stops"] = [ask_one_to_stop(group, which) for which in (0, 1)]
        group.leave()
        answers["codes"] = run_program(rank, folder, data, ports)
        answers["threads"] = threads()
    torch.save(answers, f"{folder}/answers{rank}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 3, 40)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """Where three real processes have left what they computed."""
    folder = tmp_path_factory.mktemp("group")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    multiprocessing.start_processes(
        work, (str(folder), str(data), ports), nprocs=3, start_method="spawn"
    )
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    return [torch.load(folder / f"answers{rank}", weights_only=False) for rank in range(3)]


@pytest.fixture(scope="module")
def alone():
    """What a single process computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield compute(SINGLE_PROCESS)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("world", "rank"), PLACES)
def test_shares_are_even_and_make_the_whole(world, rank):
    for count in range(8):
        values = torch.arange(count)
        shares = [ProcessGroup(r, world).shard(values) for r in range(world)]
        assert torch.equal(torch.cat(shares), values)
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert torch.equal(ProcessGroup(rank, world).shard(values), shares[rank])


def test_one_process_alone_passes_everything_through(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    group = ProcessGroup.join(CPU)
    assert (group.rank, group.world_size, group.is_single) == (0, 1, True)
    values = random(3, 2)
    before = values.clone()
    group.all_reduce([values])
    assert torch.equal(values, before)
    assert torch.equal(group.shard(values), before)
    assert torch.equal(group.gather(values, 3), before)
    assert [group.any(flag, CPU) for flag in (False, True)] == [False, True]
    group.leave()


def test_torchrun_says_which_gpu_unless_the_user_does(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_device(torch.device("cuda")) == torch.device("cuda:3")
    assert local_device(torch.device("cuda:1")) == torch.device("cuda:1")
    assert local_device(CPU) == CPU
    monkeypatch.delenv("LOCAL_RANK")
    assert local_device(torch.device("cuda")) == torch.device("cuda")


@pytest.mark.parametrize(("world", "name"), [(3, "exchange"), (2, "exchange2")])
def test_processes_add_and_collect_and_ask_each_other(world, name, answers):
    expected = [
        sum(random(*shape, seed=rank).double() for rank in range(world)) for shape in SHAPES
    ]
    for rank in range(world):
        assert answers[rank]["place"] == (rank, 3)
        found = answers[rank][name]
        for count, whole in enumerate(found["collected"]):  # also of fewer rows than processes
            assert torch.equal(whole, random(count, 2, 3, seed=count))
        for one, other in zip(found["added"], expected, strict=True):
            assert torch.allclose(one.double(), other, rtol=0, atol=1e-6)
        assert found["added"][-1].is_contiguous(memory_format=torch.channels_last)
        assert found["in place"]
        assert found["any"] == [False, True, True, True]
        for one, other in zip(found["added"], answers[0][name]["added"], strict=True):
            assert torch.equal(one, other)


def test_two_halves_of_a_batch_give_the_gradients_of_the_whole(answers, alone):
    assert len(alone["gradients"]) == len(LOSSES) * len(BATCHES) + 8
    for case, expected in alone["gradients"].items():
        assert expected["patches"] == case[1]
        for rank in (0, 1):
            found = answers[rank]["gradients"][case]
            assert found["patches"] == BATCHES[case[1]][rank], case
            difference = (found["gradients"] - expected["gradients"]).abs().max()
            # The stack's own gradients, sums over all pixels in float32, are not as exact as this.
            assert difference <= (5e-6 if case[0] == "stacked" else 1e-6), (case, rank, difference)
            assert found["loss"].item() == pytest.approx(expected["loss"].item(), abs=1e-6)
        assert expected["gradients"].abs().max() > 1e-2
        both = [answers[rank]["gradients"][case]["gradients"] for rank in (0, 1)]
        assert torch.equal(*both), case


@pytest.mark.parametrize("name", LEARNING)
def test_two_epochs_give_the_scores_of_one_process_and_the_same_bits_everywhere(
    name, answers, alone
):
    one, two = (answers[rank]["epochs"][name] for rank in (0, 1))
    expected = alone["epochs"][name]
    assert one["state"] == two["state"]
    assert torch.equal(one["weights"], two["weights"])
    assert torch.equal(one["logits"], two["logits"])
    assert one["metrics"] == two["metrics"]
    for found, wanted in zip(one["metrics"], expected["metrics"], strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)
    assert expected["metrics"][1][0] < expected["metrics"][0][0]  # it learns


def test_a_validation_set_of_one_patch_is_scored_by_all(answers, alone):
    for rank in (0, 1):
        for found, wanted in zip(answers[rank]["few"], alone["few"], strict=True):
            assert found.loss == pytest.approx(wanted.loss, abs=1e-6)
            assert found.metrics == pytest.approx(wanted.metrics)
            assert found.wells == pytest.approx(wanted.wells)


def test_all_stop_where_one_is_asked_to(answers):
    assert [answers[rank]["stops"] for rank in (0, 1)] == [[(True, 3)] * 2] * 2


def files(folder, name, rank):
    return sorted(p.name for p in (folder / f"{name}{rank}").rglob("*") if p.is_file())


def test_nothing_of_the_group_is_left_when_a_process_ends(answers):
    """Where Gloo's threads live on, they now and then crash the interpreter that ends."""
    for rank in (0, 1):
        assert not [name for name in answers[rank]["threads"] if "gloo" in name or "tcp" in name]


def test_only_the_first_process_writes(folder, answers):
    assert answers[0]["codes"] == answers[1]["codes"]
    assert answers[0]["codes"][:2] == [0, 2]
    assert files(folder, "folds", 0).count("report.json") == 2
    assert f"{RUN}-folds.json" in files(folder, "folds", 0)
    for name in ("folds", "mistake", "epoch", "between"):
        assert files(folder, name, 1) == []


def test_a_signal_to_one_process_stops_all_wherever_they_are(folder, answers):
    for rank in (0, 1):
        assert answers[rank]["codes"][2:] == [143, 143]
    card = read_card(folder / "epoch0" / RUN / "last.safetensors")
    assert card.experiment["epochs_done"] == 1
    assert "report.json" not in files(folder, "epoch", 0)
    assert (folder / "between0" / RUN / "report.json").exists()
    assert not list((folder / "between0" / "0-unet-24-short").iterdir())


def torchrun(data, output, *more):
    """Two processes on one run, as a user starts them."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "train", "-e", "3", "-nowb", "--cpu", "--precision", "fp32"]
    return subprocess.Popen(
        [
            *(sys.executable, *launcher, *command),
            *("--data", str(data), "-o", str(output), *map(str, more)),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 0, complained
    return said


def states(output):
    return sorted((output / RUN / "resume").glob("*.safetensors"))


def steps_done(output):
    found = states(output)
    return int(found[-1].stem) if found else 0


def wait_for_progress(process, output, since):
    """Wait until some steps more than `since` have been saved."""
    deadline = time.monotonic() + 120
    while steps_done(output) < since + 4:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def workers(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def run_folder(output):
    """What a run's folder holds, without what no two runs have in common."""
    folder = output / RUN
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["patches_per_second"]
    with safe_open(states(output)[-1], "pt") as file:
        position = json.loads(file.metadata()["values"])["trainer"]
    tensors = {}
    for path in (folder / "best.safetensors", folder / "last.safetensors", states(output)[-1]):
        kind = path.stem if path.parent == folder else "state"
        tensors |= {f"{kind}.{name}": value for name, value in load_file(path).items()}
    return lines, position, tensors


def same_runs(one, other):
    (lines, position, tensors), (lines2, position2, tensors2) = map(run_folder, (one, other))
    assert lines == lines2
    assert position == position2
    assert tensors.keys() == tensors2.keys()
    for name, value in tensors.items():
        assert torch.equal(value, tensors2[name]), name


@pytest.mark.timeout(600)  # five starts of three processes, on a machine that may be busy
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes in /proc")
def test_torchrun_stopped_and_killed_and_resumed_gives_the_bits_of_one_go(data, tmp_path):
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    endless = ("--epochs", 10_000, "--save-every", 0, "--resume")

    process = torchrun(data, stopped, *endless)
    wait_for_progress(process, stopped, 0)
    children = workers(process)
    assert len(children) == 2
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)

    for number in (signal.SIGTERM, signal.SIGINT):
        before = steps_done(stopped)
        process = torchrun(data, stopped, *endless)
        wait_for_progress(process, stopped, before)
        children = workers(process)
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
        # torchrun itself ends with a traceback of its own and says 1.
        assert process.returncode == 1
        assert "SignalException" in complained
        assert said.count(f"Stopped by {number.name}: everything is saved") == 1
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        assert said.count("Resuming ") == 1

    lines = (stopped / RUN / "metrics.jsonl").read_text().splitlines()
    epochs = len(lines) + 2
    finish(torchrun(data, stopped, "--epochs", epochs, "--resume"))
    said = finish(torchrun(data, straight, "--epochs", epochs))
    same_runs(stopped, straight)

    # One folder, as a single process leaves it, and every line once.
    assert sorted(path.name for path in (straight / RUN).iterdir()) == [
        *("best.safetensors", "config.json", "last.safetensors", "metrics.jsonl"),
        *("report.json", "resume"),
    ]
    assert [path.name for path in straight.iterdir()] == [RUN]
    assert json.loads((straight / RUN / "config.json").read_text())["processes"] == 2
    for number in range(1, epochs + 1):
        assert said.count(f"epoch {number:{len(str(epochs))}}/{epochs}  loss") == 1
    for words in ("Data: 40 patches", "in 2 processes in float32", "best validation IoU"):
        assert said.count(words) == 1

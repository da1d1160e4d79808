"""What each process of a distributed test does; started in real processes."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import train.__main__ as program
from geoseg import create_model
from geoseg.losses import LOSSES
from geoseg.normalisation import Normalisation
from geoseg.synthetic import make_synthetic_dataset
from train.distributed import ProcessGroup
from train.experiments import Experiment
from train.loop import Trainer
from train.sampling import IGNORED, PreparedSet, prepare
from train.schedules import Linear, Plateau
from train.teacher import Teacher
from train.tuning import Tuning

CPU = torch.device("cpu")
SMALL = Experiment(9000, "small", "unet", {"width": 4}, batch=8, learning_rate=3e-3, roll=True)
LEARNING = {
    "adam": replace(SMALL, flip=True, loss="dice_bce", schedule=Plateau(0.5, 0), epochs=2),
    "muon": replace(
        SMALL, muon=0.02, average=0.9, noise=0.1, cycle=True, schedule=Linear(0.2), epochs=2
    ),
}
BATCHES = {8: [4, 4], 7: [4, 3], 1: [1, 0]}  # the shards of two processes
SHAPES = [(3, 2), (), (0,), (2, 3, 4, 5)]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_uneven_sets():
    """Make a training and a validation set whose patches have more and more nulls."""
    dataset = make_synthetic_dataset(3, 39, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    sets = [prepare(dataset.select(c), Normalisation(), CPU) for c in (~validation, validation)]
    for part in sets:
        for i, pair in enumerate(part.pairs):
            pair[1, : 30 * i // len(part)] = IGNORED
    return sets


def compute_first_gradients(group, sets, **options):
    """Return the gradients and the loss of the first step, and the patches in this shard."""
    experiment = replace(SMALL, **options.pop("changes", {}))
    trainer = Trainer(experiment, *sets, group=group, **options)
    patches, compute_loss = [], trainer._compute_loss

    def count_patches(logits, *rest):
        patches.append(len(logits))
        return compute_loss(logits, *rest)

    trainer._compute_loss = count_patches
    assert trainer.run_epoch(lambda _: False) is None
    gradients = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    return {"gradients": gradients, "loss": trainer._losses[0], "patches": sum(patches)}


def train_two_epochs(experiment, group, sets):
    """Return the results of two epochs and the state after them."""
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
    """Compute everything that must not depend on the number of processes."""
    sets = make_uneven_sets()
    few = PreparedSet(*(part[:1] for part in sets[1]))
    by_loss = {
        (loss, batch): compute_first_gradients(group, sets, changes={"loss": loss, "batch": batch})
        for loss in LOSSES
        for batch in BATCHES
    }
    by_architecture = {
        (name, batch): compute_first_gradients(
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
    with_teacher = {
        ("teacher", batch): compute_first_gradients(
            group, sets, changes={"batch": batch}, teacher=teacher
        )
        for batch in (7, 1)
    }
    return {
        "gradients": by_loss | by_architecture | with_teacher,
        "epochs": {name: train_two_epochs(e, group, sets) for name, e in LEARNING.items()},
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
    """Run every operation of the process group."""
    wholes = [random(count, 2, 3, seed=count) for count in range(8)]
    tensors = [random(*shape, seed=group.rank) for shape in SHAPES]
    tensors[-1] = tensors[-1].contiguous(memory_format=torch.channels_last)
    addresses = [t.data_ptr() for t in tensors]
    group.all_reduce(tensors)
    return {
        "gathered": [group.gather(group.shard(whole), len(whole)) for whole in wholes],
        "reduced": tensors,
        "in place": addresses == [t.data_ptr() for t in tensors],
        "any": [
            group.any(flag, CPU)
            for flag in (False, True, group.rank == 0, group.rank == group.world_size - 1)
        ],
    }


def stop_one_process(group, which):
    """Return the steps of this process if only one process stops, after its third step."""
    trainer = Trainer(SMALL, *make_uneven_sets(), group=group)
    result = trainer.run_epoch(lambda _: not (group.rank == which and trainer.step == 3))
    return result is None, trainer.step


def signal_after(function):
    """Wrap a function so that the process gets a signal after each call."""

    def wrapper(*arguments):
        result = function(*arguments)
        signal.raise_signal(signal.SIGTERM)
        return result

    return wrapper


def set_environment(rank, world_size, ports):
    """Set the environment variables that torchrun sets."""
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": next(ports), "RANK": rank}
    os.environ |= {
        name: str(value) for name, value in (variables | {"WORLD_SIZE": world_size}).items()
    }


def list_threads():
    """Return the names of this process's threads, on Linux."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.append(path.read_text().strip())
    return names


def run_program(rank, folder, data, ports):
    """Return exit codes of the program; each process has its own folder.

    They are of a cross-validation, of a wrong command line, and of runs in which only the second
    process gets a signal: after a validation, and between two experiments.
    """

    def run(name, *more):
        set_environment(rank, 2, ports)
        command = ["-nowb", "--cpu", "--precision", "fp32", "--data", data]
        code = program.main([*command, "-o", f"{folder}/{name}{rank}", *more])
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
            patch.setattr(program, "run_experiment", signal_after(program.run_experiment))
        codes += [run("between", "-e", "3", "0", "--epochs", "1")]
    return codes


def work(rank, folder, data, ports):
    """Do the work of one of three processes; the third one leaves after the first exchange."""
    torch.set_num_threads(1)
    ports = iter(ports)
    set_environment(rank, 3, ports)
    group = ProcessGroup.join(CPU)
    results = {"group": (group.rank, group.world_size), "exchange": exchange(group)}
    group.leave()
    if rank < 2:
        set_environment(rank, 2, ports)
        group = ProcessGroup.join(CPU)
        results |= {"exchange2": exchange(group), **compute(group)}
        results["stops"] = [stop_one_process(group, which) for which in (0, 1)]
        group.leave()
        results["codes"] = run_program(rank, folder, data, ports)
        results["threads"] = list_threads()
    torch.save(results, f"{folder}/results{rank}")

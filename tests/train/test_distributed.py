"""Several processes on one run compute what a single process does."""

import socket

import pytest
import torch
import torch.multiprocessing

from geoseg import read_card
from geoseg.losses import LOSSES
from tests.helpers.distributed_worker import (
    BATCHES,
    CPU,
    LEARNING,
    SHAPES,
    compute,
    random,
    work,
)
from tests.helpers.fork_server import fork_server
from tests.helpers.synthetic_data import make_data
from train.distributed import SINGLE_PROCESS, ProcessGroup, local_device

RUN = "3-unet-8-halving"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder in which three real processes have left their results."""
    folder = tmp_path_factory.mktemp("processes")
    data = make_data(tmp_path_factory.mktemp("set") / "data", 3, 40)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    fork_server()
    torch.multiprocessing.start_processes(
        work, (str(folder), str(data), ports), nprocs=3, start_method="forkserver"
    )
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return [torch.load(folder / f"results{rank}", weights_only=False) for rank in range(3)]


@pytest.fixture(scope="module")
def expected():
    """Compute with a single process what two compute together."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield compute(SINGLE_PROCESS)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("world_size", "rank"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_shards_are_even_and_complete(world_size, rank):
    for count in range(8):
        values = torch.arange(count)
        shards = [ProcessGroup(r, world_size).shard(values) for r in range(world_size)]
        assert torch.equal(torch.cat(shards), values)
        sizes = [len(shard) for shard in shards]
        assert max(sizes) - min(sizes) <= 1
        assert torch.equal(ProcessGroup(rank, world_size).shard(values), shards[rank])


def test_single_process_returns_its_inputs(monkeypatch):
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


def test_local_rank_chooses_the_gpu_unless_the_user_does(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_device(torch.device("cuda")) == torch.device("cuda:3")
    assert local_device(torch.device("cuda:1")) == torch.device("cuda:1")
    assert local_device(CPU) == CPU
    monkeypatch.delenv("LOCAL_RANK")
    assert local_device(torch.device("cuda")) == torch.device("cuda")


@pytest.mark.parametrize(("world_size", "name"), [(3, "exchange"), (2, "exchange2")])
def test_processes_reduce_gather_and_share_flags(world_size, name, results):
    expected = [
        sum(random(*shape, seed=rank).double() for rank in range(world_size)) for shape in SHAPES
    ]
    for rank in range(world_size):
        assert results[rank]["group"] == (rank, 3)
        found = results[rank][name]
        for count, whole in enumerate(found["gathered"]):  # also with fewer rows than processes
            assert torch.equal(whole, random(count, 2, 3, seed=count))
        for one, other in zip(found["reduced"], expected, strict=True):
            assert torch.allclose(one.double(), other, rtol=0, atol=1e-6)
        assert found["reduced"][-1].is_contiguous(memory_format=torch.channels_last)
        assert found["in place"]
        assert found["any"] == [False, True, True, True]
        for one, other in zip(found["reduced"], results[0][name]["reduced"], strict=True):
            assert torch.equal(one, other)


def test_two_shards_give_the_gradients_of_the_batch(results, expected):
    assert len(expected["gradients"]) == len(LOSSES) * len(BATCHES) + 8
    for case, single in expected["gradients"].items():
        assert single["patches"] == case[1]
        for rank in (0, 1):
            found = results[rank]["gradients"][case]
            assert found["patches"] == BATCHES[case[1]][rank], case
            difference = (found["gradients"] - single["gradients"]).abs().max()
            # A stack's gradients, float32 sums over all pixels, are less exact themselves.
            assert difference <= (5e-6 if case[0] == "stacked" else 1e-6), (case, rank, difference)
            assert found["loss"].item() == pytest.approx(single["loss"].item(), abs=1e-6)
        assert single["gradients"].abs().max() > 1e-2
        both = [results[rank]["gradients"][case]["gradients"] for rank in (0, 1)]
        assert torch.equal(*both), case


@pytest.mark.parametrize("name", LEARNING)
def test_two_epochs_give_the_scores_of_one_process_and_equal_bits_in_both(name, results, expected):
    one, two = (results[rank]["epochs"][name] for rank in (0, 1))
    single = expected["epochs"][name]
    assert one["state"] == two["state"]
    assert torch.equal(one["weights"], two["weights"])
    assert torch.equal(one["logits"], two["logits"])
    assert one["metrics"] == two["metrics"]
    for found, wanted in zip(one["metrics"], single["metrics"], strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)
    assert single["metrics"][1][0] < single["metrics"][0][0]  # it learns


def test_every_process_scores_a_validation_set_of_one_patch(results, expected):
    for rank in (0, 1):
        for found, wanted in zip(results[rank]["few"], expected["few"], strict=True):
            assert found.loss == pytest.approx(wanted.loss, abs=1e-6)
            assert found.metrics == pytest.approx(wanted.metrics)
            assert found.wells == pytest.approx(wanted.wells)


def test_all_processes_stop_if_one_stops(results):
    assert [results[rank]["stops"] for rank in (0, 1)] == [[(True, 3)] * 2] * 2


def list_files(folder, name, rank):
    return sorted(p.name for p in (folder / f"{name}{rank}").rglob("*") if p.is_file())


def test_no_thread_of_the_group_is_left(results):
    """Gloo's threads, if they live on, sometimes crash the interpreter at exit."""
    for rank in (0, 1):
        assert not [name for name in results[rank]["threads"] if "gloo" in name or "tcp" in name]


def test_only_the_first_process_writes(folder, results):
    assert results[0]["codes"] == results[1]["codes"]
    assert results[0]["codes"][:2] == [0, 2]
    assert list_files(folder, "folds", 0).count("report.json") == 2
    assert f"{RUN}-folds.json" in list_files(folder, "folds", 0)
    for name in ("folds", "mistake", "epoch", "between"):
        assert list_files(folder, name, 1) == []


def test_signal_to_one_process_stops_all(folder, results):
    for rank in (0, 1):
        assert results[rank]["codes"][2:] == [143, 143]
    card = read_card(folder / "epoch0" / RUN / "last.safetensors")
    assert card.experiment["epochs_done"] == 1
    assert "report.json" not in list_files(folder, "epoch", 0)
    assert (folder / "between0" / RUN / "report.json").exists()
    assert not (folder / "between0" / "0-unet-24-short").exists()

"""States of a run: damage is detected, the last two are kept, and resuming is exact."""

from dataclasses import replace
from random import Random

import pytest
import torch
from safetensors import SafetensorError

from tests.helpers.synthetic_data import make_sets
from train.experiments import Experiment
from train.loop import Trainer
from train.schedules import Linear, Plateau
from train.state import State, StateError, StateStore
from train.tuning import Tuning

CPU = torch.device("cpu")


def make_state(seed):
    """Make a small state with every kind of tensor and value that a run has, and some more."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 2, 2, 2, generator=generator)
    tensors = {
        "model.weight": weight,
        "model.last": weight.to(memory_format=torch.channels_last),
        "model.batches": torch.tensor(seed),
        "average.none": torch.zeros(0, 3),
        "average.mask": weight[0, 0] > 0,
        "losses": torch.tensor([float("nan"), float("inf"), -0.0]),
    }
    records = [{"epoch": 1, "iou": 0.1 + 0.2, "name": 'a "brunnen" \u00fc'}]
    return State(tensors, {"best": None, "records": records, "rates": [1e-4, float("inf")]})


def bits(state):
    """Return a state as values that can be compared."""
    tensors = {
        name: (t.dtype, tuple(t.shape), t.contiguous().numpy().tobytes())
        for name, t in state.tensors.items()
    }
    return tensors, state.values


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def states(tmp_path):
    """Return a store of two states, after 9 and 10 steps."""
    states = StateStore(tmp_path / "resume")
    for steps in (9, 10):
        states.save(steps, make_state(steps))
    return states


def newest(states):
    return states.folder / f"{10:012}.safetensors"


def test_saved_state_loads_bit_for_bit(states):
    state, damaged = states.load()
    assert bits(state) == bits(make_state(10))
    assert not damaged


def test_empty_store_has_no_state(tmp_path):
    assert StateStore(tmp_path / "none").load() == (None, [])


def test_two_newest_states_are_kept(states):
    for steps in (99, 100, 1_000_000_000):
        states.save(steps, make_state(steps))
    assert [int(path.stem) for path in sorted(states.folder.iterdir())] == [100, 1_000_000_000]
    assert bits(states.load()[0]) == bits(make_state(1_000_000_000))


def test_digest_covers_everything():
    state = make_state(1)
    digest = state.digest()
    assert make_state(1).digest() == digest
    flat = state.tensors["model.weight"].flatten()
    last = state.tensors["losses"].clone()
    last[2] = 0.0
    changed = [
        state._replace(values={**state.values, "best": 1}),
        State({**state.tensors, "losses": last}, state.values),
        State({**state.tensors, "model.weight": flat}, state.values),
        State({**state.tensors, "average.none": torch.zeros(3, 0)}, state.values),
        State({**state.tensors, "model.batches": torch.tensor(1.0)}, state.values),
        State({f"{name}.": t for name, t in state.tensors.items()}, state.values),
    ]
    assert digest not in [other.digest() for other in changed]
    assert len({other.digest() for other in changed}) == len(changed)


def empty(data):
    return b""


def truncate(data):
    return data[: len(data) // 2]


def shorten(data):
    return data[:-1]


def flip_tensors(data):
    """Flip the lowest bit of the first weight, which stays a valid number."""
    at = 8 + int.from_bytes(data[:8], "little")
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def flip_values(data):
    """Flip a bit of a number in the values, which stay valid JSON."""
    at = data.index(b"0.0001")
    return data[: at + 5] + b"0" + data[at + 6 :]


def flip_checksum(data):
    at = data.index(b'sha256":"') + 9
    return data[:at] + (b"1" if data[at : at + 1] == b"0" else b"0") + data[at + 1 :]


def randomise(data):
    return Random(1).randbytes(len(data))


DAMAGE = [empty, truncate, shorten, flip_tensors, flip_values, flip_checksum, randomise]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_state_falls_back_to_previous(damage, states):
    path = newest(states)
    path.write_bytes(damage(path.read_bytes()))
    state, damaged = states.load()
    assert bits(state) == bits(make_state(9))
    assert len(damaged) == 1
    assert f"{path} is damaged" in damaged[0]


def test_every_flipped_bit_is_detected(states):
    """One bit of every byte is flipped; a few mean the same as before, such as 1E5 for 1e5."""
    path, random = newest(states), Random(5)
    content, expected = path.read_bytes(), bits(make_state(10))
    undetected = 0
    for at, byte in enumerate(content):
        path.write_bytes(
            content[:at] + bytes([byte ^ 1 << random.randrange(8)]) + content[at + 1 :]
        )
        state, damaged = states.load()
        if not damaged:
            undetected += 1
            assert bits(state) == expected
    assert undetected < 10


def test_every_truncation_is_detected(states):
    path = newest(states)
    content = path.read_bytes()
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        state, damaged = states.load()
        assert state.tensors["model.batches"] == 9
        assert damaged


@pytest.mark.parametrize("damage", DAMAGE)
def test_store_with_only_damaged_states_deletes_nothing(damage, states):
    for path in states.folder.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    before = contents(states.folder)
    with pytest.raises(StateError, match="every saved state is damaged") as caught:
        states.load()
    assert all(name in str(caught.value) for name in before)
    assert "--overwrite" in str(caught.value)
    assert contents(states.folder) == before


def test_damaged_newer_state_does_not_displace_an_intact_one(states):
    path = newest(states)
    states.save(12, make_state(12))
    ahead = states.folder / f"{12:012}.safetensors"
    ahead.write_bytes(b"")
    assert states.load()[0].tensors["model.batches"] == 10
    states.save(11, make_state(11))
    assert sorted(states.folder.iterdir()) == [path, states.folder / f"{11:012}.safetensors"]
    assert states.load()[1] == []


@pytest.mark.parametrize("error", [SafetensorError("I/O error: full"), OSError("full")])
def test_failed_save_is_an_oserror_and_harms_nothing(error, states, monkeypatch):
    def write_half(_, path, __):
        path.write_bytes(newest(states).read_bytes()[:300])
        raise error

    before = contents(states.folder)
    monkeypatch.setattr("train.state.save_file", write_half)
    for steps in (10, 11):
        with pytest.raises(OSError, match=f"{steps}.safetensors cannot be written: .*full"):
            states.save(steps, make_state(0))
    assert contents(states.folder) == before


def test_clear_deletes_everything(states):
    states.clear()
    assert not contents(states.folder)
    assert states.load() == (None, [])


# Four epochs of three steps, the last step smaller.
SIMPLE = Experiment(
    9000,
    "simple",
    "unet",
    {"width": 4},
    epochs=4,
    batch=16,
    learning_rate=1e-2,
    schedule=Plateau(0.5, 0),
    roll=True,
    flip=True,
)
RICH = replace(
    SIMPLE,
    schedule=Linear(warmup=0.25),
    muon=0.02,
    average=0.99,
    cycle=True,
    noise=0.1,
)
TUNED = Tuning(torch.bfloat16, channels_last=True, fused=True, memory=True)


@pytest.fixture(scope="module")
def sets():
    return make_sets(56)


def without_timing(record):
    return {k: v for k, v in record.items() if k not in {"seconds", "patches_per_second"}}


def train_until(trainer, steps=1_000):
    """Train until `steps` steps of the run are done; return the lines of complete epochs.

    If the last step ends an epoch, it stops before the validation.
    """
    records = []

    def on_step(_):
        return trainer.epoch * trainer.steps + trainer.step < steps

    while trainer.epoch < trainer.experiment.epochs:
        epoch = trainer.run_epoch(on_step)
        if epoch is None:
            break
        records.append(without_timing(epoch.to_json()))
    return records


STACKED = replace(RICH, architecture="stacked", loss="dice_bce")
UNFUSED = replace(TUNED, fused=False)
CASES = [(SIMPLE, Tuning()), (RICH, TUNED)]
MORE_CASES = [(SIMPLE, TUNED), (RICH, Tuning()), (STACKED, UNFUSED)]


@pytest.mark.parametrize(
    ("experiment", "tuning"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.long) for case in MORE_CASES)],
)
def test_trainer_resumes_bit_for_bit_after_any_step(experiment, tuning, sets, tmp_path):
    def trainer():
        return Trainer(experiment, *sets, tuning=tuning)

    straight = trainer()
    expected = train_until(straight)
    total = experiment.epochs * straight.steps
    assert (straight.steps, total) == (3, 12)
    rates = {record["learning_rate"] for record in expected}
    assert len(rates) > 1  # else the schedule would not matter
    stopped, records = trainer(), []
    for steps in range(total + 1):
        records += train_until(stopped, steps) if steps else []
        states = StateStore(tmp_path / str(steps))
        states.save(steps, stopped.state())
        resumed = trainer()
        resumed.restore(states.load()[0])
        assert records + train_until(resumed) == expected, steps
        assert bits(resumed.state()) == bits(straight.state()), steps


@pytest.mark.parametrize(("experiment", "tuning"), CASES + MORE_CASES)
def test_trainer_resumes_bit_for_bit_after_every_step(experiment, tuning, sets, tmp_path):
    straight = Trainer(experiment, *sets, tuning=tuning)
    expected = train_until(straight)
    states, records = StateStore(tmp_path), []
    for steps in range(1, experiment.epochs * straight.steps + 2):
        trainer = Trainer(experiment, *sets, tuning=tuning)
        if steps > 1:
            trainer.restore(states.load()[0])
        records += train_until(trainer, steps)
        states.save(steps, trainer.state())
    assert records == expected
    assert bits(trainer.state()) == bits(straight.state())


def test_plateau_state_is_saved_if_rates_are_tensors(sets, tmp_path):
    """CUDA graphs need such rates; making the Trainer needs no GPU."""
    experiment = Experiment(1, "small", "unet", {"width": 3}, schedule=Plateau(0.5, 1))
    trainer, other = (Trainer(experiment, *sets, tuning=Tuning(graph=True)) for _ in range(2))
    trainer._plateau.step(0.25)
    states = StateStore(tmp_path)
    states.save(0, trainer.state())
    other.restore(states.load()[0])
    assert other._plateau.best == 0.25
    assert other.state().values == trainer.state().values


def test_state_holds_all_that_a_trainer_has(sets):
    """A restored trainer continues like the one that the state was taken from."""
    straight, other = (Trainer(RICH, *sets, tuning=TUNED) for _ in range(2))
    train_until(straight, 4)
    train_until(other, 7)
    saved = straight.state()
    other.restore(State({k: t.clone() for k, t in saved.tensors.items()}, saved.values))
    assert bits(other.state()) == bits(straight.state())
    assert train_until(other) == train_until(straight)
    assert bits(other.state()) == bits(straight.state())

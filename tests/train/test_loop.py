"""The training path: it learns, repeats itself to the bit, and stops at nonsense."""

from dataclasses import replace

import pytest
import torch

from geoseg.normalisation import Normalisation
from geoseg.synthetic import synthetic_dataset
from tests.helpers.synthetic_data import CPU, make_sets
from train.experiments import Experiment, Plateau
from train.loop import Trainer, TrainingError
from train.sampling import IGNORED, EpochPlan, PreparedSet, prepare
from train.tuning import Tuning
from train.validation import find_best_threshold

SMALL = Experiment(
    9000,
    "small",
    "unet",
    {"width": 6},
    epochs=2,
    batch=16,
    learning_rate=3e-3,
    roll=True,
    flip=True,
)


@pytest.fixture(scope="module")
def sets():
    return make_sets(160)


def go(_):
    return True


def train(sets, epochs=2, experiment=SMALL, **options):
    trainer = Trainer(experiment, *sets, **options)
    return trainer, [trainer.run_epoch(go) for _ in range(epochs)]


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_learns_the_grooves(sets):
    trainer, epochs = train(sets, 12)
    assert epochs[-1].loss < 0.6 * epochs[0].loss
    truth = sets[1].labels
    logits = trainer.predict(sets[1])
    assert logits.shape == truth.shape
    assert logits[truth == 1].mean() > logits[truth == 0].mean() + 2
    assert [e.number for e in epochs] == list(range(1, 13))
    assert all(e.patches_per_second > 0 for e in epochs)


def test_the_same_seed_gives_the_same_bits(sets):
    first, again = (train(sets)[0] for _ in range(2))
    other, _ = train(sets, seed=1)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_the_global_random_state_is_neither_used_nor_touched(sets):
    torch.manual_seed(1)
    first = train(sets, 1)[0]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second = train(sets, 1)[0]
    torch.manual_seed(1)
    torch.set_rng_state(state)
    assert torch.equal(weights(first), weights(second))
    before = torch.get_rng_state()
    train(sets, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_nulls_do_not_teach(sets):
    """The weights do not depend on what the truth would have been where it is void."""
    truth = sets[0].labels
    trainer = Trainer(SMALL, *sets)
    logits = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    half = truth.clone()
    half[:, :, :18] = IGNORED
    trainer._compute_loss(logits, half).backward()
    assert torch.equal(logits.grad == 0, half == IGNORED)


def test_a_loss_that_is_not_finite_names_its_batch(sets):
    pairs, wells, names = sets[0]
    broken = pairs.clone()
    broken[7, 0, 3, 3] = torch.nan
    trainer = Trainer(replace(SMALL, batch=8), PreparedSet(broken, wells, names), sets[1])
    with pytest.raises(TrainingError, match="loss is nan at epoch 1, step") as caught:
        trainer.run_epoch(go)
    assert names[7] in str(caught.value)
    assert weights(trainer).isfinite().all()


def test_stops_when_told(sets):
    trainer = Trainer(SMALL, *sets)
    seen = []
    assert trainer.run_epoch(lambda patches: seen.append(patches) or len(seen) < 3) is None
    assert seen == [16, 16, 16]


def test_every_patch_once_an_epoch_in_another_order(sets):
    plain = replace(SMALL, roll=False, flip=False, batch=7)
    plans = [EpochPlan(plain, sets[0], 0, epoch) for epoch in (1, 2)]
    orders = [torch.cat(plan.batches) for plan in plans]
    count = len(sets[0])
    assert all(torch.equal(order.sort().values, torch.arange(count)) for order in orders)
    assert not torch.equal(*orders)
    assert Trainer(plain, *sets).steps == len(plans[0].batches) == -(-count // 7)
    for step, chosen in enumerate(plans[0].batches):
        assert torch.equal(plans[0].batch(step), sets[0].pairs[chosen])


def test_plateau_lowers_the_learning_rate(sets):
    falling = replace(SMALL, learning_rate=1e-3, schedule=Plateau(0.5, 0))
    trainer = Trainer(falling, *sets)
    trainer.predict = lambda patches: torch.zeros_like(patches.labels)  # never any better
    rates = [trainer.run_epoch(go).learning_rate for _ in range(4)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])


def test_prepared_truth_is_void_at_nulls():
    dataset = synthetic_dataset(4, 40, seed=5)
    dataset.images[0, 2] = torch.nan
    prepared = prepare(dataset, Normalisation(), CPU)
    assert (prepared.labels[0, 0, 2] == IGNORED).all()
    assert torch.equal(prepared.labels[:, 0] == IGNORED, dataset.images.isnan())
    assert prepared.inputs.isfinite().all()


def test_validation_batch_changes_no_score(sets):
    one, two = (
        Trainer(replace(SMALL, batch_validation=size), *sets).validate() for size in (5, 32)
    )
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    assert one[1] == pytest.approx(two[1])


def test_bf16_learns_as_well(sets):
    _, exact = train(sets, 6)
    _, quick = train(sets, 6, tuning=Tuning(torch.bfloat16))
    assert quick[-1].loss == pytest.approx(exact[-1].loss, rel=0.15)


def test_find_best_threshold_recovers_a_known_one():
    logits = torch.tensor([[[0.3, 0.35, 0.62, 0.9]]]).logit()
    assert 0.35 <= find_best_threshold(logits, torch.tensor([[[0, 0, 1, 1]]])) <= 0.62
    # What is void decides nothing: 0.62 alone would forbid any threshold above it.
    assert find_best_threshold(logits, torch.tensor([[[0, 1, IGNORED, 1]]])) < 0.35


def test_of_equal_thresholds_the_middle_one_is_taken():
    sure = torch.tensor([[[-20.0, 20.0]]])
    assert find_best_threshold(sure, torch.tensor([[[0, 1]]])) == 0.5
    silent = torch.full((1, 1, 2), -20.0)
    assert find_best_threshold(silent, torch.tensor([[[0, 0]]])) == 0.5


def test_weights_that_burst_stop_the_run(sets):
    bursting = replace(SMALL, learning_rate=1e38, batch=10_000)
    trainer = Trainer(bursting, *sets, tuning=Tuning(fused=True))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        trainer.run_epoch(go)

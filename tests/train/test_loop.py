"""The training loop: it learns, is reproducible to the bit, and stops at values not finite."""

from dataclasses import replace

import pytest
import torch

from geoseg.normalisation import Normalisation
from geoseg.synthetic import make_synthetic_dataset
from tests.helpers.synthetic_data import CPU, make_sets
from train.experiments import Experiment
from train.loop import Trainer, TrainingError
from train.sampling import IGNORED, EpochPlan, PreparedSet, prepare
from train.schedules import Plateau
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


def proceed(_):
    return True


def train(sets, epochs=2, experiment=SMALL, **options):
    trainer = Trainer(experiment, *sets, **options)
    return trainer, [trainer.run_epoch(proceed) for _ in range(epochs)]


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_model_learns_the_grooves(sets):
    trainer, epochs = train(sets, 12)
    assert epochs[-1].loss < 0.6 * epochs[0].loss
    labels = sets[1].labels
    logits = trainer.predict(sets[1])
    assert logits.shape == labels.shape
    assert logits[labels == 1].mean() > logits[labels == 0].mean() + 2
    assert [e.number for e in epochs] == list(range(1, 13))
    assert all(e.patches_per_second > 0 for e in epochs)


def test_same_seed_gives_the_same_bits(sets):
    first, again = (train(sets)[0] for _ in range(2))
    other, _ = train(sets, seed=1)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_global_random_state_is_neither_used_nor_changed(sets):
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


def test_nulls_have_no_gradient(sets):
    labels = sets[0].labels
    trainer = Trainer(SMALL, *sets)
    logits = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    half = labels.clone()
    half[:, :, :18] = IGNORED
    trainer._compute_loss(logits, half).backward()
    assert torch.equal(logits.grad == 0, half == IGNORED)


def test_infinite_loss_names_its_patches(sets):
    pairs, wells, names = sets[0]
    broken = pairs.clone()
    broken[7, 0, 3, 3] = torch.nan
    trainer = Trainer(replace(SMALL, batch=8), PreparedSet(broken, wells, names), sets[1])
    with pytest.raises(TrainingError, match="loss is nan at epoch 1, step") as caught:
        trainer.run_epoch(proceed)
    assert names[7] in str(caught.value)
    assert weights(trainer).isfinite().all()


def test_epoch_stops_if_on_step_returns_false(sets):
    trainer = Trainer(SMALL, *sets)
    seen = []
    assert trainer.run_epoch(lambda patches: seen.append(patches) or len(seen) < 3) is None
    assert seen == [16, 16, 16]


def test_every_epoch_shows_every_patch_once_in_another_order(sets):
    simple = replace(SMALL, roll=False, flip=False, batch=7)
    plans = [EpochPlan(simple, sets[0], 0, epoch) for epoch in (1, 2)]
    orders = [torch.cat(plan.batches) for plan in plans]
    count = len(sets[0])
    assert all(torch.equal(order.sort().values, torch.arange(count)) for order in orders)
    assert not torch.equal(*orders)
    assert Trainer(simple, *sets).steps == len(plans[0].batches) == -(-count // 7)
    for step, chosen in enumerate(plans[0].batches):
        assert torch.equal(plans[0].make_batch(step), sets[0].pairs[chosen])


def test_plateau_lowers_the_learning_rate(sets):
    falling = replace(SMALL, learning_rate=1e-3, schedule=Plateau(0.5, 0))
    trainer = Trainer(falling, *sets)
    trainer.predict = lambda patches: torch.zeros_like(patches.labels)  # no progress
    rates = [trainer.run_epoch(proceed).learning_rate for _ in range(4)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])


def test_prepared_labels_are_ignored_at_nulls():
    dataset = make_synthetic_dataset(4, 40, seed=5)
    dataset.images[0, 2] = torch.nan
    prepared = prepare(dataset, Normalisation(), CPU)
    assert (prepared.labels[0, 0, 2] == IGNORED).all()
    assert torch.equal(prepared.labels[:, 0] == IGNORED, dataset.images.isnan())
    assert prepared.inputs.isfinite().all()


def test_validation_batch_does_not_change_scores(sets):
    one, two = (
        Trainer(replace(SMALL, batch_validation=size), *sets).validate() for size in (5, 32)
    )
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    assert one[1] == pytest.approx(two[1])


def test_bf16_learns_as_well(sets):
    _, exact = train(sets, 6)
    _, quick = train(sets, 6, tuning=Tuning(torch.bfloat16))
    assert quick[-1].loss == pytest.approx(exact[-1].loss, rel=0.15)


def test_best_threshold_is_recovered():
    logits = torch.tensor([[[0.3, 0.35, 0.62, 0.9]]]).logit()
    assert 0.35 <= find_best_threshold(logits, torch.tensor([[[0, 0, 1, 1]]])) <= 0.62
    # The ignored pixel does not count: with it, the best threshold would be above 0.62.
    assert find_best_threshold(logits, torch.tensor([[[0, 1, IGNORED, 1]]])) < 0.35


def test_equal_thresholds_resolve_to_the_middle():
    confident = torch.tensor([[[-20.0, 20.0]]])
    assert find_best_threshold(confident, torch.tensor([[[0, 1]]])) == 0.5
    silent = torch.full((1, 1, 2), -20.0)
    assert find_best_threshold(silent, torch.tensor([[[0, 0]]])) == 0.5


def test_infinite_weights_stop_the_run(sets):
    diverging = replace(SMALL, learning_rate=1e38, batch=10_000)
    trainer = Trainer(diverging, *sets, tuning=Tuning(fused=True))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        trainer.run_epoch(proceed)

"""The batch of a step is a function of the seed, the epoch and the index alone."""

from dataclasses import replace

import pytest
import torch

from train import sampling
from train.experiments import Experiment
from train.sampling import EpochPlan, PreparedSet, make_generator

PLAIN = Experiment(9000, "plain", "unet", batch=8)
RICH = replace(PLAIN, roll=True, flip=True, noise=0.3)
CYCLING = replace(PLAIN, roll=True, flip=True, cycle=True)
COUNT, ROWS, COLUMNS = 29, 6, 9


@pytest.fixture(scope="module")
def patches():
    """Return random patches, all of whose views differ; the label is 1 at high values."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 1, ROWS, COLUMNS, generator=generator)
    pairs = torch.cat((inputs, inputs > 0.5), 1)
    return PreparedSet(pairs, torch.zeros(COUNT), [str(i) for i in range(COUNT)])


def show_epoch(experiment, patches, seed=0, epoch=1):
    """Return the indices (N,) and pairs (N, 2, Z, A) of an epoch, in its order."""
    plan = EpochPlan(experiment, patches, seed, epoch)
    batches = [plan.make_batch(step) for step in range(len(plan.batches))]
    return torch.cat(plan.batches), torch.cat(batches)


def sort_by_patch(experiment, patches, seed=0, epoch=1):
    """Return the pairs of an epoch in the order of the set."""
    order, pairs = show_epoch(experiment, patches, seed, epoch)
    return pairs[order.argsort()]


def are_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("experiment", [PLAIN, RICH, CYCLING])
def test_plan_does_not_depend_on_earlier_plans(experiment, patches):
    first = show_epoch(experiment, patches, 3, 5)
    for seed, epoch in ((3, 4), (0, 5), (3, 6)):
        show_epoch(experiment, patches, seed, epoch)
    assert are_equal(first, show_epoch(experiment, patches, 3, 5))


def test_batches_can_be_made_in_any_order_and_repeatedly(patches):
    plan = EpochPlan(RICH, patches, 3, 5)
    steps = range(len(plan.batches))
    backwards = [plan.make_batch(step) for step in reversed(steps)]
    assert are_equal(backwards[::-1], [plan.make_batch(step) for step in steps])
    assert are_equal([EpochPlan(RICH, patches, 3, 5).make_batch(2)], [plan.make_batch(2)])


@pytest.mark.parametrize("experiment", [RICH, CYCLING])
def test_other_seed_or_epoch_gives_other_batches(experiment, patches):
    shown = [show_epoch(experiment, patches, seed, epoch) for seed in (0, 1) for epoch in (1, 2)]
    for i, one in enumerate(shown):
        for other in shown[:i]:
            assert not torch.equal(one[0], other[0])
            assert not torch.equal(one[1], other[1])


# torch.manual_seed takes 32 bits only; the seeds of each pair agree in those.
@pytest.mark.parametrize("seeds", [(5, 5 + 2**32), (5 + 2**32, 5 + 2**33), (0, 2**32), (1, 2**40)])
@pytest.mark.parametrize("experiment", [RICH, CYCLING])
def test_all_bits_of_a_seed_count(experiment, seeds, patches):
    one, other = (show_epoch(experiment, patches, seed) for seed in seeds)
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize("experiment", [RICH, replace(CYCLING, noise=0.3)])
def test_order_views_and_noise_of_every_epoch_use_separate_generators(
    experiment, patches, monkeypatch
):
    starts = []

    def record(*key):
        starts.append(tuple(torch.rand(2, generator=make_generator(*key)).tolist()))
        return make_generator(*key)

    monkeypatch.setattr(sampling, "make_generator", record)
    for epoch in range(1, 9):
        before = len(starts)
        show_epoch(experiment, patches, 7, epoch)
        assert len(starts) - before == 2 + 4  # order and views, and the noise of four steps
    # A cycle draws its views once for all epochs.
    assert len(set(starts)) == len(starts) - 7 * experiment.cycle


def test_global_random_state_is_neither_used_nor_changed(patches):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = show_epoch(RICH, patches)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert are_equal(first, show_epoch(RICH, patches))


def test_every_epoch_shows_every_patch_once(patches):
    for epoch in (1, 2, 3):
        order, _ = show_epoch(PLAIN, patches, 0, epoch)
        assert torch.equal(order.sort().values, torch.arange(COUNT))
        assert [len(b) for b in EpochPlan(PLAIN, patches, 0, epoch).batches] == [8, 8, 8, 5]


def make_views(patch, *, roll, flip):
    """Return all views of a pair (2, Z, A)."""
    flips = [(), (1,), (2,), (1, 2)] if flip else [()]
    shifts = range(COLUMNS) if roll else [0]
    return torch.stack([patch.flip(dims).roll(shift, 2) for dims in flips for shift in shifts])


def find_views(experiment, patches, epochs):
    """Return the number, in `make_views`, of each patch's view in each epoch: (epochs, N)."""
    augmentations = {"roll": experiment.roll, "flip": experiment.flip}
    rows = []
    for epoch in epochs:
        shown = sort_by_patch(experiment, patches, 0, epoch)
        matches = [
            (make_views(p, **augmentations) == s).flatten(1).all(1).nonzero()[:, 0].tolist()
            for p, s in zip(patches.pairs, shown, strict=True)
        ]
        # Exactly one: image and label get the same view, and one of those requested.
        assert all(len(numbers) == 1 for numbers in matches)
        rows.append([number for (number,) in matches])
    return torch.tensor(rows)


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize(
    ("roll", "flip", "count"),
    [(True, True, 4 * COLUMNS), (True, False, COLUMNS), (False, True, 4), (False, False, 1)],
)
def test_every_requested_roll_and_flip_occurs(roll, flip, count, cycle, patches):
    experiment = replace(PLAIN, roll=roll, flip=flip, cycle=cycle)
    found = find_views(experiment, patches, range(1, 13))
    assert found.unique().tolist() == list(range(count))


@pytest.mark.parametrize(("roll", "flip"), [(True, True), (True, False), (False, True)])
def test_cycling_never_repeats_a_view_in_consecutive_epochs(roll, flip, patches):
    experiment = replace(PLAIN, roll=roll, flip=flip)
    cycled, drawn = (
        find_views(replace(experiment, cycle=cycle), patches, range(1, 16))
        for cycle in (True, False)
    )
    assert (cycled[1:] != cycled[:-1]).all()
    assert (drawn[1:] == drawn[:-1]).any()


def test_image_and_label_get_the_same_view(patches):
    for experiment in (replace(RICH, noise=0.0), CYCLING):
        pairs = sort_by_patch(experiment, patches)
        assert torch.equal(pairs[:, 0] > 0.5, pairs[:, 1] == 1)
        assert not torch.equal(pairs, patches.pairs)


def extract_noise(patches, seed=0, epoch=1, sigma=0.3):
    """Return the noise added to the patches, (N, Z, A), in the order of the steps."""
    noisy = show_epoch(replace(RICH, noise=sigma), patches, seed, epoch)
    clean = show_epoch(replace(RICH, noise=0.0), patches, seed, epoch)
    assert torch.equal(noisy[0], clean[0])
    assert torch.equal(noisy[1][:, 1], clean[1][:, 1])
    return (noisy[1] - clean[1])[:, 0]


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_noise_has_the_requested_deviation_and_spares_the_labels(sigma, patches):
    added = torch.cat([extract_noise(patches, epoch=epoch, sigma=sigma) for epoch in range(1, 7)])
    assert added.std().item() == pytest.approx(sigma, rel=0.03)
    assert abs(added.mean().item()) < 0.03 * sigma
    # Normal: 68% within one standard deviation.
    assert (added.abs() < sigma).double().mean().item() == pytest.approx(0.683, abs=0.02)


def test_noise_differs_between_patches_steps_epochs_and_seeds(patches):
    fields = torch.cat(
        [
            extract_noise(patches, seed, epoch)
            for seed, epoch in ((0, 1), (0, 2), (1, 1), (2**32, 1))
        ]
    )
    flat = fields.flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(len(flat))
    assert correlation.abs().max() < 0.7  # of 54 independent pixels


def test_set_itself_is_not_changed(patches):
    before = patches.pairs.clone()
    for epoch in (1, 2):
        show_epoch(RICH, patches, 0, epoch)
    assert torch.equal(patches.pairs, before)

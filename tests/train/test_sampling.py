"""What a step sees is a function of the seed, the epoch and the index, and of nothing else."""

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
    """Random patches, so that no two views of one are alike; the truth is where they are high."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 1, ROWS, COLUMNS, generator=generator)
    pairs = torch.cat((inputs, inputs > 0.5), 1)
    return PreparedSet(pairs, torch.zeros(COUNT), [str(i) for i in range(COUNT)])


def seen(experiment, patches, seed=0, epoch=1):
    """Everything an epoch shows, in its order: indices (N,) and pairs (N, 2, Z, A)."""
    plan = EpochPlan(experiment, patches, seed, epoch)
    looks = [plan.make_batch(step) for step in range(len(plan.batches))]
    return torch.cat(plan.batches), torch.cat(looks)


def by_patch(experiment, patches, seed=0, epoch=1):
    """The pairs of an epoch, in the set's order."""
    order, pairs = seen(experiment, patches, seed, epoch)
    return pairs[order.argsort()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("experiment", [PLAIN, RICH, CYCLING])
def test_a_plan_does_not_depend_on_what_was_planned_before(experiment, patches):
    first = seen(experiment, patches, 3, 5)
    for seed, epoch in ((3, 4), (0, 5), (3, 6)):
        seen(experiment, patches, seed, epoch)
    assert same(first, seen(experiment, patches, 3, 5))


def test_steps_may_be_looked_at_in_any_order_and_again(patches):
    plan = EpochPlan(RICH, patches, 3, 5)
    steps = range(len(plan.batches))
    backwards = [plan.make_batch(step) for step in reversed(steps)]
    assert same(backwards[::-1], [plan.make_batch(step) for step in steps])
    assert same([EpochPlan(RICH, patches, 3, 5).batch(2)], [plan.make_batch(2)])


@pytest.mark.parametrize("experiment", [RICH, CYCLING])
def test_another_seed_or_epoch_shows_something_else(experiment, patches):
    shown = [seen(experiment, patches, seed, epoch) for seed in (0, 1) for epoch in (1, 2)]
    for i, one in enumerate(shown):
        for other in shown[:i]:
            assert not torch.equal(one[0], other[0])
            assert not torch.equal(one[1], other[1])


# As torch.manual_seed takes 32 bits only, of which the seeds of each pair have the same.
@pytest.mark.parametrize("seeds", [(5, 5 + 2**32), (5 + 2**32, 5 + 2**33), (0, 2**32), (1, 2**40)])
@pytest.mark.parametrize("experiment", [RICH, CYCLING])
def test_all_bits_of_a_seed_count(experiment, seeds, patches):
    one, other = (seen(experiment, patches, seed) for seed in seeds)
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize("experiment", [RICH, replace(CYCLING, noise=0.3)])
def test_order_views_and_noise_of_every_epoch_come_from_streams_of_their_own(
    experiment, patches, monkeypatch
):
    starts = []

    def watch(*key):
        starts.append(tuple(torch.rand(2, generator=make_generator(*key)).tolist()))
        return make_generator(*key)

    monkeypatch.setattr(sampling, "make_generator", watch)
    for epoch in range(1, 9):
        before = len(starts)
        seen(experiment, patches, 7, epoch)
        assert len(starts) - before == 2 + 4  # order and views, and the noise of four steps
    # But all of a cycle's turns count from one draw.
    assert len(set(starts)) == len(starts) - 7 * experiment.cycle


def test_the_global_random_state_is_neither_used_nor_touched(patches):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = seen(RICH, patches)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert same(first, seen(RICH, patches))


def test_every_patch_is_shown_once_an_epoch(patches):
    for epoch in (1, 2, 3):
        order, _ = seen(PLAIN, patches, 0, epoch)
        assert torch.equal(order.sort().values, torch.arange(COUNT))
        assert [len(b) for b in EpochPlan(PLAIN, patches, 0, epoch).batches] == [8, 8, 8, 5]


def views(patch, *, roll, flip):
    """All that a pair (2, Z, A) may look like."""
    flips = [(), (1,), (2,), (1, 2)] if flip else [()]
    shifts = range(COLUMNS) if roll else [0]
    return torch.stack([patch.flip(dims).roll(shift, 2) for dims in flips for shift in shifts])


def which_views(experiment, patches, epochs):
    """The number, in `views`, of what each epoch shows of each patch: (epochs, N)."""
    asked = {"roll": experiment.roll, "flip": experiment.flip}
    rows = []
    for epoch in epochs:
        shown = by_patch(experiment, patches, 0, epoch)
        alike = [
            (views(p, **asked) == s).flatten(1).all(1).nonzero()[:, 0].tolist()
            for p, s in zip(patches.pairs, shown, strict=True)
        ]
        # Just one: image and truth are turned together, in one of the ways that were asked for.
        assert all(len(numbers) == 1 for numbers in alike)
        rows.append([number for (number,) in alike])
    return torch.tensor(rows)


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize(
    ("roll", "flip", "ways"),
    [(True, True, 4 * COLUMNS), (True, False, COLUMNS), (False, True, 4), (False, False, 1)],
)
def test_patches_are_rolled_and_flipped_in_every_way_that_is_asked_for(
    roll, flip, ways, cycle, patches
):
    experiment = replace(PLAIN, roll=roll, flip=flip, cycle=cycle)
    found = which_views(experiment, patches, range(1, 13))
    assert found.unique().tolist() == list(range(ways))


@pytest.mark.parametrize(("roll", "flip"), [(True, True), (True, False), (False, True)])
def test_cycling_never_shows_a_patch_the_same_way_twice_in_a_row(roll, flip, patches):
    experiment = replace(PLAIN, roll=roll, flip=flip)
    cycled, drawn = (
        which_views(replace(experiment, cycle=cycle), patches, range(1, 16))
        for cycle in (True, False)
    )
    assert (cycled[1:] != cycled[:-1]).all()
    assert (drawn[1:] == drawn[:-1]).any()


def test_image_and_truth_turn_together(patches):
    for experiment in (replace(RICH, noise=0.0), CYCLING):
        pairs = by_patch(experiment, patches)
        assert torch.equal(pairs[:, 0] > 0.5, pairs[:, 1] == 1)
        assert not torch.equal(pairs, patches.pairs)


def noise(patches, seed=0, epoch=1, sigma=0.3):
    """What is added to the patches as they are seen, (N, Z, A), in the order of the steps."""
    noisy = seen(replace(RICH, noise=sigma), patches, seed, epoch)
    clean = seen(replace(RICH, noise=0.0), patches, seed, epoch)
    assert torch.equal(noisy[0], clean[0])
    assert torch.equal(noisy[1][:, 1], clean[1][:, 1])
    return (noisy[1] - clean[1])[:, 0]


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_noise_has_the_strength_asked_for_and_spares_the_truth(sigma, patches):
    added = torch.cat([noise(patches, epoch=epoch, sigma=sigma) for epoch in range(1, 7)])
    assert added.std().item() == pytest.approx(sigma, rel=0.03)
    assert abs(added.mean().item()) < 0.03 * sigma
    # Normal: 68% within one standard deviation.
    assert (added.abs() < sigma).double().mean().item() == pytest.approx(0.683, abs=0.02)


def test_noise_is_another_for_every_patch_step_epoch_and_seed(patches):
    fields = torch.cat(
        [noise(patches, seed, epoch) for seed, epoch in ((0, 1), (0, 2), (1, 1), (2**32, 1))]
    )
    flat = fields.flatten(1)
    likeness = torch.corrcoef(flat) - torch.eye(len(flat))
    assert likeness.abs().max() < 0.7  # of 54 independent pixels


def test_the_set_itself_stays_as_it_is(patches):
    before = patches.pairs.clone()
    for epoch in (1, 2):
        seen(RICH, patches, 0, epoch)
    assert torch.equal(patches.pairs, before)

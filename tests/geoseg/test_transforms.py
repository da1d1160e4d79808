"""Rolls, flips and noise."""

from functools import partial

import pytest
import torch

from geoseg.transforms import Views, add_noise, apply_views, cycle_views, draw_views, roll


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_views_roll_and_flip_each_patch_separately():
    patches = torch.randn(3, 2, 4, 6, generator=generator())
    views = Views(
        torch.tensor([0, 2, 5]),
        torch.tensor([False, True, False]),
        torch.tensor([False, False, True]),
    )
    viewed = apply_views(patches, views, torch.tensor([2, 0, 1]))
    assert torch.equal(viewed[0], patches[2])
    assert torch.equal(viewed[1], patches[0].flip(1).roll(2, 2))
    assert torch.equal(viewed[2], patches[1].flip(2).roll(5, 2))
    assert viewed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("draw", [draw_views, partial(cycle_views, epoch=3)])
def test_image_and_label_take_the_same_view(draw):
    images = torch.randn(8, 1, 36, 36, generator=generator())
    views = draw(8, 36, roll=True, flip=True, generator=generator(1))
    pairs = apply_views(torch.cat((images, images > 0), 1), views, torch.arange(8))
    assert torch.equal(pairs[:, 0] > 0, pairs[:, 1] == 1)
    assert not torch.equal(pairs[:, :1], images)


@pytest.mark.parametrize("columns", [1, 2, 5, 36, 72])
def test_cycled_views_take_every_shift_and_flip(columns):
    epochs = [
        cycle_views(50, columns, epoch, roll=True, flip=True, generator=generator(2))
        for epoch in range(max(columns, 4))
    ]
    shifts = torch.stack([views.shift for views in epochs[:columns]])
    assert torch.equal(shifts.sort(0).values, torch.arange(columns)[:, None].expand(-1, 50))
    flips = torch.stack([2 * views.flip_depth + views.flip_azimuth for views in epochs[:4]])
    assert torch.equal(flips.sort(0).values, torch.arange(4)[:, None].expand(-1, 50))
    if columns > 5:  # successive epochs have distant shifts
        apart = (epochs[1].shift - epochs[0].shift) % columns
        assert (torch.minimum(apart, columns - apart) > columns / 4).all()
    plain = cycle_views(50, columns, 1, roll=False, flip=False, generator=generator(2))
    assert not any(v.any() for v in plain)


def test_random_views_take_every_shift_and_flip_unless_disabled():
    views = draw_views(5000, 36, roll=True, flip=True, generator=generator())
    assert torch.equal(views.shift.unique(), torch.arange(36))
    assert 0.45 < views.flip_depth.float().mean() < 0.55
    assert 0.45 < views.flip_azimuth.float().mean() < 0.55
    plain = draw_views(50, 36, roll=False, flip=False, generator=generator())
    assert not any(v.any() for v in plain)
    rolled = draw_views(5000, 36, roll=True, flip=False, generator=generator())
    assert torch.equal(rolled.shift, views.shift)


def test_roll_shifts_to_the_right_and_is_inverted_by_a_negative_shift():
    patch = torch.arange(12.0).reshape(3, 4)
    assert roll(patch, 1)[0].tolist() == [3, 0, 1, 2]
    assert torch.equal(roll(roll(patch, 3), -3), patch)


def test_noise_is_seeded_and_proportional_to_sigma():
    image = torch.zeros(36, 36)
    image[0, 0] = torch.nan
    noisy = add_noise(image, 0.01, 7)
    assert noisy[0, 0].isnan()
    assert torch.equal(noisy[1:], add_noise(image, 0.01, 7)[1:])
    assert not torch.equal(noisy[1:], add_noise(image, 0.01, 8)[1:])
    assert torch.allclose(add_noise(image, 0.02, 7)[1:], 2 * noisy[1:])
    assert torch.equal(add_noise(image, 0.0, 7)[1:], image[1:])
    assert noisy[1:].std().item() == pytest.approx(0.01, rel=0.1)


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match="-1"):
        add_noise(torch.zeros(2, 2), -1, 0)

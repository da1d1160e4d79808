"""Neighbourhood, middle lines and connected parts on a pipe that has a seam."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.evaluation.morphology import centre_lines, label_components, near


def drawn(*rows):
    return torch.tensor([[[c == "#" for c in row] for row in rows]])


def random_masks(seed, share=0.3, shape=(1, 9, 12)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def flooded(mask):
    """Connected parts by walking from pixel to pixel, as sets."""
    left = {tuple(p) for p in mask.nonzero().tolist()}
    parts = []
    while left:
        part, border = set(), [left.pop()]
        while border:
            b, z, a = border.pop()
            part.add((b, z, a))
            for dz in (-1, 0, 1):
                for da in (-1, 0, 1):
                    place = (b, z + dz, (a + da) % mask.shape[2])
                    if place in left:
                        left.remove(place)
                        border.append(place)
        parts.append(frozenset(part))
    return set(parts)


def test_near_goes_round_the_seam_and_not_along_depth():
    mask = drawn("#.....", "......")
    assert near(mask, 0).equal(mask)
    assert near(mask, 1).equal(drawn("##...#", "......"))
    assert near(mask, 9).equal(drawn("######", "......"))


def test_the_middle_of_a_band_is_one_pixel_wide_and_as_long():
    for width in range(1, 8):
        band = torch.zeros(1, 10, 36, dtype=torch.bool)
        band[0, 2:9, 5 : 5 + width] = True
        line = centre_lines(band)
        assert line.sum(-1).tolist() == [[0, 0, 1, 1, 1, 1, 1, 1, 1, 0]]
        assert line.nonzero()[:, 2].unique().tolist() == [5 + width // 2]


def test_each_run_has_its_own_middle_and_the_seam_is_no_end():
    assert centre_lines(drawn("##..###.....#")).equal(drawn("#....#.......")), "the seam's run is 3"
    assert centre_lines(drawn("####")).all(), "a full row has no middle"
    assert not centre_lines(drawn("....")).any()


@given(st.integers(0, 1000), st.integers(0, 11))
def test_everything_turns_with_the_pipe(seed, shift):
    mask = random_masks(seed)
    turned = mask.roll(shift, -1)
    assert centre_lines(turned).equal(centre_lines(mask).roll(shift, -1))
    assert near(turned, 2).equal(near(mask, 2).roll(shift, -1))
    # The numbers may differ, the parts may not.
    parts = label_components(mask).roll(shift, -1)
    both = torch.stack([parts[turned], label_components(turned)[turned]])
    assert len(both.unique(dim=1)[0]) == parts.max() == label_components(turned).max()


def test_parts_across_the_seam_are_one():
    assert label_components(drawn("#....#", "......")).max() == 1
    assert label_components(drawn("#.....", ".....#")).max() == 1, "corners touch"
    assert label_components(drawn("#.#...", "......")).max() == 2
    assert label_components(drawn("#.....", "......", "#.....")).max() == 2


@pytest.mark.parametrize("seed", range(8))
def test_parts_are_those_of_a_flood(seed):
    mask = random_masks(seed, share=0.1 + seed / 20)
    labels = label_components(mask)
    assert labels[~mask].eq(0).all()
    found = {
        frozenset(map(tuple, (labels == n).nonzero().tolist()))
        for n in range(1, int(labels.max()) + 1)
    }
    assert found == flooded(mask)


def test_a_spiral_through_a_long_log_is_one_part():
    rows = np.arange(5000)
    log = torch.zeros(1, 5000, 36, dtype=torch.bool)
    log[0, rows, rows % 36] = True
    assert label_components(log).max() == 1
    log[0, 2500] = False
    assert label_components(log).max() == 2


def test_no_pixel_no_part():
    assert not label_components(torch.zeros(2, 4, 4, dtype=torch.bool)).any()
    assert label_components(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4, 4)

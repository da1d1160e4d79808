"""Dilation, centre lines and connected components across the seam."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.evaluation.morphology import dilate_columns, find_centre_lines, label_components


def make_mask(*rows):
    return torch.tensor([[[c == "#" for c in row] for row in rows]])


def random_masks(seed, share=0.3, shape=(1, 9, 12)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def flood_fill(mask):
    """Return the connected components by flood fill, as sets of pixels."""
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


def test_dilation_joins_the_seam_and_stays_in_its_row():
    mask = make_mask("#.....", "......")
    assert dilate_columns(mask, 0).equal(mask)
    assert dilate_columns(mask, 1).equal(make_mask("##...#", "......"))
    assert dilate_columns(mask, 9).equal(make_mask("######", "......"))


def test_centre_line_is_one_pixel_wide_and_as_long_as_the_groove():
    for width in range(1, 8):
        band = torch.zeros(1, 10, 36, dtype=torch.bool)
        band[0, 2:9, 5 : 5 + width] = True
        line = find_centre_lines(band)
        assert line.sum(-1).tolist() == [[0, 0, 1, 1, 1, 1, 1, 1, 1, 0]]
        assert line.nonzero()[:, 2].unique().tolist() == [5 + width // 2]


def test_each_run_has_its_own_middle_across_the_seam():
    assert find_centre_lines(make_mask("##..###.....#")).equal(make_mask("#....#.......")), (
        "the run across the seam is 3 long"
    )
    assert find_centre_lines(make_mask("####")).all(), "a full row has no middle"
    assert not find_centre_lines(make_mask("....")).any()


@given(st.integers(0, 1000), st.integers(0, 11))
def test_all_functions_are_equivariant_to_shifts(seed, shift):
    mask = random_masks(seed)
    shifted = mask.roll(shift, -1)
    assert find_centre_lines(shifted).equal(find_centre_lines(mask).roll(shift, -1))
    assert dilate_columns(shifted, 2).equal(dilate_columns(mask, 2).roll(shift, -1))
    # The numbers may differ, the components may not.
    parts = label_components(mask).roll(shift, -1)
    both = torch.stack([parts[shifted], label_components(shifted)[shifted]])
    assert len(both.unique(dim=1)[0]) == parts.max() == label_components(shifted).max()


def test_components_join_across_the_seam():
    assert label_components(make_mask("#....#", "......")).max() == 1
    assert label_components(make_mask("#.....", ".....#")).max() == 1, "corners touch"
    assert label_components(make_mask("#.#...", "......")).max() == 2
    assert label_components(make_mask("#.....", "......", "#.....")).max() == 2


@pytest.mark.parametrize("seed", range(8))
def test_components_equal_those_of_a_flood_fill(seed):
    mask = random_masks(seed, share=0.1 + seed / 20)
    labels = label_components(mask)
    assert labels[~mask].eq(0).all()
    found = {
        frozenset(map(tuple, (labels == n).nonzero().tolist()))
        for n in range(1, int(labels.max()) + 1)
    }
    assert found == flood_fill(mask)


def test_spiral_through_a_long_log_is_one_component():
    rows = np.arange(5000)
    log = torch.zeros(1, 5000, 36, dtype=torch.bool)
    log[0, rows, rows % 36] = True
    assert label_components(log).max() == 1
    log[0, 2500] = False
    assert label_components(log).max() == 2


def test_empty_mask_has_no_component():
    assert not label_components(torch.zeros(2, 4, 4, dtype=torch.bool)).any()
    assert label_components(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4, 4)

"""A log of 72 columns as two of 36."""

import numpy as np

from geoseg.measurements import read_patch
from geoseg.twins import join_twins, split_twins


def test_split_gives_even_then_odd_columns_and_join_inverts_it():
    log = np.arange(5 * 72).reshape(5, 72)
    twins = split_twins(log)
    assert twins.shape == (2, 5, 36)
    assert np.array_equal(twins[1, 3], log[3, 1::2])
    assert np.array_equal(join_twins(twins), log)


def test_twins_of_a_real_log_equal_the_real_patches(real):
    """Patch 2k holds the even columns, patch 2k + 1 the odd ones of the same depth."""
    twins = split_twins(read_patch(real / "wells" / "well_2.npy"))
    found = sorted((real / "patches" / "validation" / "images").glob("well_2_patch_*.npy"))
    assert found
    for path in found:
        index = int(path.stem.split("_")[-1])
        rows = slice(index // 2 * 36, index // 2 * 36 + 36)
        assert np.array_equal(twins[index % 2, rows], read_patch(path), equal_nan=True)

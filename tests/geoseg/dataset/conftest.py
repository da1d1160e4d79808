from pathlib import Path

import numpy as np
import pytest

from tests.helpers.patch_folders import write_patch


@pytest.fixture
def root(tmp_path) -> Path:
    """Write wells 1 (12 patches) and 2 (3) to train, 13 (5) to validate, unlabelled 1 to test."""
    root = tmp_path / "data"
    for split, well, count in (("train", 1, 12), ("train", 2, 3), ("validation", 13, 5)):
        for index in range(count):
            mask = np.zeros((4, 6))
            mask[:, index % 6] = 1
            write_patch(root, split, well, index, mask=mask)
    for index in range(2):
        write_patch(root, "test", 1, index)
    return root

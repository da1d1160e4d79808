"""Packaged samples."""

import numpy as np
import pytest

import geoseg
from geoseg.samples import SAMPLE_IMAGES


def test_every_sample_opens_by_name():
    names = [path.stem for path in SAMPLE_IMAGES.iterdir()]
    assert len(names) == 48
    for name in names:
        patch = geoseg.read_sample(name)
        assert (patch.shape, patch.dtype) == ((36, 36), np.float32)


def test_unknown_sample_is_refused_with_the_names():
    with pytest.raises(ValueError, match="no sample 'x'; choose one of well_1_patch_2, well_1_"):
        geoseg.read_sample("x")

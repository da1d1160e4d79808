"""Images of any number of columns: exact symmetry, nulls, and a known groove found at its place."""

import numpy as np
import pytest
import torch

from geoseg.azimuth import ColumnSets
from geoseg.checkpoint import read_card, save_checkpoint
from geoseg.models import create_model
from geoseg.segmenter import Segmenter
from tests.helpers import ROOT

WIDTHS = (18, 24, 35, 37, 48, 60, 72, 90, 100, 144, 180, 360)
RING = ROOT / "checkpoints" / "3000-ring-unet.safetensors"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter([RING], "cpu")


def make_image(width, rows=36):
    """Return a wall with one groove of 30 degrees at 90 degrees, sampled at `width` places."""
    angle = np.arange(width) / width * 360
    depth = np.arange(rows)[:, None]
    wall = 0.015 * np.sin(np.radians(angle + 2 * depth)) + 0.004 * np.sin(
        np.radians(9 * angle) + depth
    )
    groove = 0.08 * (np.abs(angle - 90) < 15)
    noise = np.random.default_rng(0).normal(0, 0.002, (rows, width))
    image = wall - groove + noise
    return (image - image.mean(1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("width", WIDTHS)
def test_masks_turn_with_the_image(segmenter, width):
    image = make_image(width)
    image[5:9, 3] = np.nan
    (plain,) = segmenter.probabilities(image, interpret=False).values()
    assert plain.shape == image.shape
    np.testing.assert_array_equal(np.isnan(plain), np.isnan(image))
    for shift in (1, width // 2):
        (turned,) = segmenter.probabilities(np.roll(image, shift, 1), interpret=False).values()
        np.testing.assert_allclose(turned, np.roll(plain, shift, 1), atol=1e-6)
        np.testing.assert_array_equal(turned > 0.35, np.roll(plain > 0.35, shift, 1))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_groove_is_found_where_it_is(segmenter, width):
    mask = segmenter.segment(make_image(width), interpret=False)["3000-ring-unet"].mask
    angle = np.arange(width) / width * 360
    inside, outside = np.abs(angle - 90) < 11, np.abs(angle - 90) > 26
    assert mask[4:-4, inside].mean() > 0.9
    assert mask[4:-4, outside].mean() < 0.02


@pytest.mark.parametrize("width", [w for w in WIDTHS if w != 72])
def test_every_column_is_in_one_set_at_its_own_place(width):
    sets = ColumnSets(width, 36)
    image = torch.arange(float(width)).expand(1, 2, width)
    seen = []
    for number in range(sets.number):
        cut = sets.cut(image, number)
        assert cut.shape == (1, 2, 36)
        columns, places = sets.find_columns(number)
        assert torch.equal(cut[0, 0, places], columns.float())
        seen += columns.tolist()
    assert sorted(seen) == list(range(width))


def test_interpolation_keeps_slow_waves_and_nulls():
    angle = torch.arange(50) / 50 * 2 * torch.pi
    image = torch.sin(3 * angle)[None, None]
    sets = ColumnSets(50, 36)
    for number in range(sets.number):
        positions = (number + sets.number * torch.arange(36)) / (50 * 36 / 2) * 2 * torch.pi
        torch.testing.assert_close(
            sets.cut(image, number)[0, 0], torch.sin(3 * positions), atol=5e-3, rtol=0
        )
    image[..., 10] = torch.nan
    nulls = sum(sets.cut(image, number).isnan().sum() for number in range(sets.number))
    assert 0.5 < nulls / 18 < 1.5  # of the 18 positions that are nearest to that column


def test_a_checkpoint_of_other_columns_gets_its_own(tmp_path):
    path = tmp_path / "1-wide.safetensors"
    save_checkpoint(path, create_model("stacked", width=4), columns=72)
    assert read_card(path).columns == 72
    assert read_card(RING).columns == 36
    image = make_image(72)
    narrow, wide = Segmenter([RING]), Segmenter([path])
    assert ColumnSets(72, wide.cards["1-wide"].columns).number == 1
    (whole,) = wide.probabilities(image, interpret=False).values()
    (half,) = wide.probabilities(image[:, ::2], interpret=False).values()
    assert whole.shape == (36, 72)
    assert half.shape == (36, 36)
    assert narrow.probabilities(image).keys() == {"3000-ring-unet"}

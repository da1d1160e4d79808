"""Properties of synthetic logs."""

import pytest
import torch

from geoseg.synthetic import Logs, synthesize
from geoseg.synthetic.grooves import make_label_bands
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import sample_well_parameters


@pytest.fixture(scope="module")
def logs() -> Logs:
    """Synthesize enough wells for statistics: 48, of 24 patches each."""
    return synthesize(48, 24 * 36, seed=3)


def _find_left_edges(masks: torch.Tensor) -> torch.Tensor:
    """Return the pixels where a label begins along azimuth."""
    return (masks == 1) & (masks.roll(1, -1) == 0)


def test_same_seed_gives_same_logs() -> None:
    first, again, other = (synthesize(2, 90, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.images.nan_to_num(9), again.images.nan_to_num(9))
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images.nan_to_num(9), other.images.nan_to_num(9))


def test_global_random_state_is_unchanged() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    synthesize(1, 40)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("rows", "columns"), [(1, 8), (2, 36), (35, 9), (37, 72), (200, 360)])
def test_any_size_is_synthesized(rows: int, columns: int) -> None:
    images, masks = synthesize(2, rows, columns=columns, seed=1)
    assert images.shape == masks.shape == (2, rows, columns)
    assert images.dtype == torch.float32
    assert masks.dtype == torch.uint8
    assert not images.isinf().any()
    assert set(masks.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wells": 0, "rows": 5}, "wells is 0; give at least 1"),
        ({"wells": 1, "rows": 0}, "rows is 0; give at least 1"),
        ({"wells": 1, "rows": 5, "columns": 7}, "columns is 7; give at least 8"),
    ],
)
def test_size_below_minimum_is_an_error(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesize(**arguments)


def test_row_means_are_zero(logs: Logs) -> None:
    means = logs.images.nanmean(-1)
    assert means[~means.isnan()].abs().max() < 1e-6


def test_nulls_are_rows_and_parts_of_rows_without_label(logs: Logs) -> None:
    null = logs.images.isnan()
    assert 1e-4 < null.float().mean() < 0.06
    assert null.all(-1).any(), "whole rows"
    assert (null.any(-1) & ~null.all(-1)).any(), "parts of rows"
    assert not logs.masks[null].any(), "no label at nulls"


def test_values_have_the_range_of_real_logs(logs: Logs) -> None:
    spread = torch.stack([image[~image.isnan()].std() for image in logs.images])
    assert 0.014 < spread.median() < 0.023
    assert 0.3 < logs.images.nan_to_num().abs().max() < 1


def test_parameters_differ_between_wells() -> None:
    parameters = sample_well_parameters(RandomStream(0, "cpu"), 400)
    assert parameters.noise.max() > 3 * parameters.noise.min()
    assert {80, 165, 345} == {
        min((80, 165, 345), key=lambda x: abs(x - rows)) for rows in parameters.joint_rows.tolist()
    }
    almost_none = (parameters.occupancy.sum(1) < 0.1).float().mean()
    assert 0.02 < almost_none < 0.15


def test_share_of_groove_pixels_and_patches(logs: Logs) -> None:
    patches = logs.masks.reshape(-1, 36 * 36)
    assert 0.06 < patches.float().mean() < 0.11
    assert 0.7 < patches.amax(1).float().mean() < 0.9


def test_label_widths_are_those_of_real_labels(logs: Logs) -> None:
    single = _find_left_edges(logs.masks).sum(-1) == 1
    widths = logs.masks.sum(-1)[single].float()
    shares = torch.bincount(widths.long(), minlength=9) / len(widths)
    assert 2.6 < widths.mean() < 3.4
    assert shares[1] < 0.12
    assert shares[2:5].sum() > 0.75
    assert shares[9:].sum() < 0.02


def _count_edge_steps(masks: torch.Tensor) -> torch.Tensor:
    """Return the columns that both edges move from row to row of single labels (N, Z - 1)."""
    left = _find_left_edges(masks).float().argmax(-1)
    edges = torch.stack((left, left + masks.sum(-1)))
    columns = masks.shape[-1]
    return ((edges.diff(dim=-1) + columns // 2) % columns - columns // 2).abs().sum(0)


@pytest.mark.parametrize("columns", [36, 72])
def test_label_edges_step_by_one_column_one_at_a_time(columns: int) -> None:
    path = 40 + 0.22 * 36 / columns * torch.cat((torch.arange(500), torch.arange(500, 0, -1)))
    width = 3 + 0.5 * (torch.arange(1000) / 60).sin()
    label = make_label_bands(
        path[None, None], width[None, None], torch.ones(1, 1, 1000) > 0, columns
    )
    steps = _count_edge_steps(label.long())
    assert steps.max() == 1
    assert steps.sum() > 100


def test_most_labels_are_nearly_rectangles(logs: Logs) -> None:
    masks = logs.masks.reshape(-1, 36, 36)
    steps = _count_edge_steps(masks[(_find_left_edges(masks).sum(-1) == 1).all(-1)])
    segments = 1 + (steps > 0).sum(1)
    assert len(segments) > 300
    assert 0.3 < (segments == 1).float().mean() < 0.6
    assert 0.6 < (segments <= 2).float().mean() < 0.85
    assert (steps > 1).float().mean() < 0.002, "where grooves meet"


def test_grooves_are_darker_than_both_sides(logs: Logs) -> None:
    images, masks = logs
    label = masks == 1
    beside = (label.roll(2, -1) | label.roll(-2, -1)) & ~label
    inside = torch.stack([x[m].nanmean() for x, m in zip(images, label, strict=True) if m.any()])
    outside = torch.stack([x[b].nanmean() for x, b in zip(images, beside, strict=True) if b.any()])
    contrast = inside - outside
    assert (contrast < -0.004).float().mean() > 0.95
    assert -0.06 < contrast.median() < -0.015


def test_labels_are_centred_on_the_groove(logs: Logs) -> None:
    """Check that the darkest place under the label of a deep groove is the label's centre."""
    images, masks = logs
    starts = _find_left_edges(masks)
    well, row = ((starts.sum(-1) == 1) & ~images.isnan().any(-1)).nonzero(as_tuple=True)
    first = starts[well, row].float().argmax(-1)
    width = masks[well, row].sum(-1)
    columns = (first[:, None] + torch.arange(-2, 8)) % 36
    values = images[well, row].gather(1, columns)
    reach = torch.arange(-2, 8) < width[:, None] + 2
    dark = (values.amax(1, keepdim=True) - values).clamp(min=0).square() * reach
    centre = (dark * (torch.arange(-2, 8) + 0.5)).sum(1) / dark.sum(1)
    deep = dark.amax(1) > 0.03**2
    offset = (centre - width / 2)[deep & (width < 7)]
    assert len(offset) > 3000
    assert offset.mean().abs() < 0.1
    assert offset.abs().median() < 0.35


def test_grooves_cross_the_seam_and_collars(logs: Logs) -> None:
    label = logs.masks == 1
    assert (label[..., 0] & label[..., -1]).any()
    in_collar = logs.images.nan_to_num().diff(dim=-1).abs().median(-1).values > 0.05
    assert label[in_collar].any()


def test_texture_is_coherent_along_depth() -> None:
    images = synthesize(24, 400, seed=8).images.nan_to_num().clamp(-0.06, 0.06)
    close, far = ((images[:, k:] * images[:, :-k]).mean((1, 2)) for k in (1, 150))
    shares = close / images.square().mean((1, 2))
    assert 0.7 < shares.median() < 0.9  # 0.61 to 0.94 in real wells
    assert far.mean() < 0.75 * close.mean(), "collars and drift break it"


def test_grooves_are_as_wide_at_72_columns() -> None:
    fine, coarse = (synthesize(24, 720, columns=c, seed=2).masks.float().mean() for c in (72, 36))
    assert 0.6 < fine / coarse < 1.6


def test_twins_are_interleaved_columns_of_one_log() -> None:
    logs = synthesize(16, 10 * 36, columns=72, seed=3).images.nan_to_num()
    even, odd = logs[..., 0::2], logs[..., 1::2]
    between = (even + even.roll(-1, -1)) / 2

    def correlate(a: torch.Tensor, b: torch.Tensor) -> float:
        pairs = torch.stack((a, b), 1).flatten(2)
        return torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs]).median().item()

    assert correlate(odd, between) > 0.75  # 0.79 to 0.99 in real wells
    assert correlate(odd, between) > correlate(odd, between.roll(2, -1)) + 0.1

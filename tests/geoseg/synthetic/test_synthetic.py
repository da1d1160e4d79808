"""Synthetic pipes: what they promise, measured on what they make."""

from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.dataset import PatchDataset
from geoseg.synthetic import Logs, sample_dataset, synthesize, synthetic_dataset
from geoseg.synthetic.__main__ import main
from geoseg.synthetic.datasets import _slices
from geoseg.synthetic.grooves import bands
from geoseg.synthetic.random import RandomStream
from geoseg.synthetic.well_parameters import sample_well_parameters
from tests.helpers import ROOT

SAMPLES = ROOT / "geoseg" / "samples"


@pytest.fixture(scope="module")
def logs() -> Logs:
    """A set large enough for statistics: 48 wells, 24 patches each."""
    return synthesize(48, 24 * 36, seed=3)


@pytest.fixture(scope="module")
def samples() -> PatchDataset:
    """The samples, made anew."""
    return sample_dataset()


def _edges(masks: torch.Tensor) -> torch.Tensor:
    """Where a label begins along azimuth."""
    return (masks == 1) & (masks.roll(1, -1) == 0)


def test_same_seed_same_logs() -> None:
    first, again, other = (synthesize(2, 90, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first.images.nan_to_num(9), again.images.nan_to_num(9))
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images.nan_to_num(9), other.images.nan_to_num(9))


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    synthesize(1, 40)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("rows", "columns"), [(1, 8), (2, 36), (35, 9), (37, 72), (200, 360)])
def test_any_size(rows: int, columns: int) -> None:
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
def test_sizes_too_small_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesize(**arguments)


def test_row_means_are_zero(logs: Logs) -> None:
    means = logs.images.nanmean(-1)
    assert means[~means.isnan()].abs().max() < 1e-6


def test_nulls(logs: Logs) -> None:
    null = logs.images.isnan()
    assert 1e-4 < null.float().mean() < 0.06
    assert null.all(-1).any(), "whole rows"
    assert (null.any(-1) & ~null.all(-1)).any(), "parts of rows"
    assert not logs.masks[null].any(), "no label where nothing was measured"


def test_values_are_of_the_real_size(logs: Logs) -> None:
    spread = torch.stack([image[~image.isnan()].std() for image in logs.images])
    assert 0.014 < spread.median() < 0.023
    assert 0.3 < logs.images.nan_to_num().abs().max() < 1


def test_wells_have_their_own_character() -> None:
    character = sample_well_parameters(RandomStream(0, "cpu"), 400)
    assert character.noise.max() > 3 * character.noise.min()
    assert {80, 165, 345} == {
        min((80, 165, 345), key=lambda x: abs(x - rows)) for rows in character.joint.tolist()
    }
    almost_none = (character.occupancy.sum(1) < 0.1).float().mean()
    assert 0.02 < almost_none < 0.15


def test_share_of_labels(logs: Logs) -> None:
    patches = logs.masks.reshape(-1, 36 * 36)
    assert 0.06 < patches.float().mean() < 0.11
    assert 0.7 < patches.amax(1).float().mean() < 0.9


def test_label_widths(logs: Logs) -> None:
    single = _edges(logs.masks).sum(-1) == 1
    widths = logs.masks.sum(-1)[single].float()
    shares = torch.bincount(widths.long(), minlength=9) / len(widths)
    assert 2.6 < widths.mean() < 3.4
    assert shares[1] < 0.12
    assert shares[2:5].sum() > 0.75
    assert shares[9:].sum() < 0.02


def _moves(masks: torch.Tensor) -> torch.Tensor:
    """Columns that the two edges move, together, from row to row of single labels (N, Z - 1)."""
    left = _edges(masks).float().argmax(-1)
    edges = torch.stack((left, left + masks.sum(-1)))
    columns = masks.shape[-1]
    return ((edges.diff(dim=-1) + columns // 2) % columns - columns // 2).abs().sum(0)


@pytest.mark.parametrize("columns", [36, 72])
def test_label_edges_step_by_one_column_one_at_a_time(columns: int) -> None:
    path = 40 + 0.22 * 36 / columns * torch.cat((torch.arange(500), torch.arange(500, 0, -1)))
    width = 3 + 0.5 * (torch.arange(1000) / 60).sin()
    label = bands(path[None, None], width[None, None], torch.ones(1, 1, 1000) > 0, columns)
    moves = _moves(label.long())
    assert moves.max() == 1
    assert moves.sum() > 100


def test_most_labels_are_rectangles_or_nearly(logs: Logs) -> None:
    masks = logs.masks.reshape(-1, 36, 36)
    moves = _moves(masks[(_edges(masks).sum(-1) == 1).all(-1)])
    segments = 1 + (moves > 0).sum(1)
    assert len(segments) > 300
    assert 0.3 < (segments == 1).float().mean() < 0.6
    assert 0.6 < (segments <= 2).float().mean() < 0.85
    assert (moves > 1).float().mean() < 0.002, "where grooves meet"


def test_grooves_are_darker_than_both_sides(logs: Logs) -> None:
    images, masks = logs
    label = masks == 1
    near = (label.roll(2, -1) | label.roll(-2, -1)) & ~label
    inside = torch.stack([x[m].nanmean() for x, m in zip(images, label, strict=True) if m.any()])
    outside = torch.stack([x[n].nanmean() for x, n in zip(images, near, strict=True) if n.any()])
    contrast = inside - outside
    assert (contrast < -0.004).float().mean() > 0.95
    assert -0.06 < contrast.median() < -0.015


def test_labels_are_centred_on_the_groove(logs: Logs) -> None:
    """The truth is recovered: the darkest place under clear labels is their middle."""
    images, masks = logs
    starts = _edges(masks)
    well, row = ((starts.sum(-1) == 1) & ~images.isnan().any(-1)).nonzero(as_tuple=True)
    first = starts[well, row].float().argmax(-1)
    width = masks[well, row].sum(-1)
    columns = (first[:, None] + torch.arange(-2, 8)) % 36
    values = images[well, row].gather(1, columns)
    reach = torch.arange(-2, 8) < width[:, None] + 2
    dark = (values.amax(1, keepdim=True) - values).clamp(min=0).square() * reach
    middle = (dark * (torch.arange(-2, 8) + 0.5)).sum(1) / dark.sum(1)
    clear = dark.amax(1) > 0.03**2
    offset = (middle - width / 2)[clear & (width < 7)]
    assert len(offset) > 3000
    assert offset.mean().abs() < 0.1
    assert offset.abs().median() < 0.35


def test_grooves_cross_the_seam_and_collars(logs: Logs) -> None:
    label = logs.masks == 1
    assert (label[..., 0] & label[..., -1]).any()
    loud = logs.images.nan_to_num().diff(dim=-1).abs().median(-1).values > 0.05
    assert label[loud].any()


def test_texture_is_coherent_along_depth() -> None:
    images = synthesize(24, 400, seed=8).images.nan_to_num().clamp(-0.06, 0.06)
    near, far = ((images[:, k:] * images[:, :-k]).mean((1, 2)) for k in (1, 150))
    shares = near / images.square().mean((1, 2))
    assert 0.7 < shares.median() < 0.9  # 0.61 to 0.94 in real wells
    assert far.mean() < 0.75 * near.mean(), "collars and drift break it"


def test_same_pipe_at_72_columns_is_as_wide() -> None:
    fine, coarse = (synthesize(24, 720, columns=c, seed=2).masks.float().mean() for c in (72, 36))
    assert 0.6 < fine / coarse < 1.6


def test_dataset() -> None:
    dataset = synthetic_dataset(wells=6, patches=100, seed=1)
    assert len(dataset) == 100
    assert dataset.labelled.all()
    assert dataset.wells.bincount().tolist() == [0, 17, 17, 17, 17, 16, 16]
    assert [s == "validation" for s in dataset.splits] == (dataset.wells > 5).tolist()
    assert len(set(dataset.names)) == 100
    assert (dataset.images.isnan().float().mean((1, 2)) <= 0.5).all()


def test_patches_of_a_twin_are_the_even_and_the_odd_columns() -> None:
    (logs, masks) = synthesize(1, 144, columns=72, seed=4)
    parts = _slices(logs, 2), _slices(masks, 2)
    for log, patches in zip((logs, masks), parts, strict=True):
        assert torch.equal(patches[2].nan_to_num(9), log[0, 36:72, 0::2].nan_to_num(9))
        assert torch.equal(patches[3].nan_to_num(9), log[0, 36:72, 1::2].nan_to_num(9))


def test_sets_of_other_seeds_share_no_log() -> None:
    one, other = (synthetic_dataset(2, 4, seed=seed).images.nan_to_num() for seed in (0, 4096))
    assert not torch.equal(one, other)


def test_twins_interleave_to_one_log() -> None:
    logs = synthesize(16, 10 * 36, columns=72, seed=3).images.nan_to_num()
    even, odd = logs[..., 0::2], logs[..., 1::2]
    between = (even + even.roll(-1, -1)) / 2

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        pairs = torch.stack((a, b), 1).flatten(2)
        return torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs]).median().item()

    assert alike(odd, between) > 0.75  # 0.79 to 0.99 in real wells
    assert alike(odd, between) > alike(odd, between.roll(2, -1)) + 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wells": 0}, "wells is 0"),
        ({"wells": 4, "patches": 3}, "patches is 3; give at least one for each of the 4 wells"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_datasets_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthetic_dataset(**arguments)


def test_command_line_writes_what_the_dataset_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    assert main(["--out", str(folder), "--wells", "5", "--patches", "83", "--seed", "7"]) == 0
    assert (
        "67 train patches of 4 wells, 16 validation patches of 1 wells" in capsys.readouterr().out
    )
    made, read = synthetic_dataset(5, 83, 7), PatchDataset.load(folder, cache=False)
    assert not read.rejections
    assert read.names == made.names
    assert torch.equal(read.masks, made.masks)
    assert torch.equal(read.images.nan_to_num(9), made.images.nan_to_num(9))


def test_command_line_keeps_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    command = ["--out", str(tmp_path), "--wells", "1", "--patches", "2"]
    assert main(command) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert len(list(tmp_path.rglob("*.npy"))) == 4


@pytest.mark.parametrize("change", [["--out", "{file}"], ["--patches", "1"], ["--seed", "-2"]])
def test_mistakes_on_the_command_line_are_one_line(
    change: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    change = [part.format(file=tmp_path / "file") for part in change]
    assert main(["--out", str(tmp_path / "new"), "--wells", "2", *change]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_samples_are_what_their_command_makes(samples: PatchDataset) -> None:
    made, shipped = samples, PatchDataset.load(SAMPLES, cache=False)
    assert shipped.names == made.names
    assert set(shipped.splits) == {"validation"}
    assert shipped.wells.bincount().tolist() == [0, 12, 12, 12, 12]
    assert torch.equal(shipped.masks, made.masks)
    assert torch.equal(shipped.images.isnan(), made.images.isnan())
    torch.testing.assert_close(shipped.images, made.images, rtol=0, atol=1e-5, equal_nan=True)


def test_samples_show_grooves_nulls_and_an_empty_patch(samples: PatchDataset) -> None:
    groove = samples.masks.amax((1, 2)) > 0
    assert 24 <= groove.sum() <= 44
    assert samples.images.isnan().any()
    assert np.ptp(samples.masks.float().mean((1, 2)).numpy()) > 0.1

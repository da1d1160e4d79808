"""Synthetic data sets: their layout, the files written, and the packaged samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.dataset import PatchDataset
from geoseg.synthetic import make_sample_dataset, make_synthetic_dataset, synthesize
from geoseg.synthetic.__main__ import main
from geoseg.synthetic.datasets import _cut_patches
from tests.helpers import ROOT

SAMPLES = ROOT / "geoseg" / "samples"


@pytest.fixture(scope="module")
def samples() -> PatchDataset:
    """Make the samples again."""
    return make_sample_dataset()


def test_dataset_has_the_requested_patches_wells_and_splits() -> None:
    dataset = make_synthetic_dataset(wells=6, patches=100, seed=1)
    assert len(dataset) == 100
    assert dataset.labelled.all()
    assert dataset.wells.bincount().tolist() == [0, 17, 17, 17, 17, 16, 16]
    assert [s == "validation" for s in dataset.splits] == (dataset.wells > 5).tolist()
    assert len(set(dataset.names)) == 100
    assert (dataset.images.isnan().float().mean((1, 2)) <= 0.5).all()


def test_twin_patches_are_the_even_and_odd_columns() -> None:
    (logs, masks) = synthesize(1, 144, columns=72, seed=4)
    parts = _cut_patches(logs, 2), _cut_patches(masks, 2)
    for log, patches in zip((logs, masks), parts, strict=True):
        assert torch.equal(patches[2].nan_to_num(9), log[0, 36:72, 0::2].nan_to_num(9))
        assert torch.equal(patches[3].nan_to_num(9), log[0, 36:72, 1::2].nan_to_num(9))


def test_datasets_of_different_seeds_share_no_log() -> None:
    one, other = (make_synthetic_dataset(2, 4, seed=seed).images.nan_to_num() for seed in (0, 4096))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wells": 0}, "wells is 0"),
        ({"wells": 4, "patches": 3}, "patches is 3; give at least one for each of the 4 wells"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_dataset_is_an_error(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_synthetic_dataset(**arguments)


def test_written_dataset_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    assert main(["--out", str(folder), "--wells", "5", "--patches", "83", "--seed", "7"]) == 0
    assert (
        "67 train patches of 4 wells, 16 validation patches of 1 wells" in capsys.readouterr().out
    )
    made, read = make_synthetic_dataset(5, 83, 7), PatchDataset.load(folder, cache=False)
    assert not read.rejections
    assert read.names == made.names
    assert torch.equal(read.masks, made.masks)
    assert torch.equal(read.images.nan_to_num(9), made.images.nan_to_num(9))


def test_existing_files_are_kept_and_patches_replaced_with_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    command = ["--out", str(tmp_path), "--wells", "1", "--patches", "2"]
    assert main(command) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert len(list(tmp_path.rglob("*.npy"))) == 4


@pytest.mark.parametrize("change", [["--out", "{file}"], ["--patches", "1"], ["--seed", "-2"]])
def test_wrong_arguments_are_one_line_errors(
    change: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    change = [part.format(file=tmp_path / "file") for part in change]
    assert main(["--out", str(tmp_path / "new"), "--wells", "2", *change]) == 2
    assert capsys.readouterr().err.startswith("synthetic: ")


def test_packaged_samples_are_reproduced(samples: PatchDataset) -> None:
    made, shipped = samples, PatchDataset.load(SAMPLES, cache=False)
    assert shipped.names == made.names
    assert set(shipped.splits) == {"validation"}
    assert shipped.wells.bincount().tolist() == [0, 12, 12, 12, 12]
    assert torch.equal(shipped.masks, made.masks)
    assert torch.equal(shipped.images.isnan(), made.images.isnan())
    torch.testing.assert_close(shipped.images, made.images, rtol=0, atol=1e-5, equal_nan=True)


def test_samples_have_grooves_nulls_and_different_groove_shares(samples: PatchDataset) -> None:
    groove = samples.masks.amax((1, 2)) > 0
    assert 24 <= groove.sum() <= 44
    assert samples.images.isnan().any()
    assert np.ptp(samples.masks.float().mean((1, 2)).numpy()) > 0.1

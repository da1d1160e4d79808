"""Inputs that people really have, through what they would be given to."""

import json

import numpy as np
import pytest

from geoseg import PatchError, Segmenter, read_log, read_logs, read_patch
from geoseg.__main__ import main as geoseg_main
from tests.helpers import ROOT
from train.evaluate.__main__ import main as evaluate

RING = ROOT / "checkpoints" / "3000-ring-unet.safetensors"


@pytest.fixture(scope="module")
def mask():
    segmenter = Segmenter([RING], "cpu")
    return lambda image: segmenter.segment(image)[RING.stem].mask


def test_a_header_of_python_2_reads(cases):
    assert read_patch(cases / "01-python2-long-shape" / "well_1_patch_13.npy").shape == (36, 36)


def test_pointers_name_the_remedy(cases, capsys, tmp_path):
    folder = cases / "05-lfs-pointer"
    with pytest.raises(PatchError, match="git lfs pull"):
        read_patch(folder / "well_1_patch_13.npy")
    pointer = str(folder / "3000-ring-unet.safetensors")
    sample = str(cases / "08-micrometres" / "inch.npy")
    assert geoseg_main(["segment", sample, "-o", str(tmp_path), "--checkpoint", pointer]) == 2
    assert "git lfs pull" in capsys.readouterr().err
    assert evaluate([str(RING), "--data", str(folder / "data"), "--split", "train"]) == 2
    assert "git lfs pull" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["X3.npy", "X_train.npy"])
def test_stacks_are_five_patches(cases, name):
    logs = read_logs(cases / "07-stack" / name)
    assert [log.image.shape for log in logs] == [(36, 36)] * 5
    assert not any(log.notes for log in logs)


def test_micrometres_give_the_mask_of_inches(cases, mask):
    folder = cases / "08-micrometres"
    inch, um = read_log(folder / "inch.npy"), read_log(folder / "um_float.npy")
    np.testing.assert_array_equal(mask(um), mask(inch))
    assert mask(inch).any()
    assert inch.notes == ()
    assert "micrometres" in um.notes[0]


def test_absolute_thickness_gives_the_mask_of_relative(cases, mask):
    relative = read_log(cases / "08-micrometres" / "inch.npy")
    absolute = read_log(cases / "09-absolute-thickness" / "abs_inch.npy")
    np.testing.assert_array_equal(mask(absolute), mask(relative))
    assert "mean was subtracted" in absolute.notes[0]


def test_rows_of_a_null_code_are_nulls(cases, mask):
    log = read_log(cases / "10-nulls" / "m99.npy")
    np.testing.assert_array_equal(np.isnan(log.image).all(1).nonzero()[0], [10, 11, 12, 13])
    assert not mask(log)[10:14].any()
    assert "code -99" in log.notes[0]


def test_a_mask_of_0_and_255_scores_as_one_of_0_and_1(cases, tmp_path):
    folder = cases / "20-mask-0-255"
    found = []
    for name in ("mask_0_1", "mask_0_255"):
        words = ["--log", folder / "log.npy", "--log-truth", folder / f"{name}.npy"]
        json_file = tmp_path / f"{name}.json"
        assert evaluate([str(RING), *map(str, words), "--json", str(json_file)]) == 0
        found.append(json.loads(json_file.read_text()))
    plain, other = found
    assert other["scores"] == plain["scores"]
    assert plain["scores"][RING.stem]["micro_iou"] > 0.3
    assert any("255" in note for note in other["notes"])

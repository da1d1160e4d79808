"""Masks: 0 and 1, or 0 and 255, of any dtype; 255 is unknown where it can be nothing else."""

import io

import numpy as np
import pytest

from geoseg.dataset.__main__ import main
from geoseg.masks import UNKNOWN_LABEL, are_transposed, explain_misfit, read_mask, read_noted_mask
from geoseg.patches import PatchError
from tests.helpers.patch_folders import write_patch

GROOVES = np.zeros((72, 36), np.uint8)
GROOVES[5:60, 7:9] = GROOVES[30:72, 20] = 1


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "u1", "i8", ">i2", "f2", "f4", ">f8"])
@pytest.mark.parametrize("value", [1, 255])
def test_0_1_and_0_255_of_any_dtype(dtype, value, unknown):
    mask = read_noted_mask(npy((GROOVES * value).astype(dtype)), unknown=unknown)
    np.testing.assert_array_equal(mask.pixels, GROOVES)
    assert mask.pixels.dtype == np.uint8
    assert mask.pixels.flags.writeable
    is_noted = value == 255 and dtype != "bool"
    assert mask.notes == ("The mask holds 0 and 255, so 255 was taken for grooves.",) * is_noted


def test_masks_of_the_cases(cases):
    folder = cases / "20-mask-0-255"
    for unknown in (False, True):
        expected = read_mask(folder / "mask_0_1.npy")
        assert np.array_equal(read_mask(folder / "mask_0_255.npy", unknown=unknown), expected)
    for path in (folder / "data/train/labels").iterdir():
        assert np.array_equal(read_mask(path), np.load(path) // 255)


@pytest.mark.parametrize("columns", [slice(None), slice(0, None, 2), slice(1, None, 2)])
def test_255_in_whole_rows_is_unknown_in_a_log_and_ambiguous_in_a_patch(columns):
    mask = np.zeros((72, 72), np.uint8)
    mask[36:, columns] = UNKNOWN_LABEL
    found = read_noted_mask(npy(mask), unknown=True)
    np.testing.assert_array_equal(found.pixels, mask)
    assert "taken for unknown" in found.notes[0]
    with pytest.raises(PatchError, match="holds 255 in whole rows, which may mean a groove or an"):
        read_mask(npy(mask))
    mask[3, 4] = 1  # what 255 means is sure
    assert read_noted_mask(npy(mask), unknown=True).notes == ()
    with pytest.raises(PatchError, match="holds the value 255, but"):
        read_mask(npy(mask))
    mask[3, 4] = 255  # a groove, if whole rows of them are not
    with pytest.raises(PatchError, match="write grooves as 1"):
        read_mask(npy(mask), unknown=True)


def test_mask_of_255_alone_is_unknown_or_refused():
    mask = np.full((36, 36), 255)
    assert (read_mask(npy(mask), unknown=True) == UNKNOWN_LABEL).all()
    with pytest.raises(PatchError, match="write grooves as 1"):
        read_mask(npy(mask))


def test_stitched_mask_without_a_groove_keeps_its_unknown_rows(tmp_path):
    for index in (0, 1, 4, 5):
        mask = np.zeros((36, 36), np.uint8) if index != 4 else None
        image = np.random.default_rng(index).normal(0, 0.01, (36, 36))
        write_patch(tmp_path / "data", "train", 1, index, image, mask)
    assert main(["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "logs")]) == 0
    path = tmp_path / "logs/labels/well_1.npy"
    assert set(np.unique(np.load(path))) == {0, 255}
    assert np.array_equal(read_mask(path, unknown=True), np.load(path))


def test_transposed_masks_are_named(real):
    assert explain_misfit((36, 36), (36, 36)) == ""
    said = explain_misfit((36, 72), (72, 36))
    assert said == "has the size 36x72, its image 72x36: it fits only transposed, so save its .T"
    assert "transposed" not in explain_misfit((36, 36), (72, 36))
    labels = np.stack([read_mask(p) for p in sorted(real.glob("patches/*/labels/*.npy"))])
    assert len(labels) == 53
    for masks in (labels, *labels[:, None]):
        assert not are_transposed(masks)
        assert are_transposed(masks.swapaxes(1, 2)) is bool(masks.any())

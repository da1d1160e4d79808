"""Folders of small patches, for tests of the data set."""

from pathlib import Path

import numpy as np
import torch

import geoseg.dataset.loading
from geoseg.dataset import PatchDataset


def make_image(well: int, index: int, shape=(4, 6)) -> np.ndarray:
    """Return an image (Z, A) of each well and index, A even, whose row means are 0."""
    half = np.random.default_rng((well, index)).normal(0, 0.01, (shape[0], shape[1] // 2))
    return np.hstack([half, -half]).astype(np.float32)


def write_patch(root: Path, split: str, well: int, index: int, image=None, mask=None) -> None:
    """Write an image and, unless `mask` is None, its label."""
    for kind, array in (("images", image), ("labels", mask)):
        if kind == "images" and array is None:
            array = make_image(well, index)
        if array is not None:
            path = root / split / kind / f"well_{well}_patch_{index}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)


def break_rules(root: Path) -> dict[str, tuple[str, str]]:
    """Add one file that breaks each rule; return (kind, part of the reason) by name."""
    mask = np.zeros((4, 6))
    write_patch(root, "train", 3, 0, np.full((4, 6), -999.0), mask)
    write_patch(root, "train", 3, 1, make_image(3, 1, (6, 4)), mask.T)
    write_patch(root, "train", 3, 2)
    write_patch(root, "train", 3, 3, mask=mask.T)
    write_patch(root, "train", 3, 4, mask=mask + 255)
    write_patch(root, "train", 3, 5, mask=mask)
    (root / "train/images/well_3_patch_5.npy").write_bytes(b"")
    write_patch(root, "train", 3, 6, mask=mask)
    (root / "train/images/well_3_patch_6.npy").rename(root / "train/images/well_3_patch_06.npy")
    (root / "train/labels/.DS_Store").touch()  # ignored
    (root / "train/images/well_3_patch_7.npy").symlink_to("nowhere")
    (root / "train/labels/well_3_patch_7.npy").touch()
    (root / "test/images/well_\udcff\n1.npy").touch()
    (root / "test/images/well_9_patch_1.npy").mkdir()
    return {
        "train/images/well_3_patch_0.npy": ("null everywhere", "holds no measurement"),
        "train/images/well_3_patch_1.npy": ("of another size", "6x4, most patches here 4x6"),
        "train/images/well_3_patch_2.npy": ("without a label", "add it to train/labels"),
        "train/labels/well_3_patch_3.npy": (
            "label of another size",
            "6x4, its image 4x6: it fits only",
        ),
        "train/labels/well_3_patch_4.npy": ("unusable label", "holds 255 in whole rows"),
        "train/images/well_3_patch_5.npy": ("unreadable image", "is empty"),
        "train/images/well_3_patch_06.npy": ("misnamed", "rename"),
        "train/labels/well_3_patch_6.npy": ("label without an image", "has no image"),
        "train/images/well_3_patch_7.npy": ("unreadable image", "does not exist"),
        "test/images/well_??1.npy": ("misnamed", "rename"),
        "test/images/well_9_patch_1.npy": ("unreadable image", "Is a directory"),
    }


def assert_same(a: PatchDataset, b: PatchDataset) -> None:
    """Check that two data sets are equal, with nulls and rejections."""
    for name in ("images", "masks", "labelled", "wells", "indices"):
        torch.testing.assert_close(
            getattr(a, name), getattr(b, name), rtol=0, atol=0, equal_nan=True
        )
    assert a.splits == b.splits
    assert a.rejections == b.rejections
    assert a.notes == b.notes


def fail_on_reading(monkeypatch) -> None:
    """Make every read of a patch fail, so that only the cache can be loaded."""

    def read(*_):
        raise AssertionError("the cache is not used")

    monkeypatch.setattr(geoseg.dataset.loading, "read_patches", read)

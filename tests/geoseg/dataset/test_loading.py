"""Data sets in memory, and their cache."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import geoseg.dataset.folder
from geoseg.dataset import CACHE_NAME, PatchDataset
from geoseg.measurements import MeasurementOptions
from tests.helpers.patch_folders import (
    assert_same,
    break_rules,
    fail_on_reading,
    make_image,
    write_patch,
)


def test_wrong_column_is_an_error(root):
    columns = vars(PatchDataset.load(root))
    with pytest.raises(ValueError, match=r"masks are \(torch.float32, "):
        PatchDataset(**{**columns, "masks": columns["images"]})
    with pytest.raises(ValueError, match=r"wells are .* expected \(torch.int64, \(22,\)\)"):
        PatchDataset(**{**columns, "wells": columns["wells"][:3]})
    with pytest.raises(ValueError, match=r"expected \(N, Z, A\) with N = 2 splits"):
        PatchDataset(**{**columns, "splits": ("train", "test")})


def test_select_by_mask_or_positions(root):
    dataset = PatchDataset.load(root)
    by_mask = dataset.select(dataset.wells == 2)
    assert by_mask.names == tuple(f"train/images/well_2_patch_{i}.npy" for i in range(3))
    assert_same(by_mask, dataset.select(torch.tensor([12, 13, 14])))
    assert len(dataset.select(dataset.wells == 99)) == 0
    assert repr(by_mask) == "PatchDataset(3 patches of 4x6: 3 train)"


def test_second_load_reads_only_the_cache(root, monkeypatch):
    break_rules(root)
    write_patch(root, "test", 1, 20, np.array([[np.nan, 1.0, 1, 1, 1, 1]] * 4))
    first = PatchDataset.load(root)
    assert [path.name for path in root.iterdir() if path.is_file()] == [CACHE_NAME]
    fail_on_reading(monkeypatch)
    assert_same(PatchDataset.load(root), first)
    assert len(PatchDataset.load(root, ["train"])) == 15


def test_other_options_are_cached_apart(root):
    np.save(root / "test/images/well_1_patch_0.npy", np.full((4, 6), 7.0) + np.eye(4, 6))
    for nulls in ("auto", {7.0, 9.0}, {9.0}):
        options = MeasurementOptions(nulls=nulls)
        fresh = PatchDataset.load(root, options=options, cache=False)
        assert_same(PatchDataset.load(root, options=options), fresh)
        assert len(fresh) == 22 - (nulls == {7.0, 9.0})  # mostly null


def test_changing_a_loaded_dataset_does_not_change_the_cache(root):
    first = PatchDataset.load(root)
    PatchDataset.load(root).images.fill_(7)
    assert_same(PatchDataset.load(root), first)


def test_cache_false_writes_nothing(root):
    PatchDataset.load(root, cache=False)
    assert not (root / CACHE_NAME).exists()


@pytest.mark.parametrize("change", ["edit", "touch", "add", "remove", "rename", "unlabel", "rules"])
def test_any_change_of_the_folder_invalidates_the_cache(root, monkeypatch, change):
    PatchDataset.load(root)
    path = root / "train/images/well_1_patch_3.npy"
    if change == "edit":
        np.save(path, np.ones((4, 6), np.float32))
    elif change == "touch":
        os.utime(path, ns=(0, 0))
    elif change == "add":
        write_patch(root, "test", 4, 0)
    elif change == "remove":
        path.unlink()
    elif change == "rename":
        path.rename(path.with_name("well_1_patch_77.npy"))
    elif change == "unlabel":
        shutil.rmtree(root / "validation/labels")
    else:
        monkeypatch.setattr(geoseg.dataset.folder, "_RULES_VERSION", -1)
    fresh = PatchDataset.load(root, cache=False)
    assert_same(PatchDataset.load(root), fresh)
    fail_on_reading(monkeypatch)
    assert_same(PatchDataset.load(root), fresh)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(b"\xff" * len(content))
    elif how == "truncated":
        path.write_bytes(content[:-1])
    elif how == "rejections":
        path.write_bytes(content.replace(b'"rejections":"[]"', b'"rejections":"[1"'))
    elif how == "code":
        path.write_bytes(content.replace(b"\x02\x02", b"\x09\x09"))
    else:
        metadata = {"fingerprint": content.partition(b'"fingerprint":"')[2][:64].decode()}
        tensors = load_file(path)
        tensors["wells" if how == "column" else "masks"] = torch.zeros(3)
        save_file(tensors, path, {**metadata, "rejections": "[]"})
    assert path.read_bytes() != content


@pytest.mark.parametrize(
    "how", ["empty", "garbage", "truncated", "rejections", "code", "column", "shape"]
)
def test_damaged_cache_is_rebuilt(root, monkeypatch, how):
    first = PatchDataset.load(root)
    damage(root / CACHE_NAME, how)
    assert_same(PatchDataset.load(root), first)
    fail_on_reading(monkeypatch)
    assert_same(PatchDataset.load(root), first)


def test_dataset_loads_without_a_writable_cache(root, caplog):
    (root / CACHE_NAME).mkdir()  # a folder in the way stops even the superuser
    assert len(PatchDataset.load(root)) == 22
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"no cache of {root}, so the next start reads it again")
    assert [path.name for path in root.iterdir() if path.is_file()] == []  # nothing half done


def test_cache_loads_faster_than_the_files(tmp_path):
    """Compare in one process: a busy machine slows both."""
    image = make_image(1, 1, (36, 36))
    np.save(tmp_path / "images.npy", image)
    np.save(tmp_path / "labels.npy", np.eye(36, dtype=np.uint8))
    for kind in ("images", "labels"):
        folder = tmp_path / "data" / "train" / kind
        folder.mkdir(parents=True)
        for index in range(1000):
            os.link(tmp_path / f"{kind}.npy", folder / f"well_1_patch_{index}.npy")
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        dataset = PatchDataset.load(tmp_path / "data")
        seconds.append(time.perf_counter() - start)
        assert np.array_equal(dataset.images[-1], image)
        assert (dataset.masks.sum(), len(dataset)) == (1000 * 36, 1000)
    assert 3 * min(seconds[1:]) < seconds[0]

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import geoseg.dataset.folder
import geoseg.dataset.loading
from geoseg.dataset import (
    CACHE_NAME,
    DatasetError,
    PatchDataset,
    Rejection,
    by_folder,
    leave_wells_out,
    random_split,
    well_folds,
)


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def image_of(well: int, index: int, shape=(4, 6)) -> np.ndarray:
    values = np.linspace(-0.1, 0.1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    return values + np.float32(well / 10 + index / 1000)


def write(root: Path, split: str, well: int, index: int, image=None, mask=None) -> None:
    """Write an image and, unless `mask` is None, its label."""
    for kind, array in (("images", image), ("labels", mask)):
        if kind == "images" and array is None:
            array = image_of(well, index)
        if array is not None:
            path = root / split / kind / f"well_{well}_patch_{index}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)


@pytest.fixture
def root(tmp_path) -> Path:
    """Wells 1 (12 patches) and 2 (3) to train, 13 (5) to validate, an unlabelled well 1 to test."""
    root = tmp_path / "data"
    for split, well, count in (("train", 1, 12), ("train", 2, 3), ("validation", 13, 5)):
        for index in range(count):
            mask = np.zeros((4, 6))
            mask[:, index % 6] = 1
            write(root, split, well, index, mask=mask)
    for index in range(2):
        write(root, "test", 1, index)
    return root


def assert_same(a: PatchDataset, b: PatchDataset) -> None:
    for name in ("images", "masks", "labelled", "wells", "indices"):
        torch.testing.assert_close(
            getattr(a, name), getattr(b, name), rtol=0, atol=0, equal_nan=True
        )
    assert a.splits == b.splits
    assert a.rejections == b.rejections


def forbid_reading(monkeypatch) -> None:
    def read(*_):
        raise AssertionError("the cache was not used")

    monkeypatch.setattr(geoseg.dataset.loading, "read", read)


# What is read ------------------------------------------------------------------------------------


def test_the_folder_is_read_by_split_well_and_depth(root):
    dataset = PatchDataset.load(root)
    assert len(dataset) == 22
    assert dataset.images.shape == dataset.masks.shape == (22, 4, 6)
    assert dataset.wells.tolist() == [1] * 12 + [2] * 3 + [13] * 5 + [1] * 2
    assert dataset.indices.tolist() == [*range(12), *range(3), *range(5), *range(2)]
    assert dataset.splits == ("train",) * 15 + ("validation",) * 5 + ("test",) * 2
    assert dataset.labelled.tolist() == [True] * 20 + [False] * 2
    assert dataset.names[0] == "train/images/well_1_patch_0.npy"
    assert dataset.names[-1] == "test/images/well_1_patch_1.npy"
    for i, name in enumerate(dataset.names):
        np.testing.assert_array_equal(dataset.images[i], np.load(root / name))
        label = root / name.replace("images", "labels")
        truth = np.load(label) if label.exists() else np.zeros((4, 6))
        np.testing.assert_array_equal(dataset.masks[i], truth)
    assert dataset.rejections == ()
    assert dataset.rejection_summary() == "22 patches kept, 0 files rejected"


def test_some_splits_can_be_asked_for(root):
    (root / "test/images/junk.txt").touch()
    (root / "train/images/junk.txt").touch()
    dataset = PatchDataset.load(root, ["test", "validation"])
    assert set(dataset.splits) == {"validation", "test"}
    assert [rejection.name for rejection in dataset.rejections] == ["test/images/junk.txt"]


def test_a_partly_null_patch_is_kept_up_to_half(root):
    half, more = image_of(1, 20), image_of(1, 21)
    half.flat[:12] = -999.25
    more.flat[:13] = np.nan
    write(root, "test", 1, 20, half)
    write(root, "test", 1, 21, more)
    dataset = PatchDataset.load(root)
    assert dataset.names[-1] == "test/images/well_1_patch_20.npy"
    assert torch.isnan(dataset.images[-1]).sum() == 12
    assert dataset.rejections == (
        Rejection(
            "test/images/well_1_patch_21.npy",
            "54.2% of its pixels are null, more than 50%",
            "mostly null",
        ),
    )


def break_rules(root: Path) -> dict[str, tuple[str, str]]:
    """Add one file against each rule; return its (kind, words of the reason) by name."""
    mask = np.zeros((4, 6))
    write(root, "train", 3, 0, np.full((4, 6), -999.0), mask)
    write(root, "train", 3, 1, image_of(3, 1, (6, 4)), mask.T)
    write(root, "train", 3, 2)
    write(root, "train", 3, 3, mask=mask.T)
    write(root, "train", 3, 4, mask=mask + 255)
    write(root, "train", 3, 5, mask=mask)
    (root / "train/images/well_3_patch_5.npy").write_bytes(b"")
    write(root, "train", 3, 6, mask=mask)
    (root / "train/images/well_3_patch_6.npy").rename(root / "train/images/well_3_patch_06.npy")
    (root / "train/labels/.DS_Store").touch()
    (root / "train/images/well_3_patch_7.npy").symlink_to("nowhere")
    (root / "train/labels/well_3_patch_7.npy").touch()
    (root / "test/images/well_\udcff\n1.npy").touch()
    (root / "test/images/well_9_patch_1.npy").mkdir()
    return {
        "train/images/well_3_patch_0.npy": ("null everywhere", "every pixel is null"),
        "train/images/well_3_patch_1.npy": ("of another size", "6x4, most patches here 4x6"),
        "train/images/well_3_patch_2.npy": (
            "without a label",
            "add train/labels/well_3_patch_2.npy",
        ),
        "train/labels/well_3_patch_3.npy": ("label of another size", "6x4, its image 4x6"),
        "train/labels/well_3_patch_4.npy": ("unusable label", "holds the value 255,"),
        "train/images/well_3_patch_5.npy": ("unreadable image", "is empty"),
        "train/images/well_3_patch_06.npy": ("misnamed", "rename"),
        "train/labels/well_3_patch_6.npy": ("label without an image", "has no image"),
        "train/labels/.DS_Store": ("misnamed", "rename"),
        "train/images/well_3_patch_7.npy": ("unreadable image", "does not exist"),
        "test/images/well_??1.npy": ("misnamed", "rename"),
        "test/images/well_9_patch_1.npy": ("unreadable image", "is a folder"),
    }


def test_every_broken_rule_is_named(root):
    before = PatchDataset.load(root)
    broken = break_rules(root)
    dataset = PatchDataset.load(root)
    assert dataset.names == before.names
    assert [rejection.name for rejection in dataset.rejections] == sorted(broken)
    for rejection in dataset.rejections:
        kind, words = broken[rejection.name]
        assert rejection.kind == kind
        assert words in rejection.reason


def test_the_summary_counts_each_rule_with_examples(root):
    break_rules(root)
    (root / "train/images/Thumbs.db").touch()
    lines = PatchDataset.load(root).rejection_summary(examples=1).splitlines()
    assert lines[:4] == [
        "22 patches kept, 13 files rejected",
        "  4 misnamed",
        "    test/images/well_??1.npy: is not named well_K_patch_I.npy; rename or remove it",
        "    and 3 more",
    ]
    assert "  1 unusable label" in lines


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: shutil.rmtree(root), "is not a folder; expected <root>/{train,"),
        (lambda root: [shutil.rmtree(path) for path in root.iterdir()], "holds no patches"),
        (lambda root: [path.unlink() for path in root.rglob("*.npy")], "holds no patches"),
        (
            lambda root: [path.write_bytes(b"") for path in root.rglob("*.npy")],
            r"no usable patch .* 22 files rejected, the first test/.*\(is empty",
        ),
        (
            lambda root: (shutil.rmtree(root / "test/images"), (root / "test/images").touch()),
            r"cannot be listed \(.*\); it must be a folder",
        ),
    ],
)
def test_a_folder_without_patches_is_an_error(root, make, words):
    make(root)
    with pytest.raises(DatasetError, match=words):
        PatchDataset.load(root)


def test_a_folder_that_may_not_be_read(root, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)  # nobody refuses root, who may run the tests
    words = r"cannot be listed \(Permission denied\); ask its owner for the right to read it"
    with pytest.raises(DatasetError, match=words):
        PatchDataset.load(root)


def test_an_unknown_split_is_an_error_that_names_those_there(root):
    with pytest.raises(DatasetError, match=r"no split 'dev' .* train, validation, test"):
        PatchDataset.load(root, ["dev"])


@pytest.mark.parametrize("terminal", [False, True])
def test_reading_many_files_shows_progress(root, monkeypatch, capsys, terminal):
    monkeypatch.setattr(geoseg.dataset.folder, "_SMALL", 0)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    PatchDataset.load(root, cache=False, progress=False)
    assert capsys.readouterr().err == ""
    PatchDataset.load(root, cache=False)
    shown = capsys.readouterr().err
    assert ("100%" in shown) if terminal else (shown == "Reading 22 patches\n")


def test_a_set_checks_its_columns(root):
    columns = vars(PatchDataset.load(root))
    with pytest.raises(ValueError, match=r"masks are torch.float32"):
        PatchDataset(**{**columns, "masks": columns["images"]})
    with pytest.raises(ValueError, match=r"wells are .* expected torch.int64 \(22,\)"):
        PatchDataset(**{**columns, "wells": columns["wells"][:3]})
    with pytest.raises(ValueError, match=r"expected \(N, Z, A\) with N = 2 splits"):
        PatchDataset(**{**columns, "splits": ("train", "test")})


def test_selecting(root):
    dataset = PatchDataset.load(root)
    by_mask = dataset.select(dataset.wells == 2)
    assert by_mask.names == tuple(f"train/images/well_2_patch_{i}.npy" for i in range(3))
    assert_same(by_mask, dataset.select(torch.tensor([12, 13, 14])))
    assert len(dataset.select(dataset.wells == 99)) == 0
    assert repr(by_mask) == "PatchDataset(3 patches of 4x6: 3 train)"


# The cache ---------------------------------------------------------------------------------------


def test_the_second_load_is_the_first_from_one_file(root, monkeypatch):
    break_rules(root)
    write(root, "test", 1, 20, np.array([[np.nan, 1.0, 1, 1, 1, 1]] * 4))
    first = PatchDataset.load(root)
    assert [path.name for path in root.iterdir() if path.is_file()] == [CACHE_NAME]
    forbid_reading(monkeypatch)
    assert_same(PatchDataset.load(root), first)
    assert len(PatchDataset.load(root, ["train"])) == 15


def test_a_cached_set_may_be_changed_without_changing_the_cache(root):
    first = PatchDataset.load(root)
    PatchDataset.load(root).images.fill_(7)
    assert_same(PatchDataset.load(root), first)


def test_without_the_cache_nothing_is_written(root, user_cache):
    PatchDataset.load(root, cache=False)
    assert not (root / CACHE_NAME).exists()
    assert not user_cache.exists()


@pytest.mark.parametrize("change", ["edit", "touch", "add", "remove", "rename", "unlabel", "rules"])
def test_any_change_of_the_folder_is_seen(root, monkeypatch, change):
    PatchDataset.load(root)
    path = root / "train/images/well_1_patch_3.npy"
    if change == "edit":
        np.save(path, np.ones((4, 6), np.float32))
    elif change == "touch":
        os.utime(path, ns=(0, 0))
    elif change == "add":
        write(root, "test", 4, 0)
    elif change == "remove":
        path.unlink()
    elif change == "rename":
        path.rename(path.with_name("well_1_patch_77.npy"))
    elif change == "unlabel":
        shutil.rmtree(root / "validation/labels")
    else:
        monkeypatch.setattr(geoseg.dataset.folder, "_RULES", -1)
    fresh = PatchDataset.load(root, cache=False)
    assert_same(PatchDataset.load(root), fresh)
    forbid_reading(monkeypatch)
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
def test_a_damaged_cache_is_rebuilt(root, monkeypatch, how):
    first = PatchDataset.load(root)
    damage(root / CACHE_NAME, how)
    assert_same(PatchDataset.load(root), first)
    forbid_reading(monkeypatch)
    assert_same(PatchDataset.load(root), first)


def test_a_root_that_cannot_be_written_is_cached_for_the_user(
    root, user_cache, monkeypatch, caplog
):
    (root / CACHE_NAME).mkdir()  # a folder in the way stops even the superuser
    first = PatchDataset.load(root)
    (cached,) = user_cache.rglob("*.safetensors")
    assert caplog.messages == [f"{root} cannot be written; its cache is {cached}"]
    assert [path.name for path in root.iterdir() if path.is_file()] == []  # nothing half done
    forbid_reading(monkeypatch)
    assert_same(PatchDataset.load(root), first)


def test_without_any_place_for_a_cache_the_set_still_loads(root, user_cache, caplog):
    (root / CACHE_NAME).mkdir()
    user_cache.touch()
    assert len(PatchDataset.load(root)) == 22
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"no cache of {root}")


def test_the_second_load_of_a_full_set_takes_less_than_a_second(tmp_path, monkeypatch):
    root = tmp_path / "full"
    np.save(tmp_path / "image.npy", np.eye(36, dtype=np.float32))
    for split, well, count in (("train", 1, 7211), ("validation", 13, 2463)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
            for index in range(count):
                os.link(
                    tmp_path / "image.npy", root / split / kind / f"well_{well}_patch_{index}.npy"
                )
    PatchDataset.load(root, progress=False)
    forbid_reading(monkeypatch)
    begin = time.perf_counter()
    dataset = PatchDataset.load(root)
    assert (dataset.images.sum(), len(dataset)) == (9674 * 36, 9674)
    assert time.perf_counter() - begin < 1
    shutil.rmtree(root)


# Splits ------------------------------------------------------------------------------------------


def wells(dataset: PatchDataset) -> set[int]:
    return set(dataset.wells.tolist())


def test_the_folders_own_split(root):
    train, validation = by_folder(PatchDataset.load(root))
    assert (len(train), len(validation)) == (15, 5)
    assert set(train.splits) == {"train"}
    assert set(validation.splits) == {"validation"}
    with pytest.raises(DatasetError, match=r"no labelled patch in validation/.*\[1, 2\]"):
        by_folder(PatchDataset.load(root, ["train", "test"]))


def test_leaving_wells_out(root):
    train, validation = leave_wells_out(PatchDataset.load(root), [2])
    assert (wells(train), wells(validation)) == ({1, 13}, {2})
    assert train.labelled.all()


def test_the_wells_of_the_test_folder_never_enter_a_split(root):
    for index in range(2):
        write(root, "test", 1, index, mask=np.zeros((4, 6)))
    dataset = PatchDataset.load(root)
    assert dataset.labelled.all()
    with pytest.warns(UserWarning, match="leaks"):
        at_random = random_split(dataset, 0.5, allow_leakage=True)
    for split in (leave_wells_out(dataset, [1]), well_folds(dataset, 2)[0], at_random):
        assert sum(map(len, split)) == 20
        assert "test" not in split[0].splits + split[1].splits


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ([4], r"no labelled patch of well 4; the wells are \[1, 2, 13\]"),
        ([], "leaves one side empty"),
        ([1, 2, 13], "leaves one side empty"),
    ],
)
def test_wells_that_cannot_be_left_out(root, left_out, words):
    with pytest.raises(DatasetError, match=words):
        leave_wells_out(PatchDataset.load(root), left_out)


def many_wells(counts: list[int]) -> PatchDataset:
    of = torch.tensor([well for well, count in enumerate(counts, 1) for _ in range(count)])
    total = len(of)
    planes = torch.zeros(total, 2, 2)
    return PatchDataset(
        planes, planes.byte(), torch.ones(total).bool(), of, torch.arange(total), ("train",) * total
    )


def test_folds_hold_whole_wells_and_about_as_many_patches():
    folds = well_folds(many_wells([90, 10, 10, 30, 50, 40, 20, 50]), 3, seed=1)
    held_out = [wells(validation) for _, validation in folds]
    assert sorted(well for fold in held_out for well in fold) == list(range(1, 9))
    for train, validation in folds:
        assert not wells(train) & wells(validation)
        assert len(train) + len(validation) == 300
    assert sorted(len(validation) for _, validation in folds) == [100, 100, 100]


def test_folds_depend_on_the_seed_alone():
    dataset = many_wells([5] * 8)
    first, again, other = (
        [wells(v) for _, v in well_folds(dataset, 4, seed)] for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("k", [0, 1, 4])
def test_folds_that_cannot_be_cut(k):
    with pytest.raises(DatasetError, match=rf"the 3 wells \[1, 2, 3\] into {k} folds"):
        well_folds(many_wells([2, 2, 2]), k)


def test_a_random_split_must_be_allowed_and_warns(root):
    dataset = PatchDataset.load(root)
    with pytest.raises(DatasetError, match="31% have their twin and 96% a neighbour"):
        random_split(dataset, 0.25)
    with pytest.warns(UserWarning, match="31% have their twin"):
        train, validation = random_split(dataset, 0.25, 3, allow_leakage=True)
    assert (len(train), len(validation)) == (15, 5)
    assert sorted(train.names + validation.names) == sorted(dataset.names[:20])
    with pytest.warns(UserWarning, match="leaks"):
        assert random_split(dataset, 0.25, 3, allow_leakage=True)[1].names == validation.names


@pytest.mark.parametrize("fraction", [0, 0.01, 0.99, 1, 20, float("nan")])
def test_a_fraction_that_leaves_a_side_empty(root, fraction):
    with pytest.raises(DatasetError, match="none or all"):
        random_split(PatchDataset.load(root), fraction, allow_leakage=True)


# Real data ---------------------------------------------------------------------------------------


def test_what_becomes_of_the_damaged_real_patches(real):
    dataset = PatchDataset.load(real / "patches", cache=False)
    assert [(rejection.name, rejection.kind) for rejection in dataset.rejections] == [
        ("test/images/well_15_patch_202.npy", "mostly null"),
        ("test/images/well_3_patch_459.npy", "null everywhere"),
        ("test/images/well_3_patch_460.npy", "null everywhere"),
    ]
    nulls = torch.isnan(dataset.images).sum((1, 2)).tolist()
    kept = {name: count for name, count in zip(dataset.names, nulls, strict=True) if count}
    assert kept == {
        "validation/images/well_2_patch_110.npy": 1,
        "validation/images/well_2_patch_116.npy": 1,
        "validation/images/well_2_patch_117.npy": 2,
        "test/images/well_1_patch_5.npy": 2,
        "test/images/well_1_patch_9.npy": 14,
        "test/images/well_1_patch_14.npy": 5,
        "test/images/well_1_patch_18.npy": 1,
        "test/images/well_1_patch_23.npy": 36,
        "test/images/well_2_patch_0.npy": 145,
        "test/images/well_2_patch_1.npy": 6,
        "test/images/well_2_patch_10.npy": 34,
        "test/images/well_3_patch_24.npy": 35,
        "test/images/well_3_patch_98.npy": 78,
        "test/images/well_5_patch_1935.npy": 382,
        "test/images/well_15_patch_201.npy": 11,
    }


def test_the_real_labelled_patches(real):
    dataset = PatchDataset.load(real / "patches", cache=False)
    assert repr(dataset) == "PatchDataset(83 patches of 36x36: 53 validation, 30 test)"
    labelled = dataset.select(dataset.labelled)
    assert set(labelled.splits) == {"validation"}
    counts = {well: int((labelled.wells == well).sum()) for well in wells(labelled)}
    assert counts == {1: 1, 2: 25, 3: 3, 7: 2, 13: 22}
    for image, mask, name in zip(labelled.images, labelled.masks, labelled.names, strict=True):
        stored = np.load(real / "patches" / name)
        np.testing.assert_array_equal(image.nan_to_num(-999.25), stored)
        truth = np.load(real / "patches" / name.replace("images", "labels"))
        np.testing.assert_array_equal(mask, truth)

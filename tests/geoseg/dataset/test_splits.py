"""Splits of a data set into training and validation."""

import numpy as np
import pytest
import torch

from geoseg.dataset import (
    DatasetError,
    PatchDataset,
    leave_wells_out,
    random_split,
    split_by_folder,
    split_into_folds,
)
from tests.helpers.patch_folders import write_patch


def get_wells(dataset: PatchDataset) -> set[int]:
    return set(dataset.wells.tolist())


def test_split_by_folder(root):
    train, validation = split_by_folder(PatchDataset.load(root))
    assert (len(train), len(validation)) == (15, 5)
    assert set(train.splits) == {"train"}
    assert set(validation.splits) == {"validation"}
    with pytest.raises(DatasetError, match=r"no labelled patch in validation/.*\[1, 2\]"):
        split_by_folder(PatchDataset.load(root, ["train", "test"]))


def test_leave_wells_out(root):
    train, validation = leave_wells_out(PatchDataset.load(root), [2])
    assert (get_wells(train), get_wells(validation)) == ({1, 13}, {2})
    assert train.labelled.all()


def test_wells_of_the_test_folder_are_in_no_split(root):
    for index in range(2):
        write_patch(root, "test", 1, index, mask=np.zeros((4, 6)))
    dataset = PatchDataset.load(root)
    assert dataset.labelled.all()
    with pytest.warns(UserWarning, match="leaks"):
        at_random = random_split(dataset, 0.5, allow_leakage=True)
    for split in (leave_wells_out(dataset, [1]), split_into_folds(dataset, 2)[0], at_random):
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
def test_unknown_or_all_wells_left_out_is_an_error(root, left_out, words):
    with pytest.raises(DatasetError, match=words):
        leave_wells_out(PatchDataset.load(root), left_out)


def make_wells(counts: list[int]) -> PatchDataset:
    numbers = torch.tensor([well for well, count in enumerate(counts, 1) for _ in range(count)])
    total = len(numbers)
    planes = torch.zeros(total, 2, 2)
    return PatchDataset(
        planes,
        planes.byte(),
        torch.ones(total).bool(),
        numbers,
        torch.arange(total),
        ("train",) * total,
    )


def test_folds_hold_whole_wells_and_similar_numbers_of_patches():
    folds = split_into_folds(make_wells([90, 10, 10, 30, 50, 40, 20, 50]), 3, seed=1)
    held_out = [get_wells(validation) for _, validation in folds]
    assert sorted(well for fold in held_out for well in fold) == list(range(1, 9))
    for train, validation in folds:
        assert not get_wells(train) & get_wells(validation)
        assert len(train) + len(validation) == 300
    assert sorted(len(validation) for _, validation in folds) == [100, 100, 100]


def test_folds_depend_on_the_seed():
    dataset = make_wells([5] * 8)
    first, again, other = (
        [get_wells(v) for _, v in split_into_folds(dataset, 4, seed)] for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("k", [0, 1, 4])
def test_impossible_number_of_folds_is_an_error(k):
    with pytest.raises(DatasetError, match=rf"the 3 wells \[1, 2, 3\] into {k} folds"):
        split_into_folds(make_wells([2, 2, 2]), k)


def test_random_split_needs_allow_leakage_and_warns(root):
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
def test_fraction_that_leaves_a_side_empty_is_an_error(root, fraction):
    with pytest.raises(DatasetError, match="is none or all"):
        random_split(PatchDataset.load(root), fraction, allow_leakage=True)

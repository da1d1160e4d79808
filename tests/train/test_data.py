"""The training and validation sets of a run: labels of a csv, and what was assumed."""

import shutil

import numpy as np
import pytest
from rich.console import Console

from geoseg.dataset import PatchDataset
from geoseg.dataset.challenge import write_masks
from tests.helpers.synthetic_data import make_data
from train.data import load_data
from train.options import parse_options


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data", 3, 24)


def load(*options):
    """Return the only fold's data and what was printed."""
    console = Console(record=True, width=200)
    (loaded,) = load_data(parse_options(["-e", "3", *map(str, options)]), console)
    return loaded, console.export_text()


def test_labels_of_a_csv_equal_those_of_the_folder(data, tmp_path):
    expected, _ = load("--data", data)
    dataset = PatchDataset.load(data, cache=False)
    names = [name.split("/")[-1] for name in dataset.names]
    write_masks(tmp_path / "y_train.csv", dict(zip(names, dataset.masks.numpy(), strict=True)))
    for folder in data.glob("*/labels"):
        shutil.rmtree(folder)
    found, _ = load("--data", data, "--labels", tmp_path / "y_train.csv")
    for side in ("train", "validation"):
        assert getattr(found, side).masks.equal(getattr(expected, side).masks)
        assert getattr(found, side).labelled.all()
    assert "labels of y_train.csv" in found.description


def test_what_was_assumed_is_printed_and_can_be_overruled(data):
    expected, printed = load("--data", data)
    assert "Unit:" not in printed
    for path in data.glob("*/images/*.npy"):
        np.save(path, np.load(path) * np.float32(25.4))
    for options in ((), ("--unit", "mm")):
        found, printed = load("--data", data, *options)
        assert "train/images: Unit: " in printed
        assert np.allclose(found.train.images, expected.train.images, atol=1e-6, equal_nan=True)
    found, printed = load("--data", data, "--unit", "inch")
    assert np.allclose(found.train.images, expected.train.images * 25.4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--fresh", "64"], "omit --data and --labels"), ([], "--labels needs a folder of images")],
)
def test_labels_without_a_folder_are_a_mistake(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        load("--labels", "y.csv", *options)

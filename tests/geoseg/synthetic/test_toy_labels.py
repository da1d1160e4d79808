"""Toy labels are perfect, seeded, may cross the seam and are learnt at once."""

import pytest
import torch

from geoseg import read_card
from geoseg.normalisation import Normalisation
from geoseg.synthetic import make_synthetic_dataset
from geoseg.synthetic.toy_labels import MODES, add_toy_labels, stamp_toy_labels
from tests.helpers.synthetic_data import CPU, make_data
from train.__main__ import main
from train.data import TrainingData, with_toy_labels
from train.experiments import Experiment
from train.loop import Trainer
from train.sampling import prepare


@pytest.fixture(scope="module")
def dataset():
    return make_synthetic_dataset(4, 120, seed=5)


@pytest.fixture(scope="module")
def images(dataset):
    images = dataset.images.nan_to_num(0.01)
    images[0, 4] = torch.nan
    return images


@pytest.mark.parametrize("mode", MODES)
def test_letters_change_only_the_pixels_of_their_label(images, mode):
    stamped, masks = stamp_toy_labels(images, mode, seed=3)
    assert masks.dtype == torch.uint8
    assert stamped.shape == masks.shape == images.shape
    assert torch.equal(stamped.isnan(), images.isnan())
    assert not masks[0, 4].any()
    on = masks == 1
    off = ~on & images.isfinite()
    if mode == "trivial":
        assert (stamped[on] == stamped[on][0]).all()
        assert (stamped[off] == 0).all()
    else:
        expected = images - 0.1 if mode == "easy" else images * 4
        assert torch.equal(stamped[on], expected[on])
        assert torch.equal(stamped[off], images[off])


def test_every_patch_has_different_letters(images):
    masks = stamp_toy_labels(images, "easy", seed=3)[1].flatten(1)
    assert (masks[1:].sum(1) >= 11).all()  # the smallest number of dots of a letter
    assert masks.float().mean() < 0.5
    assert len(masks.unique(dim=0)) == len(masks)


def test_same_seed_gives_same_letters(images):
    first, again, other = (stamp_toy_labels(images, "easy", seed=s)[1] for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_letters_cross_the_seam_but_not_the_first_and_last_row():
    """Check that all columns are equally likely and that no dot is lost at the seam."""
    masks = stamp_toy_labels(torch.zeros(4000, 36, 36), "easy")[1].double()
    by_column = masks.mean((0, 1))
    assert by_column.std() < 0.05 * by_column.mean()
    one = stamp_toy_labels(torch.zeros(500, 7, 5), "easy")[1]  # all letters fill the patch
    assert one.any(2).all()
    assert (one.flatten(1).sum(1) >= 11).all()


def test_unknown_mode_and_small_patch_are_errors(images):
    with pytest.raises(ValueError, match="choose one of trivial, easy, medium"):
        stamp_toy_labels(images, "hard")
    with pytest.raises(ValueError, match=r"6 rows and 36 columns hold no letter; .* 7 rows and 5 "):
        stamp_toy_labels(torch.zeros(1, 6, 36), "easy")


def test_training_and_validation_get_different_letters(dataset):
    data = with_toy_labels(TrainingData(dataset, dataset, "pipes"), "easy")
    assert "easy toys" in data.description
    assert not torch.equal(data.train.masks, data.validation.masks)
    assert torch.equal(data.train.wells, dataset.wells)


def test_trivial_letters_are_learnt_in_three_epochs(dataset):
    train, validation = (
        prepare(add_toy_labels(dataset, "trivial", seed), Normalisation(), CPU) for seed in (0, 1)
    )
    tiny = Experiment(
        0, "tiny", "vanilla", {"widths": (4,)}, 3, 8, learning_rate=1e-2, loss="bce_weighted"
    )
    trainer = Trainer(tiny, train, validation)
    epochs = [trainer.run_epoch(lambda _: True) for _ in range(3)]
    assert epochs[-1].metrics["iou"] > 0.98


def test_toy_experiment_trains_on_toy_labels(tmp_path):
    data = make_data(tmp_path / "data", 5, 60)
    command = ["-e", "621", "-nowb", "--cpu", "--epochs", "1", "--data", str(data)]
    assert main([*command, "-o", str(tmp_path)]) == 0
    card = read_card(tmp_path / "621-unet-toy-trivial" / "last.safetensors")
    assert card.data.endswith(", with trivial toys for labels")

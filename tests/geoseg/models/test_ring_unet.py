"""The ring U-Net is equivariant to shifts and independent of gain and sampling."""

import numpy as np
import pytest
import torch

from benchmarks.server import ROOT
from geoseg import (
    Normalisation,
    PatchDataset,
    Segmenter,
    create_model,
    find_checkpoints,
    save_checkpoint,
)

MASKED = Normalisation(mask=True)


def make_patches():
    """Return blank, constant, impulse and noisy patches, with nulls: (N, Z, A)."""
    patches = np.zeros((7, 36, 36), np.float32)
    patches[1] = 0.02
    patches[2, 17, 5] = 0.1
    patches[3, 0, 35] = -0.3
    patches[4] = np.random.default_rng(0).normal(0, 0.01, (36, 36))
    patches[4, :, 8] -= 0.05
    patches[5] = patches[4]
    patches[5, 10:14] = np.nan
    patches[5, 20:30, 30:] = np.nan
    patches[6, :, ::2] = 0.01
    return patches


def make_segmenter(tmp_path, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = create_model("ring_unet", widths=(8, 12, 16))
    path = tmp_path / "ring.safetensors"
    save_checkpoint(path, model, normalisation=MASKED, threshold=0.5)
    return Segmenter([path])


def assert_equivariant(segment, patches, name, threshold):
    plain = segment.probabilities(patches)[name]
    for shift in range(36):
        shifted = segment.probabilities(np.roll(patches, shift, -1))[name]
        back = np.roll(shifted, -shift, -1)
        np.testing.assert_allclose(back, plain, atol=1e-5)
        assert np.array_equal(back > threshold, plain > threshold)


def test_every_shift_of_synthetic_patches_shifts_the_mask(tmp_path):
    segment = make_segmenter(tmp_path)
    patches = make_patches()
    plain = segment.probabilities(patches)["ring"]
    median = float(np.nanmedian(plain))  # a threshold that splits the pixels in two
    assert_equivariant(segment, patches[4:6], "ring", median)
    assert_equivariant(segment, patches, "ring", 0.5)


@pytest.mark.parametrize("count", [4, pytest.param(None, marks=pytest.mark.long)])
def test_every_shift_of_real_patches_shifts_the_mask(real, count):
    shipped = [p for p in find_checkpoints(ROOT / "checkpoints") if "ring-unet" in p.name]
    assert shipped
    segment = Segmenter(shipped[:1])
    dataset = PatchDataset.load(real / "patches", cache=False, progress=False)
    (name,) = segment.names
    threshold = segment.cards[name].threshold
    assert_equivariant(segment, dataset.images[:count].numpy(), name, threshold)


@pytest.mark.parametrize("gain", [0.1, 0.5, 25.4])
def test_gain_does_not_change_the_probabilities(gain, tmp_path):
    segment = make_segmenter(tmp_path)
    patches = make_patches()[4:6]
    plain = segment.probabilities(patches)["ring"]
    amplified = segment.probabilities(np.float32(gain) * patches)["ring"]
    np.testing.assert_allclose(amplified, plain, atol=1e-5)


def test_null_and_zero_give_different_probabilities(tmp_path):
    segment = make_segmenter(tmp_path)
    patch = make_patches()[4]
    null, zero = patch.copy(), patch.copy()
    null[17, 3:9], zero[17, 3:9] = np.nan, 0
    outputs = [segment.probabilities(p)["ring"] for p in (null, zero)]
    valid = np.isfinite(outputs[0])
    assert np.abs(outputs[0] - outputs[1])[valid].max() > 1e-5


def test_72_columns_equal_two_interleaved_images_of_36():
    model = create_model("ring_unet", widths=(4, 6, 8))
    even, odd = torch.randn(2, 1, 2, 20, 36, generator=torch.Generator().manual_seed(0))
    both = torch.stack((even, odd), -1).flatten(-2)
    logits = model(both)
    assert torch.allclose(logits[..., ::2], model(even), atol=1e-6)
    assert torch.allclose(logits[..., 1::2], model(odd), atol=1e-6)


def test_checkpoint_with_other_channels_than_its_normalisation_is_refused(tmp_path):
    model = create_model("ring_unet", widths=(4,))
    path = tmp_path / "unmasked.safetensors"
    save_checkpoint(path, model, normalisation=Normalisation())
    message = "takes 2 channels and gives 1; its normalisation needs 1 and 1"
    with pytest.raises(ValueError, match=message):
        Segmenter([path]).preload()

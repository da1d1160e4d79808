"""The fast path answers as the plain model, turns with the pipe, gives way where it must."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from benchmarks.server import ROOT
from geoseg import Segmenter, create_model, find_checkpoints, load_checkpoint, read_patch
from geoseg.inference import Runner, native_precision, record_forward
from geoseg.synthetic import synthetic_dataset
from tests.geoseg.models.test_models import SMALL
from tests.helpers.synthetic_data import make_checkpoint

SHIPPED = find_checkpoints(ROOT / "checkpoints")
CPU = torch.device("cpu")
# Either way of computing is tried wherever the tests run; without native bf16 it is only slow.
PRECISIONS = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 0.15}


@pytest.fixture(scope="module")
def patches():
    """Synthetic patches with grooves, one with nulls."""
    dataset = synthetic_dataset(4, 160, seed=8)
    grooved = dataset.masks.flatten(1).sum(1).argsort(descending=True)[:24]
    images = dataset.images[grooved].numpy().copy()
    images[0, 10:14] = np.nan
    return images


@pytest.fixture
def fast(monkeypatch):
    """Makes a fast Segmenter in a precision, whatever this processor has."""

    def make(paths, precision):
        monkeypatch.setattr("geoseg.segmenter.native_precision", lambda _: precision)
        return Segmenter(paths, "cpu", "fast")

    return make


def plain(path, patches):
    """What the model says when it runs as it was loaded."""
    model = load_checkpoint(path)
    with torch.inference_mode():
        inputs, valid = model.card.normalisation(torch.from_numpy(patches))
        return torch.where(valid, model(inputs)[:, 0].sigmoid(), torch.nan).numpy()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_masks_of_the_shipped_checkpoints_are_those_of_float32(fast, patches, path, precision):
    segmenter = fast([path], precision)
    threshold = segmenter.cards[path.stem].threshold
    expected = plain(path, patches)
    together = segmenter.probabilities(patches)[path.stem]
    alone = np.concatenate([segmenter.probabilities(p[None])[path.stem] for p in patches])
    known = ~np.isnan(expected)
    assert 0.01 < (expected > threshold).mean() < 0.5
    for found in (together, alone):
        assert np.array_equal(np.isnan(found), ~known)
        np.testing.assert_allclose(found, expected, atol=CLOSE[precision] / 3)
        assert ((found > threshold) == (expected > threshold))[known].mean() >= 0.999


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", [p for p in SHIPPED if "stacked" in p.stem or "ring" in p.stem])
def test_masks_turn_with_the_pipe(fast, patches, path, precision):
    turns_with_the_pipe(fast([path], precision), patches[:3])


@pytest.mark.parametrize("path", [p for p in SHIPPED if "stacked" in p.stem or "ring" in p.stem])
def test_masks_of_real_patches_turn_with_the_pipe(real, path):
    files = sorted((real / "patches" / "validation" / "images").glob("*.npy"))
    images = np.stack([read_patch(file) for file in files[::4]])
    turns_with_the_pipe(Segmenter([path], precision="fast"), images)


def turns_with_the_pipe(segmenter, patches):
    """In a batch and one by one, at every shift, to the last pixel."""
    (name,) = segmenter.names
    threshold = segmenter.cards[name].threshold
    still = segmenter.probabilities(patches)[name] > threshold
    alone = segmenter.segment(patches[0])[name].mask
    assert alone.any()
    for shift in range(36):
        turned = segmenter.probabilities(np.roll(patches, shift, -1))[name] > threshold
        assert np.array_equal(turned, np.roll(still, shift, -1))
        turned = segmenter.segment(np.roll(patches[0], shift, -1))[name].mask
        assert np.array_equal(turned, np.roll(alone, shift, -1))


def inputs(model, *size, seed=0):
    channels = model.arguments["in_channels"]
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed))


def small(name, arguments):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return create_model(name, **arguments).eval()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [(36, 36), (35, 37), (7, 72), (3, 3)])
@pytest.mark.parametrize(("name", "arguments"), SMALL)
def test_a_recording_answers_as_its_model(name, arguments, size, precision):
    model = small(name, arguments).to(dtype=precision, memory_format=torch.channels_last)
    with torch.inference_mode():
        forward = record_forward(model, inputs(model, *size).to(precision))
        assert forward is not None
        for seed in (1, 2):
            x = inputs(model, *size, seed=seed).to(precision, memory_format=torch.channels_last)
            torch.testing.assert_close(
                forward(x), model(x), atol=CLOSE[precision] / 10, rtol=CLOSE[precision] / 10
            )


def test_only_single_small_images_are_recorded():
    model = small("vanilla", {"widths": (4,)})
    runner = Runner(model, torch.float32)
    x = torch.zeros(1, 1, 36, 36)
    with torch.inference_mode():
        for other in (x.expand(2, -1, -1, -1), x.repeat(1, 1, 5, 1)):
            runner(other)
        assert not runner._recordings
        for height in range(1, 12):
            runner(x[..., :height, :])
    assert list(runner._recordings) == [(1, 1, height, 36) for height in range(4, 12)]
    Runner(model, torch.float32, record=False)(x)


def test_a_recording_that_cannot_be_made_or_errs_is_not_used(monkeypatch):
    model = small("unet", {"width": 4})
    x = inputs(model, 36, 36)
    expected = Runner(model, torch.float32, record=False)(x)
    monkeypatch.setattr("geoseg.inference._pack_convolutions", lambda _: lambda x: x + 1e3)
    assert record_forward(model, x) is None
    monkeypatch.delattr("geoseg.inference._pack_convolutions")
    runner = Runner(model, torch.float32)
    torch.testing.assert_close(runner(x), expected)
    assert runner._recordings[x.shape] is runner._model


def test_the_callers_model_is_left_alone():
    model = small("stacked", {"width": 4})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        Runner(model, torch.bfloat16)(inputs(model, 36, 36))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model(inputs(model, 36, 36)).dtype == torch.float32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_models_and_threads_change_nothing(fast, tmp_path, patches, precision):
    paths = [
        make_checkpoint(tmp_path / f"{i}.safetensors", name, **arguments)
        for i, (name, arguments) in enumerate(SMALL[:8:2])
        if arguments.get("in_channels", 1) == 1 and name != "ring_unet"
    ]
    segmenter = fast(paths, precision)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(segmenter.probabilities, [patches[1]] * 16))
    for path in paths:
        alone = fast([path], precision).probabilities(patches[1])[path.stem]
        for answer in answers:
            np.testing.assert_array_equal(answer[path.stem], alone)


def test_exact_is_float32_whatever_the_processor_has(fast, tmp_path, patches):
    path = make_checkpoint(tmp_path / "a.safetensors", "unet", width=4)
    fast([path], torch.bfloat16)
    for image in (patches, patches[:1]):
        found = Segmenter([path], "cpu").probabilities(image)["a"]
        np.testing.assert_allclose(found, plain(path, image), atol=1e-6)


def test_the_precision_is_what_the_processor_has(monkeypatch):
    for features, expected in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda f=features: f, raising=False)
        assert native_precision(CPU) == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert native_precision(CPU) == torch.float32


def test_an_unknown_precision(tmp_path):
    with pytest.raises(ValueError, match="choose exact or fast"):
        Segmenter([tmp_path / "a.safetensors"], precision="fp8")

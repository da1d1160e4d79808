"""Fast inference: the masks of float32, rolls of the pipe, and recordings that fail."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from benchmarks.server import ROOT
from geoseg import Segmenter, create_model, find_checkpoints, inference, load_checkpoint, read_patch
from geoseg.inference import ModelRunner, native_precision, record_forward
from geoseg.synthetic import make_synthetic_dataset
from tests.geoseg.models.test_models import SMALL
from tests.helpers.synthetic_data import make_checkpoint

SHIPPED = find_checkpoints(ROOT / "checkpoints")
CPU = torch.device("cpu")
# Both precisions run on every machine; without native bf16 that one is only slower.
PRECISIONS = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 0.15}


@pytest.fixture(scope="module")
def patches():
    """Synthetic patches with grooves, one with nulls."""
    dataset = make_synthetic_dataset(4, 160, seed=8)
    grooved = dataset.masks.flatten(1).sum(1).argsort(descending=True)[:12]
    images = dataset.images[grooved].numpy().copy()
    images[0, 10:14] = np.nan
    return images


@pytest.fixture
def fast(monkeypatch):
    """Return a function that makes a fast Segmenter of any precision on any processor."""

    def make(paths, precision):
        monkeypatch.setattr("geoseg.segmenter.native_precision", lambda _: precision)
        return Segmenter(paths, "cpu", "fast")

    return make


def run_model(path, patches):
    """Return the probabilities of the model as it was loaded."""
    model = load_checkpoint(path)
    with torch.inference_mode():
        inputs, valid = model.card.normalisation(torch.from_numpy(patches))
        return torch.where(valid, model(inputs)[:, 0].sigmoid(), torch.nan).numpy()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_fast_masks_of_shipped_checkpoints_equal_those_of_float32(fast, patches, path, precision):
    segmenter = fast([path], precision)
    threshold = segmenter.cards[path.stem].threshold
    expected = run_model(path, patches)
    together = segmenter.probabilities(patches)[path.stem]
    alone = np.concatenate([segmenter.probabilities(p[None])[path.stem] for p in patches])
    valid = ~np.isnan(expected)
    assert 0.01 < (expected > threshold).mean() < 0.5
    for found in (together, alone):
        assert np.array_equal(np.isnan(found), ~valid)
        np.testing.assert_allclose(found, expected, atol=CLOSE[precision] / 3)
        assert ((found > threshold) == (expected > threshold))[valid].mean() >= 0.999


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", [p for p in SHIPPED if "stacked" in p.stem or "ring" in p.stem])
def test_masks_roll_with_the_input(fast, patches, path, precision):
    check_masks_roll_with_the_input(fast([path], precision), patches[:2])


@pytest.mark.parametrize("path", [p for p in SHIPPED if "stacked" in p.stem or "ring" in p.stem])
def test_masks_of_real_patches_roll_with_the_input(real, path):
    files = sorted((real / "patches" / "validation" / "images").glob("*.npy"))
    images = np.stack([read_patch(file) for file in files[::8]])
    check_masks_roll_with_the_input(Segmenter([path], precision="fast"), images)


def check_masks_roll_with_the_input(segmenter, patches):
    """Compare every pixel at every shift, for a batch and for a single patch."""
    (name,) = segmenter.names
    threshold = segmenter.cards[name].threshold
    masks = segmenter.probabilities(patches)[name] > threshold
    mask = segmenter.segment(patches[0])[name].mask
    assert mask.any()
    for shift in range(36):
        rolled = segmenter.probabilities(np.roll(patches, shift, -1))[name] > threshold
        assert np.array_equal(rolled, np.roll(masks, shift, -1))
        rolled = segmenter.segment(np.roll(patches[0], shift, -1))[name].mask
        assert np.array_equal(rolled, np.roll(mask, shift, -1))


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
def test_recorded_forward_equals_its_model(name, arguments, size, precision):
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
    runner = ModelRunner(model, torch.float32)
    x = torch.zeros(1, 1, 36, 36)
    with torch.inference_mode():
        for other in (x.expand(2, -1, -1, -1), x.repeat(1, 1, 5, 1)):
            runner(other)
        assert not runner._recordings
        for height in range(1, 12):
            runner(x[..., :height, :])
    assert list(runner._recordings) == [(1, 1, height, 36) for height in range(4, 12)]
    ModelRunner(model, torch.float32, record=False)(x)


def test_recording_that_fails_or_differs_is_logged_and_not_used(monkeypatch, caplog):
    inference._warn_once.cache_clear()
    model = small("unet", {"width": 4})
    x = inputs(model, 36, 36)
    expected = ModelRunner(model, torch.float32, record=False)(x)
    monkeypatch.setattr("geoseg.inference._pack_convolutions", lambda _: lambda x: x + 1e3)
    assert record_forward(model, x) is None
    assert "differs from the model by 1e+03" in caplog.text
    monkeypatch.delattr("geoseg.inference._pack_convolutions")
    runner = ModelRunner(model, torch.float32)
    torch.testing.assert_close(runner(x), expected)
    assert runner._recordings[x.shape] is runner._model
    assert "cannot be recorded (NameError: " in caplog.text
    assert record_forward(model, x) is None
    assert [entry.levelname for entry in caplog.records] == ["WARNING", "WARNING"], "once each"


def test_original_model_is_not_changed():
    model = small("stacked", {"width": 4})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        ModelRunner(model, torch.bfloat16)(inputs(model, 36, 36))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model(inputs(model, 36, 36)).dtype == torch.float32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_results_do_not_depend_on_other_models_or_threads(fast, tmp_path, patches, precision):
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


def test_exact_precision_is_float32_on_every_processor(fast, tmp_path, patches):
    path = make_checkpoint(tmp_path / "a.safetensors", "unet", width=4)
    fast([path], torch.bfloat16)
    for image in (patches, patches[:1]):
        found = Segmenter([path], "cpu").probabilities(image)["a"]
        np.testing.assert_allclose(found, run_model(path, image), atol=1e-6)


def test_native_precision_follows_the_processor(monkeypatch):
    for features, expected in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda f=features: f, raising=False)
        assert native_precision(CPU) == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert native_precision(CPU) == torch.float32


def test_unknown_precision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="choose exact or fast"):
        Segmenter([tmp_path / "a.safetensors"], precision="fp8")

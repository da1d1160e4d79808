"""The segmenter: probabilities, masks, logs, and its errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from geoseg import (
    CheckpointError,
    Normalisation,
    Segmenter,
    create_model,
    load_checkpoint,
    save_checkpoint,
)
from geoseg.measurements import Log
from geoseg.samples import read_sample
from geoseg.segmenter import choose_device
from geoseg.synthetic import synthesize
from geoseg.twins import join_twins, split_twins
from tests.helpers import ROOT


@pytest.fixture
def checkpoints(tmp_path):
    paths = []
    for number, (name, arguments) in enumerate(
        [("vanilla", {"widths": (4,)}), ("stacked", {"width": 4}), ("unet", {"width": 4})]
    ):
        with torch.random.fork_rng():
            torch.manual_seed(number)
            model = create_model(name, **arguments)
        paths.append(tmp_path / f"{number}-{name}.safetensors")
        save_checkpoint(paths[-1], model, threshold=0.4 + number / 10)
    return paths


@pytest.fixture
def patches():
    images = np.random.default_rng(0).normal(0, 0.02, (5, 36, 36)).astype(np.float32)
    images[1, 4] = np.nan
    return images


def test_probabilities_have_the_shape_and_the_nulls_of_the_batch(checkpoints, patches):
    segmenter = Segmenter(checkpoints)
    answer = segmenter.probabilities(patches)
    assert list(answer) == list(segmenter.names) == ["0-vanilla", "1-stacked", "2-unet"]
    for probability in answer.values():
        assert probability.shape == patches.shape
        assert probability.dtype == np.float32
        assert np.array_equal(np.isnan(probability), np.isnan(patches))
        assert np.nanmin(probability) > 0
        assert np.nanmax(probability) < 1


def test_probabilities_equal_those_of_the_model_run_directly(checkpoints, patches):
    model = load_checkpoint(checkpoints[2])
    inputs, valid = Normalisation()(torch.from_numpy(patches))
    expected = torch.where(valid, model(inputs)[:, 0].sigmoid(), torch.nan).detach().numpy()
    answer = Segmenter(checkpoints).probabilities(patches, ["2-unet"])
    assert list(answer) == ["2-unet"]
    np.testing.assert_allclose(answer["2-unet"], expected, atol=1e-6)


def test_single_patch_equals_its_place_in_a_batch(checkpoints, patches):
    segmenter = Segmenter(checkpoints)
    together = segmenter.probabilities(patches)
    for name, alone in segmenter.probabilities(patches[1]).items():
        np.testing.assert_allclose(alone, together[name][1], atol=1e-6)


def test_log_is_accepted_and_a_large_batch_is_split(checkpoints, monkeypatch):
    log = np.random.default_rng(1).normal(0, 0.02, (500, 72)).astype(np.float32)
    segmenter = Segmenter(checkpoints)
    assert segmenter.probabilities(log)["1-stacked"].shape == (500, 72)
    batch = log.reshape(-1, 20, 36)
    whole = segmenter.probabilities(batch)["1-stacked"]
    monkeypatch.setattr("geoseg.segmenter._PIXELS_PER_PASS", 20 * 36 * 3)
    np.testing.assert_allclose(segmenter.probabilities(batch)["1-stacked"], whole, atol=1e-6)


def test_log_of_72_columns_runs_as_twins(checkpoints):
    log = np.random.default_rng(1).normal(0, 0.02, (50, 72)).astype(np.float32)
    segmenter = Segmenter(checkpoints)
    halves = segmenter.probabilities(split_twins(log), interpret=False)
    for name, probability in segmenter.probabilities(log, interpret=False).items():
        np.testing.assert_array_equal(probability, join_twins(halves[name]))


def test_arrays_are_read_as_files_are_and_what_was_assumed_is_logged(checkpoints, caplog):
    patch = read_sample("well_3_patch_14")
    segmenter = Segmenter(checkpoints)
    expected = segmenter.probabilities(patch)
    assert not caplog.messages
    counts = np.round(patch * 1e6).astype(np.int32) + 400_000
    counts[3:5] = -999
    for name, probability in segmenter.probabilities(counts).items():
        assert np.isnan(probability[3:5]).all()
        assert np.isfinite(probability).sum() == 34 * 36
        far = np.abs(probability - expected[name])[12:]  # the null rows change what is near them
        assert np.median(far) < 0.01
    assert any("-999" in message for message in caplog.messages)
    assert any("mean" in message for message in caplog.messages)


def test_masked_values_are_nulls_and_other_kinds_are_refused(checkpoints, patches):
    segmenter = Segmenter(checkpoints[:1])
    (name,) = segmenter.names
    hidden = np.zeros(patches[0].shape, bool)
    hidden[5:8] = True
    masked = np.ma.masked_array(np.where(hidden, 7.0, patches[0]), hidden)
    found = segmenter.probabilities(masked)[name]
    nulls = np.where(hidden, np.nan, patches[0]).astype(np.float32)
    np.testing.assert_array_equal(found, segmenter.probabilities(nulls)[name])
    for dtype in (object, np.complex64):
        with pytest.raises(TypeError, match="must be real numbers"):
            segmenter.probabilities(patches[0].astype(dtype))


def test_a_log_gives_what_its_image_gives(checkpoints):
    patch = read_sample("well_3_patch_14")
    segmenter = Segmenter(checkpoints)
    for name, probability in segmenter.probabilities(Log(patch)).items():
        np.testing.assert_array_equal(probability, segmenter.probabilities(patch)[name])


def test_windows_of_a_tall_log_give_what_one_pass_gives(monkeypatch):
    images, _ = synthesize(wells=1, rows=1500, seed=2)
    log = images[0].numpy()
    segmenter = Segmenter([ROOT / "checkpoints" / "3000-ring-unet.safetensors"])
    (whole,) = segmenter.probabilities(log, interpret=False).values()
    for rows in (320, 576, 992):
        monkeypatch.setattr("geoseg.segmenter._WINDOW_ROWS", rows)
        (found,) = segmenter.probabilities(log, interpret=False).values()
        np.testing.assert_allclose(found, whole, atol=1e-6)


def test_segment_applies_the_threshold_of_each_checkpoint(checkpoints, patches):
    segmenter = Segmenter(checkpoints)
    for name, (probability, mask, milliseconds) in segmenter.segment(patches[1]).items():
        threshold = segmenter.cards[name].threshold
        assert np.array_equal(mask, np.nan_to_num(probability) > threshold)
        assert mask.dtype == np.uint8
        assert not mask[4].any()
        assert milliseconds > 0


def test_mask_of_stacked_rolls_with_its_input(checkpoints, patches):
    segmenter = Segmenter(checkpoints)
    mask = segmenter.segment(patches[1])["1-stacked"].mask
    assert 0 < mask.mean() < 1
    for shift in range(36):
        rolled = segmenter.segment(np.roll(patches[1], shift, 1))["1-stacked"].mask
        assert np.array_equal(rolled, np.roll(mask, shift, 1))


def test_patch_of_nulls_has_only_nan_probabilities(checkpoints):
    answer = Segmenter(checkpoints).probabilities(np.full((36, 36), np.nan, np.float32))
    assert all(np.isnan(p).all() for p in answer.values())


def test_file_replaced_before_loading_is_used_with_its_new_card(checkpoints, patches):
    segmenter = Segmenter(checkpoints)
    model = create_model("stacked", width=4)
    save_checkpoint(checkpoints[1], model, normalisation=Normalisation(0.5, False), threshold=0.9)
    expected = Segmenter(checkpoints[1:2]).probabilities(patches)["1-stacked"]
    np.testing.assert_array_equal(segmenter.probabilities(patches)["1-stacked"], expected)
    assert segmenter.cards["1-stacked"].threshold == 0.9


@pytest.mark.parametrize("channels", [{"in_channels": 2}, {"out_channels": 3}])
def test_model_with_other_channel_counts_is_refused(tmp_path, patches, channels):
    save_checkpoint(tmp_path / "odd.safetensors", create_model("vanilla", widths=(4,), **channels))
    with pytest.raises(CheckpointError, match=r"odd\.safetensors: takes \d channels and gives \d"):
        Segmenter([tmp_path / "odd.safetensors"]).probabilities(patches)


def test_image_above_the_pixel_limit_is_refused(checkpoints, monkeypatch):
    monkeypatch.setattr("geoseg.segmenter.MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="cut it along depth"):
        Segmenter(checkpoints).probabilities(np.zeros((36, 36), np.float32))


def test_parameters_are_counted_per_model(checkpoints):
    expected = {c.stem: load_checkpoint(c).count_parameters() for c in checkpoints}
    assert Segmenter(checkpoints).parameters == expected


def test_input_array_is_not_changed(checkpoints, patches):
    before = patches.copy()
    patches.flags.writeable = False
    Segmenter(checkpoints).probabilities(patches)
    np.testing.assert_array_equal(patches, before)


def test_threads_get_equal_results(checkpoints, patches):
    segmenter = Segmenter(checkpoints)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(segmenter.probabilities, [patches] * 16))
    for answer in answers:
        for name, probability in answer.items():
            np.testing.assert_array_equal(probability, answers[0][name])


def test_wrong_arguments_are_refused_with_the_remedy(checkpoints, tmp_path):
    with pytest.raises(ValueError, match="no checkpoint given"):
        Segmenter([])
    with pytest.raises(CheckpointError, match="no such file"):
        Segmenter([tmp_path / "none.safetensors"])
    with pytest.raises(CheckpointError, match="two checkpoints are named '0-vanilla'"):
        Segmenter([checkpoints[0], checkpoints[0]])
    segmenter = Segmenter(checkpoints)
    with pytest.raises(KeyError, match="there are 0-vanilla, 1-stacked, 2-unet"):
        segmenter.probabilities(np.zeros((36, 36)), ["resnet"])
    for shape in [(36,), (1, 1, 36, 36), (0, 36, 36), (36, 0)]:
        with pytest.raises(ValueError, match="must be"):
            segmenter.probabilities(np.zeros(shape))


def test_unknown_or_missing_devices_are_refused():
    assert choose_device("cpu").type == "cpu"
    for name in ("abacus", "meta", "mps", "cpu:7", "cuda:-1", ""):
        with pytest.raises(ValueError, match="choose auto, cpu or cuda"):
            choose_device(name)
    with pytest.raises(ValueError, match="no such GPU"):
        choose_device("cuda:99")


@pytest.mark.parametrize("has_gpu", [True, False])
def test_auto_is_the_gpu_if_there_is_one(has_gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(has_gpu))
    assert choose_device().type == ("cuda" if has_gpu else "cpu")

"""Checkpoints: a saved model loads unchanged, and a damaged file is refused with its fault."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from geoseg import (
    MODELS,
    CheckpointError,
    Normalisation,
    Quantisation,
    create_model,
    find_checkpoints,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from geoseg.checkpoint import checkpoint_name


@pytest.fixture
def path(tmp_path):
    model = create_model("stacked", width=4, layers=4, residual=True)
    save_checkpoint(
        tmp_path / "7-small.safetensors",
        model,
        normalisation=Normalisation(scale=0.02, compress=False),
        threshold=0.35,
        experiment={"id": 7, "name": "small"},
        data="nothing",
        metrics={"validation": {"iou": 0.5}},
    )
    return tmp_path / "7-small.safetensors"


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def rewrite(path, weights=None, **changes):
    about = {k: v for k, v in {**metadata(path), **changes}.items() if v is not None}
    save_file(load_file(path) if weights is None else weights, path, about)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vanilla", {"widths": (3, 5)}),
        ("stacked", {"width": 4}),
        ("unet", {"width": 4}),
        ("flexible_unet", {"width": 2}),
        ("micro", {}),
    ],
)
def test_saved_model_loads_unchanged(tmp_path, name, arguments):
    model = create_model(name, in_channels=2, out_channels=3, **arguments).eval()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model)
    again = load_checkpoint(path)
    image = torch.randn(1, 2, 9, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(image), model(image))
    assert not again.training
    assert again.count_parameters() == model.count_parameters()
    assert all(not p.is_meta for p in again.parameters())


def test_card_has_everything_that_was_saved(path):
    card = load_checkpoint(path).card
    assert card == read_card(path)
    assert card.architecture == "stacked"
    assert card.arguments["residual"] is True
    assert card.normalisation == Normalisation(scale=0.02, compress=False)
    assert card.threshold == 0.35
    assert card.experiment == {"id": 7, "name": "small"}
    assert card.data == "nothing"
    assert card.metrics == {"validation": {"iou": 0.5}}


def test_metadata_has_exactly_the_documented_keys(path):
    about = metadata(path)
    assert set(about) == {
        *("format", "architecture", "arguments", "normalisation", "threshold"),
        *("experiment", "data", "metrics", "version"),
    }
    assert about["format"] == "pt"
    assert json.loads(about["arguments"])["width"] == 4


def test_save_writes_one_file(path):
    assert os.listdir(path.parent) == [path.name]


def test_failed_save_keeps_the_old_file(path):
    before = path.read_bytes()
    broken = create_model("stacked", width=4)
    with torch.no_grad():
        broken.layers[0].azimuth.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"layers\.0\.azimuth\.weight.*NaN"):
        save_checkpoint(path, broken)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_failed_quantised_save_keeps_the_old_file(path, value):
    before = path.read_bytes()
    broken = create_model("stacked", width=4)
    with torch.no_grad():
        broken.layers[0].azimuth.weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=r"layers\.0\.azimuth\.weight.*NaN"):
        save_checkpoint(path, broken, quantisation=Quantisation(8))
    assert path.read_bytes() == before


def damage_missing(path):
    path.unlink()


def damage_truncated(path):
    path.write_bytes(path.read_bytes()[:-10])


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def damage_empty(path):
    path.write_bytes(b"")


def damage_foreign(path):
    save_file({"weight": torch.zeros(2)}, path)


def damage_missing_weight(path):
    weights = load_file(path)
    del weights["layers.0.depth.bias"]
    rewrite(path, weights)


def damage_extra_weight(path):
    rewrite(path, {**load_file(path), "extra": torch.zeros(1)})


def damage_shape(path):
    rewrite(path, {**load_file(path), "layers.0.depth.bias": torch.zeros(5)})


def damage_dtype(path):
    rewrite(path, {**load_file(path), "layers.0.depth.bias": torch.zeros(4).short()})


def damage_value(path):
    rewrite(path, {**load_file(path), "layers.0.depth.bias": torch.full((4,), torch.inf)})


def damage_architecture(path):
    rewrite(path, architecture="resnet")


def damage_arguments(path):
    rewrite(path, arguments='{"girth": 3}')


def damage_huge_argument(path):
    rewrite(path, arguments='{"width": 1000000000000}')


def damage_nesting(path):
    rewrite(path, metrics="[" * 100_000)


def damage_scale(path):
    rewrite(path, normalisation='{"scale": Infinity, "compress": true}')


def damage_json(path):
    rewrite(path, arguments="{")


def damage_normalisation(path):
    rewrite(path, normalisation='{"mean": 0}')


def damage_version(path):
    rewrite(path, version="99")


def damage_threshold(path):
    rewrite(path, threshold="high")


def damage_threshold_range(path):
    rewrite(path, threshold="nan")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_missing, "no such file"),
        (damage_truncated, "not a whole safetensors file"),
        (damage_header, "not a whole safetensors file"),
        (damage_empty, "is empty"),
        (damage_foreign, "'version' is missing"),
        (damage_missing_weight, r"lacks weight 'layers\.0\.depth\.bias'"),
        (damage_extra_weight, "unexpected weight 'extra'"),
        (damage_shape, r"is torch\.float32 \(5,\), the architecture needs"),
        (damage_dtype, r"is torch\.int16"),
        (damage_value, "NaN or infinity"),
        (damage_architecture, "unknown architecture 'resnet'"),
        (damage_arguments, "girth"),
        (damage_huge_argument, "but the file holds"),
        (damage_nesting, "metadata cannot be read"),
        (damage_scale, "scale is inf"),
        (damage_json, "metadata cannot be read"),
        (damage_normalisation, "metadata cannot be read"),
        (damage_version, "version '99'"),
        (damage_threshold, "metadata cannot be read"),
        (damage_threshold_range, "threshold is nan"),
    ],
)
def test_damaged_file_is_refused_with_its_fault(path, damage, words):
    damage(path)
    with pytest.raises(CheckpointError, match=rf"7-small\.safetensors: .*{words}"):
        load_checkpoint(path)


ALL = [Quantisation(bits) for bits in (16, 8, 4)]
WEIGHT = "layers.0.depth.weight"


def quantised(path, quantisation):
    save_checkpoint(path, load_checkpoint(path), quantisation=quantisation)
    return path


@pytest.mark.parametrize("name", [cls.name for cls in MODELS])
@pytest.mark.parametrize("quantisation", ALL, ids=lambda q: f"{q.bits}")
def test_quantised_model_is_float32_and_near_the_full_one(tmp_path, name, quantisation):
    model = create_model(name).eval()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    full, path = tmp_path / "full.safetensors", tmp_path / "small.safetensors"
    save_checkpoint(full, model)
    save_checkpoint(path, model, quantisation=quantisation)
    again = load_checkpoint(path)
    assert again.card == read_card(path)
    assert again.card.quantisation == quantisation
    for key, value in again.state_dict().items():
        assert value.dtype == torch.float32
        assert model.state_dict()[key].equal(weights[key]), "the model itself was rounded"
        peak = weights[key].abs().max()
        bound = peak * (0.5 / quantisation.max_integer + 2**-23) if value.ndim > 1 else 0.0
        assert (value - weights[key]).abs().max() <= bound
    # Scales, biases and the header are what is left beside the integers.
    assert path.stat().st_size < full.stat().st_size * quantisation.bits / 32 + 20_000


def test_metadata_of_a_quantised_checkpoint_names_bits_and_channels(path):
    quantised(path, Quantisation(8))
    assert metadata(path)["quantisation"] == '{"bits": 8, "per": "channel"}'
    assert load_checkpoint(path).card.quantisation == Quantisation(8)


@pytest.mark.parametrize("quantisation", ALL, ids=lambda q: f"{q.bits}")
def test_saving_a_quantised_model_again_changes_no_bit(path, quantisation):
    before = load_file(quantised(path, quantisation))
    after = load_file(quantised(path, load_checkpoint(path).card.quantisation))
    assert before.keys() == after.keys()
    assert all(after[name].equal(value) for name, value in before.items())


@pytest.mark.parametrize("quantisation", ALL, ids=lambda q: f"{q.bits}")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.nan, "a scale of weight .* is not above 0"),
        (torch.inf, "NaN or infinity"),
        (0.0, "a scale of weight .* is not above 0"),
        (-1.0, "a scale of weight .* is not above 0"),
        (3e38, "NaN or infinity"),  # times an integer
    ],
)
def test_damaged_scale_is_refused(path, quantisation, value, words):
    weights = load_file(quantised(path, quantisation))
    weights[f"{WEIGHT}.scale"][-1] = value
    rewrite(path, weights)
    with pytest.raises(CheckpointError, match=rf"7-small\.safetensors: .*{words}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("bits", "changes", "words"),
    [
        (8, {f"{WEIGHT}.scale": None}, r"lacks weight 'layers\.0\.depth\.weight\.scale'"),
        (8, {f"{WEIGHT}.scale": torch.ones(1)}, r"\(1,\), the architecture needs .*\(4,\)"),
        (8, {f"{WEIGHT}.scale": torch.ones(4).short()}, r"is torch\.int16"),
        (8, {"layers.0.depth.bias.scale": torch.ones(4)}, "unexpected weight"),
        (8, {WEIGHT: torch.zeros(4, 4, 5, 1)}, r"is torch\.float32 .* needs torch\.int8"),
        (8, {WEIGHT: torch.zeros(4, 4, 5, 1).short()}, r"is torch\.int16"),
        (8, {WEIGHT: torch.zeros(80).to(torch.int8)}, r"\(80,\), the .*\(4, 4, 5, 1\)"),
        (4, {WEIGHT: torch.zeros(39).to(torch.uint8)}, r"\(39,\), the .*\(40,\)"),
        (4, {WEIGHT: torch.zeros(40).to(torch.uint8)}, "holds -8, below -7"),
        (8, {WEIGHT: torch.full((4, 4, 5, 1), -128).to(torch.int8)}, "holds -128, below -127"),
        (16, {WEIGHT: torch.full((4, 4, 5, 1), -32768).short()}, "holds -32768, below -32767"),
    ],
)
def test_damaged_integers_are_refused(path, bits, changes, words):
    weights = {**load_file(quantised(path, Quantisation(bits))), **changes}
    rewrite(path, {name: value for name, value in weights.items() if value is not None})
    with pytest.raises(CheckpointError, match=rf"7-small\.safetensors: .*{words}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantisation": '{"bits": 2}'}, "bits is 2; choose one of 16, 8, 4"),
        ({"quantisation": '{"bits": [8]}'}, r"bits is \[8\]; choose"),
        ({"quantisation": '{"bits": 8, "per": "pixel"}'}, "per is 'pixel'"),
        ({"quantisation": '{"bits": 8, "per": "layer"}'}, "per is 'layer'; only one scale per"),
        ({"quantisation": "{}"}, "metadata cannot be read"),
        ({"quantisation": "8"}, "metadata cannot be read"),
        ({"quantisation": '{"bits": 16}'}, r"needs torch\.int16"),
        ({"quantisation": None}, "unexpected weight"),
        ({"arguments": '{"width": 1000000000}'}, "but the file holds"),
    ],
)
def test_wrong_quantisation_metadata_is_refused(path, changes, words):
    quantised(path, Quantisation(8))
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=rf"7-small\.safetensors: .*{words}"):
        load_checkpoint(path)


def test_checkpoints_are_listed_by_number_runs_included(tmp_path):
    for name in ("300-b-8bit", "300-b", "20-a", "extra", ".hidden", "40-run/best", "40-run/last"):
        file = tmp_path / f"{name}.safetensors"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = [checkpoint_name(path) for path in find_checkpoints(tmp_path)]
    assert found == ["20-a", "40-run", "300-b", "300-b-8bit", "extra"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("prefix", ["", "module.", "model.net.", "_orig_mod."])
def test_weights_in_another_precision_and_under_a_prefix_load_without_loss(
    path, dtype, prefix, caplog
):
    weights = {prefix + name: value.to(dtype) for name, value in load_file(path).items()}
    rewrite(path, weights)
    found = load_checkpoint(path).state_dict()
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[prefix + name].float())
    assert str(dtype).removeprefix("torch.") in caplog.text
    assert not prefix or repr(prefix) in caplog.text


def test_a_precision_that_float32_cannot_hold_is_refused(path):
    weights = {name: value.double() + 1e-12 for name, value in load_file(path).items()}
    rewrite(path, weights)
    with pytest.raises(CheckpointError, match="float32 cannot hold"):
        load_checkpoint(path)


def test_a_prefix_of_some_weights_only_is_refused(path):
    weights = load_file(path)
    first = min(weights)
    weights[f"module.{first}"] = weights.pop(first)
    rewrite(path, weights)
    with pytest.raises(CheckpointError, match=f"lacks weight '{first}'"):
        load_checkpoint(path)


def test_a_shipped_checkpoint_saved_in_half_precision_loads(cases):
    path = cases / "24-half" / "half.safetensors"
    model = load_checkpoint(path)
    for name, value in load_file(path).items():
        assert torch.equal(model.state_dict()[name], value.float())

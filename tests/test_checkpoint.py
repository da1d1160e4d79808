"""A checkpoint rebuilds its model, and a damaged one says what is wrong with it."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from geoseg import (
    CheckpointError,
    Normalisation,
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
def test_round_trip(tmp_path, name, arguments):
    model = create_model(name, in_channels=2, out_channels=3, **arguments).eval()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model)
    again = load_checkpoint(path)
    image = torch.randn(1, 2, 9, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(image), model(image))
    assert not again.training
    assert again.count_parameters() == model.count_parameters()
    assert all(not p.is_meta for p in again.parameters())


def test_the_card_says_everything(path):
    card = load_checkpoint(path).card
    assert card == read_card(path)
    assert card.architecture == "stacked"
    assert card.arguments["residual"] is True
    assert card.normalisation == Normalisation(scale=0.02, compress=False)
    assert card.threshold == 0.35
    assert card.experiment == {"id": 7, "name": "small"}
    assert card.data == "nothing"
    assert card.metrics == {"validation": {"iou": 0.5}}


def test_metadata_is_plain_strings_by_the_contract(path):
    about = metadata(path)
    assert set(about) == {
        *("format", "architecture", "arguments", "normalisation", "threshold"),
        *("experiment", "data", "metrics", "version"),
    }
    assert about["format"] == "pt"
    assert json.loads(about["arguments"])["width"] == 4


def test_nothing_but_the_checkpoint_is_written(path):
    assert os.listdir(path.parent) == [path.name]


def test_a_failed_save_keeps_the_last_good_one(path):
    before = path.read_bytes()
    broken = create_model("stacked", width=4)
    with torch.no_grad():
        broken.layers[0].azimuth.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"layers\.0\.azimuth\.weight.*NaN"):
        save_checkpoint(path, broken)
    assert path.read_bytes() == before


def damage_missing(path):
    path.unlink()


def damage_truncated(path):
    path.write_bytes(path.read_bytes()[:-10])


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def damage_empty(path):
    path.write_bytes(b"")


def damage_stranger(path):
    save_file({"weight": torch.zeros(2)}, path)


def damage_lacks(path):
    weights = load_file(path)
    del weights["layers.0.depth.bias"]
    rewrite(path, weights)


def damage_stray(path):
    rewrite(path, {**load_file(path), "extra": torch.zeros(1)})


def damage_shape(path):
    rewrite(path, {**load_file(path), "layers.0.depth.bias": torch.zeros(5)})


def damage_dtype(path):
    rewrite(path, {**load_file(path), "layers.0.depth.bias": torch.zeros(4).half()})


def damage_value(path):
    rewrite(path, {**load_file(path), "layers.0.depth.bias": torch.full((4,), torch.inf)})


def damage_architecture(path):
    rewrite(path, architecture="resnet")


def damage_arguments(path):
    rewrite(path, arguments='{"girth": 3}')


def damage_giant(path):
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
        (damage_empty, "not a whole safetensors file"),
        (damage_stranger, "'version' is missing"),
        (damage_lacks, r"lacks weight 'layers\.0\.depth\.bias'"),
        (damage_stray, "stray weight 'extra'"),
        (damage_shape, r"is torch\.float32 \(5,\), the architecture needs"),
        (damage_dtype, r"is torch\.float16"),
        (damage_value, "NaN or infinity"),
        (damage_architecture, "unknown architecture 'resnet'"),
        (damage_arguments, "girth"),
        (damage_giant, "but the file holds"),
        (damage_nesting, "metadata cannot be read"),
        (damage_scale, "scale is inf"),
        (damage_json, "metadata cannot be read"),
        (damage_normalisation, "metadata cannot be read"),
        (damage_version, "version '99'"),
        (damage_threshold, "metadata cannot be read"),
        (damage_threshold_range, "threshold is nan"),
    ],
)
def test_damage_is_named(path, damage, words):
    damage(path)
    with pytest.raises(CheckpointError, match=rf"7-small\.safetensors: .*{words}"):
        load_checkpoint(path)


def test_find_checkpoints_by_number_and_in_runs(tmp_path):
    for name in ("300-b", "20-a", "extra", ".hidden", "40-run/best", "40-run/last"):
        file = tmp_path / f"{name}.safetensors"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = [checkpoint_name(path) for path in find_checkpoints(tmp_path)]
    assert found == ["20-a", "40-run", "300-b", "extra"]

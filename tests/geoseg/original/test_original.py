"""Import of the original's published weights: golden files, and hostile or damaged ones."""

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from geoseg import CheckpointError, import_original, load_checkpoint
from geoseg.normalisation import RAW
from geoseg.original import model_of
from geoseg.original import weights as weights_module
from geoseg.original.__main__ import main
from tests.helpers.original_models import create_original

# A golden file -> the number of an experiment of just this model, if there is one.
GOLDEN = {"flexible_unet": 51, "micro": 500}


def read_golden(path):
    """Return metadata, weights under the original's names, input and logits."""
    with safe_open(path, "pt") as file:
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
        about = file.metadata()
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if "weights." in k}
    return about, weights, tensors["input"], tensors["logits"]


def make_weights():
    """Return random weights of experiment 500, under the original's names."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "conv1": (4, 1, 3, 3),
        "conv2": (4, 4, 3, 3),
        "conv3": (8, 4, 3, 3),
        "conv4": (8, 8, 3, 3),
        "up1": (8, 4, 2, 2),
        "conv5": (4, 8, 3, 3),
        "conv6": (4, 4, 3, 3),
        "conv7": (1, 4, 1, 1),
    }
    weights = OrderedDict()
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator)
        bias = shape[1] if name == "up1" else shape[0]
        weights[f"{name}.bias"] = torch.randn(bias, generator=generator)
    return weights


@pytest.fixture
def path(tmp_path):
    return tmp_path / "best_model.pt"


@pytest.mark.parametrize(("golden", "experiment"), GOLDEN.items())
def test_original_weights_give_the_original_logits(original, path, golden, experiment):
    about, weights, image, logits = read_golden(original / f"{golden}.safetensors")
    ours = create_original(about["original_class"], json.loads(about["arguments"]))
    assert ours.count_parameters() == int(about["parameters"])
    torch.save(weights, path)
    model = import_original(path, experiment)
    assert (model(image) - logits).abs().max().item() < 1e-5
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("golden", ["vanilla", "stacked", "stacked_residual", "unet"])
def test_golden_files_of_other_architectures_give_the_original_logits(
    original, path, golden, monkeypatch
):
    about, weights, image, logits = read_golden(original / f"{golden}.safetensors")
    ours = create_original(about["original_class"], json.loads(about["arguments"]))
    monkeypatch.setattr(weights_module, "model_of", lambda _: (ours.name, ours.arguments))
    torch.save(weights, path)
    assert (import_original(path, 1)(image) - logits).abs().max().item() < 1e-5


@pytest.mark.parametrize("nest", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_every_nesting_and_float_dtype_is_read(path, nest, dtype):
    weights = OrderedDict((k, v.to(dtype)) for k, v in make_weights().items())
    torch.save({nest: weights, "epoch": 3} if nest else weights, path)
    model = import_original(path, 500)
    assert torch.equal(model.rise.bias, weights["up1.bias"].float())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_command_line_writes_a_checkpoint(path, tmp_path, capsys):
    torch.save(make_weights(), path)
    output = tmp_path / "500-original.safetensors"
    assert main([str(path), "500", "-o", str(output)]) == 0
    assert "micro of 1,645 parameters" in capsys.readouterr().out
    model = load_checkpoint(output)
    card = model.card
    assert (card.architecture, card.normalisation, card.threshold) == ("micro", RAW, 0.5)
    assert (card.experiment, card.data) == ({"id": 500}, "the original project's weights")
    image = torch.randn(1, 1, 9, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(image), import_original(path, 500)(image))
    assert main([str(path), "500", "-o", str(output)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main([str(path), "500", "-o", str(output), "--force"]) == 0
    assert main([str(path), "500", "-o", "/dev/null/a"]) == 1
    assert main([str(path), "205", "-o", str(tmp_path / "b")]) == 2
    assert main([str(tmp_path / "none.pt"), "500", "-o", str(tmp_path / "b")]) == 2
    assert all(line.startswith("original: ") for line in capsys.readouterr().err.splitlines())


class TouchOnLoad:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class CommandOnLoad:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", [TouchOnLoad, CommandOnLoad])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x}])
def test_code_in_a_pickle_is_not_run(path, tmp_path, kind, wrap):
    marker = tmp_path / "marker"
    torch.save(wrap({**make_weights(), "extra": kind(marker)}), path)
    with pytest.raises(CheckpointError, match=r"best_model\.pt: damaged, or holds something other"):
        import_original(path, 500)
    path.write_bytes(pickle.dumps(kind(marker)))
    with pytest.raises(CheckpointError, match=r"not a zip archive of torch\.save"):
        import_original(path, 500)
    assert not marker.exists()
    torch.load(
        save_to_buffer(kind(marker)), weights_only=False
    )  # the file does run code if it is opened unsafely
    assert marker.exists()


def save_to_buffer(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return buffer


def save_changed(**changes):
    def damage(path):
        weights = {**make_weights(), **{k.replace("_", "."): v for k, v in changes.items()}}
        torch.save({k: v for k, v in weights.items() if v is not None}, path)

    return damage


def truncate(path):
    torch.save(make_weights(), path)
    path.write_bytes(path.read_bytes()[:-200])


def cut_storage(path):
    """Cut a storage short, so that the archive holds less than its pickle says."""
    torch.save(make_weights(), path)
    rewrite(path, lambda name, content: content[:8] if "/data/" in name else content)


def reverse_pickle(path):
    torch.save(make_weights(), path)
    rewrite(path, lambda name, content: content[::-1] if name.endswith(".pkl") else content)


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as old:
        entries = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in entries.items():
            new.writestr(name, change(name, content))


def make_zip_bomb(path):
    torch.save({**make_weights(), "x": torch.zeros(40 << 20)}, path)
    rewrite(path, lambda _, content: content, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20


def make_huge_file(path):
    with path.open("wb") as file:
        file.truncate(200 << 20)


def claim_more_values(path):
    """Save a huge expanded view of one value, which takes no space in the archive."""
    torch.save({**make_weights(), "x": torch.zeros(1).expand(1 << 20, 1 << 20)}, path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "not a zip archive"),
        (lambda path: path.write_bytes(b""), "not a zip archive"),
        (truncate, "not a zip archive"),
        (make_huge_file, "not a zip archive"),
        (cut_storage, "damaged"),
        (reverse_pickle, "damaged"),
        (make_zip_bomb, r"holds 160 MiB; .* less than 128"),
        (claim_more_values, "claims to hold more values than it does"),
        (lambda path: torch.save([1, 2], path), "holds no state_dict, but a list"),
        (lambda path: torch.save({}, path), "holds no state_dict"),
        (save_changed(conv1_bias=[0.0] * 4), "'conv1.bias' is not a plain tensor"),
        (
            save_changed(conv1_bias=torch.zeros(4, device="meta")),
            "'conv1.bias' is not a plain tensor",
        ),
        (save_changed(conv1_bias=torch.zeros(4).to_sparse()), "'conv1.bias' is not a plain tensor"),
        (save_changed(conv1_bias=torch.zeros(4, dtype=torch.int32)), r"is torch\.int32, not float"),
        (
            save_changed(conv1_bias=None),
            r"experiment 500: .*Micro: Missing .*: \"down\.0\.bias\"",
        ),
        (save_changed(extra=torch.zeros(1)), r"Unexpected .*: \"extra\""),
        (
            save_changed(conv1_bias=torch.zeros(5)),
            r"mismatch for down\.0\.bias: .*\[5\].*\[4\]",
        ),
        (save_changed(conv1_bias=torch.full((4,), torch.nan)), r"'down\.0\.bias' holds NaN"),
        (
            save_changed(conv1_bias=torch.full((4,), 1e300, dtype=torch.float64)),
            "holds NaN or infinity",
        ),
    ],
)
def test_unusable_file_is_refused_with_its_fault(path, damage, words):
    damage(path)
    with pytest.raises(CheckpointError, match=rf"^best_model\.pt: .*{words}"):
        import_original(path, 500)


def test_weights_of_another_experiment_are_refused(path):
    torch.save(make_weights(), path)
    with pytest.raises(
        CheckpointError, match=r"experiment 1004: .*FlexibleUNet: Missing .*\[\.\.\.\]"
    ):
        import_original(path, 1004)
    with pytest.raises(ValueError, match=r"has no experiment 205; it has 0, 1, .* 1004"):
        import_original(path, 205)


def test_model_of_returns_copies():
    model_of(402)[1]["width"] = 1
    assert model_of(402) == ("unet", {"width": 64})

"""Checkpoints by their hf:// address, downloaded from a local fake Hub."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

import app
import geoseg
from benchmarks.server import ROOT, free_port, make_patch
from geoseg import __main__ as command_line
from geoseg.checkpoint import CheckpointError, checkpoint_name, find_checkpoints, load_checkpoint
from tests.helpers.hub_server import use
from tests.helpers.synthetic_data import make_checkpoint, make_data
from train import quantise
from train.evaluate import __main__ as evaluate


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the bytes of two small checkpoints by name."""
    folder = tmp_path_factory.mktemp("files")
    small, other = {"widths": [4]}, {"widths": [4, 4]}
    make_checkpoint(folder / "300-vanilla.safetensors", "vanilla", **small)
    make_checkpoint(folder / "301-vanilla.safetensors", "vanilla", **other)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def one(hub, files):
    """Return a repository of one checkpoint."""
    name = "300-vanilla.safetensors"
    return hub.make("models/me/one", {"README.md": b"# one", name: files[name]})


def downloads(hub):
    return [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]


def test_repository_address_loads_its_only_checkpoint(hub, one, files, tmp_path):
    model = load_checkpoint("hf://me/one")
    local = tmp_path / "300-vanilla.safetensors"
    local.write_bytes(files[local.name])
    expected = load_checkpoint(local).state_dict()
    assert model.card.architecture == "vanilla"
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_cached_file_is_downloaded_again_only_if_changed(hub, one, files):
    load_checkpoint("hf://me/one/300-vanilla.safetensors")
    load_checkpoint("hf://me/one/300-vanilla.safetensors")
    load_checkpoint("hf://me/one")
    assert len(downloads(hub)) == 1
    one.commit({"300-vanilla.safetensors": files["301-vanilla.safetensors"]})
    assert load_checkpoint("hf://me/one").arguments["widths"] == [4, 4]
    assert len(downloads(hub)) == 2


def test_revision_selects_the_model(hub, one, files):
    one.commit({"a.safetensors": files["301-vanilla.safetensors"]}, branch="second")
    oid = one.branches["main"]
    one.commit({}, branch="main")
    assert load_checkpoint("hf://me/one@second").arguments["widths"] == [4, 4]
    assert load_checkpoint(f"hf://me/one@{oid}").arguments["widths"] == [4]
    assert load_checkpoint("hf://me/one@second/a.safetensors").arguments["widths"] == [4, 4]


@pytest.mark.parametrize("address", ["hf://me/one", "hf://me/one/300-vanilla.safetensors"])
def test_cache_is_used_without_a_network(hub, one, monkeypatch, tmp_path, caplog, address):
    load_checkpoint(address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert load_checkpoint(address).arguments["widths"] == [4]
    assert len(hub.asked) == asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    use(f"http://127.0.0.1:{free_port()}", monkeypatch, tmp_path)
    assert load_checkpoint(address).arguments["widths"] == [4]
    use(hub.url, monkeypatch, tmp_path)
    hub.failing["."] = 503
    assert load_checkpoint(address).arguments["widths"] == [4]
    assert ("the Hub cannot be reached; hf://me/one comes from the cache" in caplog.text) == (
        address == "hf://me/one"
    )
    assert "Retrying" not in caplog.text  # retries would take 23 seconds


def test_segmenter_accepts_files_and_addresses(hub, one, files, tmp_path):
    local = tmp_path / "301-vanilla.safetensors"
    local.write_bytes(files[local.name])
    hub.make("models/me/run-of-mine", {"best.safetensors": files[local.name]})
    segmenter = geoseg.Segmenter([local, "hf://me/one", "hf://me/run-of-mine"], "cpu")
    assert segmenter.names == ("301-vanilla", "300-vanilla", "run-of-mine")
    probabilities = segmenter.probabilities(make_patch(1))
    assert all(np.isfinite(array).all() for array in probabilities.values())


def test_folder_that_resembles_the_cache_is_not_mistaken_for_it():
    assert checkpoint_name("/data/snapshots/3-a/best.safetensors") == "3-a"


def test_find_checkpoints_downloads_all_of_a_repository(hub, files):
    hub.make("models/me/two", {**files, "README.md": b"# two", "pytorch_model.bin": b"pickled"})
    found = find_checkpoints("hf://me/two")
    assert [checkpoint_name(path) for path in found] == ["300-vanilla", "301-vanilla"]
    assert not [line for line in downloads(hub) if "pytorch_model" in line]


MISTAKES = {
    "no such repository": (
        "hf://me/none",
        "hf://me/none: there is no such repository, or it is private",
    ),
    "half an address": ("hf://me", "hf://me is not an address on the Hub; write hf://user/repo"),
    "a data set": ("hf://datasets/me/one", "is a dataset; name a model repository"),
    "a pickle": (
        "hf://me/one/model.bin",
        "is not a .safetensors file; name one, other kinds are not opened",
    ),
    "no such file": ("hf://me/one/a.safetensors", "there is no such file; see the list"),
    "no such revision": ("hf://me/one@v9", "hf://me/one@v9: it has no such revision"),
    "no checkpoint in it": ("hf://me/empty", "hf://me/empty holds no .safetensors file"),
    "gated": ("hf://me/gated", "hf://me/gated: it is gated; request access on its page"),
    "private": ("hf://me/private", "log in with `hf auth login`"),
    "several": (
        "hf://me/two",
        "holds 2 checkpoints; name one: hf://me/two/NAME, where NAME is one of "
        "300-vanilla.safetensors, 301-vanilla.safetensors",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_wrong_address_is_explained_in_one_sentence(hub, one, files, mistake):
    hub.make("models/me/empty", {"README.md": b""})
    hub.make("models/me/two", files)
    hub.make("models/me/gated", files, gated=True)
    hub.make("models/me/private", files, private=True)
    address, message = MISTAKES[mistake]
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(address)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_login_opens_private_repository_and_wrong_login_is_explained(hub, files, monkeypatch):
    hub.make("models/me/private", {"a.safetensors": files["300-vanilla.safetensors"]}, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    load_checkpoint("hf://me/private")
    with pytest.raises(CheckpointError, match="hf://me/none: there is no such repository, or"):
        load_checkpoint("hf://me/none")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(CheckpointError, match="answers 401 Invalid credentials in"):
        load_checkpoint("hf://me/other")


def test_error_without_network_and_cache(hub, one, monkeypatch, tmp_path):
    hub.failing["."] = 500
    with pytest.raises(CheckpointError, match="not in the cache, and the Hub answers 500; check"):
        load_checkpoint("hf://me/one")
    use(f"http://127.0.0.1:{free_port()}", monkeypatch, tmp_path)
    for address in ("hf://me/one", "hf://me/one/300-vanilla.safetensors"):
        with pytest.raises(CheckpointError, match=r"not in the cache, and .* cannot be reached"):
            load_checkpoint(address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for address in ("hf://me/one", "hf://me/one/300-vanilla.safetensors"):
        with pytest.raises(CheckpointError, match="not in the cache, and HF_HUB_OFFLINE forbids"):
            load_checkpoint(address)


def test_downloaded_file_is_checked_like_a_local_one(hub):
    hub.make("models/me/bad", {"a.safetensors": b"cos\nsystem\n(S'true'\ntR."})
    with pytest.raises(CheckpointError, match=r"a.safetensors: not a whole safetensors file"):
        load_checkpoint("hf://me/bad")


def test_suggested_command_removes_a_damaged_copy(hub, one):
    (copy,) = find_checkpoints("hf://me/one")
    copy.resolve().write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="to download it again") as caught:
        load_checkpoint("hf://me/one")
    command = shlex.split(str(caught.value).split("`")[1])
    client = Path(sys.executable).with_name(command[0])
    options = ["--yes", "--cache-dir", constants.HF_HUB_CACHE]
    subprocess.run([client, *command[1:], *options], check=True, capture_output=True)
    load_checkpoint("hf://me/one")


def test_commands_accept_addresses(hub, one, tmp_path, monkeypatch, capsys):
    image = tmp_path / "well_1_patch_0.npy"
    np.save(image, make_patch(1))
    output = ["-o", str(tmp_path / "masks")]
    assert command_line.main(["segment", str(image), *output, "--checkpoint", "hf://me/one"]) == 0
    assert np.load(tmp_path / "masks" / image.stem / "mask.npy").shape == (36, 36)
    data = str(make_data(tmp_path / "data", 4, 40))
    assert evaluate.main(["hf://me/one", "--data", data]) == 0
    assert "300-vanilla" in capsys.readouterr().out
    assert evaluate.main(["hf://me/two", "--data", data]) == 2
    assert capsys.readouterr().err.startswith("evaluate: hf://me/two: ")
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["hf://me/one", "--record", "mine"])
    assert stop.value.code == 2
    assert "--record writes into the checkpoints" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert quantise.main(["hf://me/one", "--data", data]) == 0
    assert load_checkpoint("300-vanilla-8bit.safetensors").card.quantisation.bits == 8
    paths = app.select_checkpoints("hf://me/one", ["300"])
    assert [checkpoint_name(path) for path in paths] == ["300-vanilla"]


def test_new_process_follows_environment_variables(hub, one, tmp_path):
    code = "import geoseg; print(geoseg.load_checkpoint('hf://me/one').arguments['widths'])"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}

    def load(**variables):
        command = [sys.executable, "-c", code]
        result = subprocess.run(
            command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True
        )
        return result.stdout.strip() or result.stderr.splitlines()[-1]

    assert load() == "[4]"
    asked = len(hub.asked)
    assert load(HF_HUB_OFFLINE="1") == "[4]"
    assert len(hub.asked) == asked

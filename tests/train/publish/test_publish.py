"""`python -m train.publish` against a fake Hub."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from benchmarks.server import ROOT, free_port
from geoseg import load_checkpoint, save_checkpoint
from tests.helpers.hub_server import use
from tests.helpers.synthetic_data import exit_code, make_checkpoint
from train.git import CloneError
from train.publish import __main__ as publish
from train.publish import model_card, upload

# Without Xet, as in most tests here, the client uses an interface that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def files(tmp_path):
    """Return two checkpoints, the first with scores."""
    scored = make_checkpoint(tmp_path / "300-vanilla.safetensors", "vanilla", widths=[4])
    model = load_checkpoint(scored)
    table = {"iou": 0.5, "micro_iou": 0.61234567, "same_mask_at_every_shift": 0.25}
    metrics = {"wells left out": {**table, "on": "10 patches"}, "proxy mask": {"iou": 1, "on": "x"}}
    save_checkpoint(scored, model, data="synthetic pipes", metrics=metrics)
    other = make_checkpoint(tmp_path / "301-vanilla.safetensors", "vanilla", widths=[4, 4])
    return [str(scored), str(other)]


@pytest.fixture
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def test_published_checkpoint_can_be_loaded(logged_in, files, capsys):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    output = capsys.readouterr().out
    assert "300-vanilla.safetensors" in output
    assert "load it by hf://me/grooves" in output
    made = logged_in.repositories["models/me/grooves"]
    assert made.messages == ["", "Checkpoints of geoseg"]
    assert not made.private
    expected = {".gitattributes", "README.md", "config.json", "300-vanilla.safetensors"}
    assert made.files().keys() == expected
    assert load_checkpoint("hf://me/grooves").arguments["widths"] == [4]
    config = json.loads(made.files()["config.json"])
    assert config["library_name"] == "geoseg"
    card = config["checkpoints"]["300-vanilla.safetensors"]
    assert (card["architecture"], card["data"]) == ("vanilla", "synthetic pipes")


def test_model_card_has_scores_and_limits(logged_in, files):
    assert publish.main([*files, "--to", "me/grooves", "--license", "mit"]) == 0
    text = logged_in.repositories["models/me/grooves"].files()["README.md"].decode()
    card = ModelCard(text)
    assert (card.data.library_name, card.data.license) == ("geoseg", "mit")
    results = {
        (r.dataset_name, r.metric_type, r.metric_name, r.metric_value)
        for r in card.data.eval_results
    }
    assert results == {
        ("wells left out: 10 patches", "iou", "IoU, mean of patches (300-vanilla)", 0.5),
        ("wells left out: 10 patches", "iou", "IoU, all pixels pooled (300-vanilla)", 0.6123),
    }
    for sentence in (
        'geoseg.Segmenter(["hf://me/grooves/300-vanilla.safetensors"])',
        "Not every checkpoint says what it was trained on",
        "A shift of the pipe can change the mask: 300-vanilla.",
        "A proxy mask is one that other models agree on",
        "- Trained on: synthetic pipes",
        "## 301-vanilla",
    ):
        assert sentence in text
    assert "Trained on synthetic pipes only" not in text


def test_new_version_is_one_commit_and_unchanged_version_none(logged_in, files):
    assert publish.main([files[0], "--to", "me/grooves", "--private"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    assert made.private
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert len(made.commits) == 2
    assert publish.main([*files, "--to", "me/grooves", "--message", "two"]) == 0
    assert made.messages[2:] == ["two"]
    assert len([line for line in logged_in.asked if line.startswith("PUT")]) == 2


def test_model_card_names_the_project(files, monkeypatch):
    def text():
        return publish.make_bundle([Path(files[0])], "me/grooves", "mit")["README.md"].decode()

    monkeypatch.setattr(model_card, "find_origin", lambda: "https://example.org/me/geoseg.git")
    assert "[geoseg](https://example.org/me/geoseg) (`git clone https://example.org/me/" in text()

    def unknown():
        raise CloneError

    monkeypatch.setattr(model_card, "find_origin", unknown)
    assert "With the `geoseg` project, in Python:" in text()


def test_model_card_of_trainer_scores_invalid_scores_and_none(tmp_path):
    trained = make_checkpoint(tmp_path / "3-a.safetensors", "vanilla", widths=[4])
    scores = {"validation": {"iou": 0.5, "dice": 0.625, "threshold": 0.5}}
    save_checkpoint(trained, load_checkpoint(trained), metrics=scores)
    bare = make_checkpoint(tmp_path / "4-b.safetensors", "vanilla", widths=[4])
    wild = make_checkpoint(tmp_path / "6-d.safetensors", "vanilla", widths=[4])
    table = {"iou": None, "dice": float("nan"), "threshold": "x"}
    save_checkpoint(wild, load_checkpoint(wild), metrics={"a": {**table, "on": 3}, "b": table})
    odd = make_checkpoint(tmp_path / "5-c.safetensors", "vanilla", widths=[4])
    acme = {"micro_iou": 0.25, "iou": 0.25, "on": "2 patches", "same_mask_at_every_shift": 0.5}
    save_checkpoint(odd, load_checkpoint(odd), metrics={"Acme | wells": acme})
    text = publish.make_bundle([trained, bare, odd, wild], "me/x", "mit", "a/branch")[
        "README.md"
    ].decode()
    card = ModelCard(text)
    assert card.data.metrics == ["iou", "dice"]
    assert {r.dataset_type for r in card.data.eval_results} == {"validation", "Acme-wells"}
    assert "| validation (threshold 0.5; the best epoch was chosen by it) |" in text
    assert "No scores were measured." in text
    assert "| Acme \\| wells (2 patches) |" in text
    assert "can change the mask: 5-c." in text
    assert "a shift of the pipe changes the mask was not measured: 3-a, 4-b, 6-d." in text
    assert 'Segmenter(["hf://me/x@a%2Fbranch/3-a.safetensors"])' in text
    assert "--checkpoint hf://me/x@a%2Fbranch/3-a.safetensors -o masks" in text
    assert "--checkpoints hf://me/x@a%2Fbranch\n" in text


def test_existing_checkpoint_is_removed_only_with_replace(logged_in, files, capsys):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    assert publish.main([files[1], "--to", "me/grooves"]) == 1
    assert "me/grooves also holds 300-vanilla.safetensors" in capsys.readouterr().err
    assert len(made.commits) == 2
    assert publish.main([files[1], "--to", "me/grooves", "--replace"]) == 0
    assert "300-vanilla.safetensors" not in made.files()
    assert len(made.commits) == 3


def test_revision_leaves_main_branch_unchanged(logged_in, files):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert publish.main([*files, "--to", "me/grooves", "--revision", "next"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    assert "301-vanilla.safetensors" not in made.files()
    assert "301-vanilla.safetensors" in made.files("next")
    assert load_checkpoint("hf://me/grooves@next/301-vanilla.safetensors").arguments["widths"]


def test_dry_run_writes_the_files_and_sends_no_request(hub, files, tmp_path, capsys):
    assert publish.main([files[0], "--to", "me/grooves", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "300-vanilla.safetensors" in output
    assert "library_name: geoseg" in output
    folder = tmp_path / "out"
    assert publish.main([files[0], "--to", "me/grooves", "--dry-run", str(folder)]) == 0
    names = {"README.md", "config.json", "300-vanilla.safetensors"}
    assert {path.name for path in folder.iterdir()} == names
    load_checkpoint(folder / "300-vanilla.safetensors")
    assert publish.main([files[0], "--to", "me/grooves", "--dry-run", str(folder)]) == 2
    assert "is not empty; name a new folder" in capsys.readouterr().err
    assert hub.asked == []


FAILURES = {
    "upload": ("PUT /lfs", 500, "the Hub answers 500; check the login"),
    "commit": ("POST .*/commit/", 500, "the Hub answers 500; check the login"),
    "create": ("POST /api/repos/create", 403, "the Hub answers 403; check the login"),
    "branch": ("POST .*/branch/", 403, "the Hub answers 403; check the login"),
    "preupload": ("POST .*/preupload/", 403, "the Hub answers 403; check the login"),
    "batch": ("POST .*/objects/batch", 429, "the Hub answers 429; check the login"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_request_makes_no_commit_and_is_explained(logged_in, files, capsys, failure):
    if failure != "create":
        assert publish.main([files[0], "--to", "me/grooves"]) == 0
    before = {name: repo.files() for name, repo in logged_in.repositories.items()}
    pattern, status, message = FAILURES[failure]
    logged_in.failing[pattern] = status
    options = ["--to", "me/grooves", "--revision", "next", "--replace"]
    assert publish.main([files[1], *options]) == 1
    # Progress bars precede the message.
    error = capsys.readouterr().err.rpartition("publish: me/grooves: ")[2]
    assert error.startswith(message)
    after = {name: repo.files() for name, repo in logged_in.repositories.items()}
    assert after == before
    logged_in.failing.clear()
    assert publish.main([files[1], *options]) == 0  # the same command completes it


def test_interrupted_upload_exits_with_130(logged_in, files, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(upload.HfApi, "preupload_lfs_files", interrupt)
    assert publish.main([files[0], "--to", "me/grooves"]) == 130
    assert "stopped; run the same command again to complete the upload" in capsys.readouterr().err
    assert logged_in.repositories["models/me/grooves"].messages == [""]


def test_private_refuses_a_public_repository(logged_in, files, capsys):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert publish.main([files[0], "--to", "me/grooves", "--private"]) == 1
    assert "me/grooves is public; make it private on its page" in capsys.readouterr().err


def test_missing_login_permission_or_network_is_explained(
    hub, files, capsys, monkeypatch, tmp_path
):
    where = [files[0], "--to", "me/grooves"]

    def error():
        assert publish.main(where) == 1
        return capsys.readouterr().err

    assert "answers 401 Invalid username or password; check the login" in error()
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "answers 401 Invalid credentials in Authorization header; check the login" in error()
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert "answers 403 You don't have the rights to create a model" in error()
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids requests to the Hub; unset it" in error()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    use(f"http://127.0.0.1:{free_port()}", monkeypatch, tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    assert "cannot be reached" in error()
    assert hub.repositories == {}


def test_other_repositories_are_not_overwritten(logged_in, files, capsys):
    card = b"---\nlibrary_name: transformers\n---\n"
    logged_in.make("models/me/bert", {"README.md": card, "model.safetensors": b""})
    assert publish.main([files[0], "--to", "me/bert"]) == 1
    message = "me/bert holds a model of transformers; choose another name"
    assert message in capsys.readouterr().err
    assert not [line for line in logged_in.asked if line.startswith(("POST", "PUT", "DELETE"))]


def test_wrong_command_line_exits_with_2(tmp_path, files, capsys):
    for arguments, message in (
        ([*files, "--to", "grooves"], "'grooves' is not the name of a model; write USER/NAME"),
        ([*files, "--to", "datasets/me/grooves"], "is not the name of a model; write USER/NAME"),
        (["none.safetensors", "--to", "me/x", "--dry-run"], "there is no such file"),
        ([files[0], files[0], "--to", "me/x", "--dry-run"], "two checkpoints are named"),
    ):
        assert exit_code(publish.main, arguments) == 2
        assert message in capsys.readouterr().err


def test_command_uploads_through_xet(hub, files, tmp_path):
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_writer",
    }
    command = [sys.executable, "-m", "train.publish", files[0], "--to", "me/grooves"]

    def run():
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    hub.failing["/v1/shards"] = 403
    failed = run()
    assert failed.returncode == 1
    assert "publish: me/grooves: the transfer failed" in failed.stderr.splitlines()[-1]
    assert hub.repositories["models/me/grooves"].messages == [""]  # created, no commit
    hub.failing.clear()
    done = run()
    assert done.returncode == 0, done.stderr
    made = hub.repositories["models/me/grooves"]
    assert made.messages[1:] == ["Checkpoints of geoseg"]
    checksum = hashlib.sha256(Path(files[0]).read_bytes()).hexdigest()
    assert made.files()["300-vanilla.safetensors"] == checksum.encode()
    assert [line for line in hub.asked if "/v1/xorbs/" in line]

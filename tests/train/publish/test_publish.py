"""Checkpoints on their way to the Hub, to one on this machine."""

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
from tests.helpers.hub_server import interrupt_during, use
from tests.helpers.synthetic_data import exit_code, make_checkpoint
from train.git import CloneError
from train.publish import __main__ as publish
from train.publish import upload

# The client's own way of uploading without Xet, which the other tests take, is of yesterday.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def files(tmp_path):
    """Two checkpoints, the first one with scores."""
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


def test_what_is_published_is_loaded_again(logged_in, files, capsys):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    said = capsys.readouterr().out
    assert "300-vanilla.safetensors" in said
    assert "load it by hf://me/grooves" in said
    made = logged_in.repositories["models/me/grooves"]
    assert made.messages == ["", "Checkpoints of geoseg"]
    assert not made.private
    wanted = {".gitattributes", "README.md", "config.json", "300-vanilla.safetensors"}
    assert made.files().keys() == wanted
    assert load_checkpoint("hf://me/grooves").arguments["widths"] == [4]
    config = json.loads(made.files()["config.json"])
    assert config["library_name"] == "geoseg"
    told = config["checkpoints"]["300-vanilla.safetensors"]
    assert (told["architecture"], told["data"]) == ("vanilla", "synthetic pipes")


def test_the_card_has_scores_as_results_and_says_what_the_model_cannot(logged_in, files):
    assert publish.main([*files, "--to", "me/grooves", "--license", "mit"]) == 0
    text = logged_in.repositories["models/me/grooves"].files()["README.md"].decode()
    card = ModelCard(text)
    assert (card.data.library_name, card.data.license) == ("geoseg", "mit")
    found = {
        (r.dataset_name, r.metric_type, r.metric_name, r.metric_value)
        for r in card.data.eval_results
    }
    assert found == {
        ("wells left out: 10 patches", "iou", "IoU, mean of patches (300-vanilla)", 0.5),
        ("wells left out: 10 patches", "iou", "IoU, all pixels pooled (300-vanilla)", 0.6123),
    }
    for said in (
        'geoseg.Segmenter(["hf://me/grooves/300-vanilla.safetensors"])',
        "Not every checkpoint says on what it was trained",
        "where the pipe is turned: 300-vanilla.",
        "A proxy mask is what other models agree on",
        "- Trained on: synthetic pipes",
        "## 301-vanilla",
    ):
        assert said in text
    assert "Trained on synthetic pipes only" not in text


def test_a_new_version_is_one_commit_and_the_same_again_is_none(logged_in, files):
    assert publish.main([files[0], "--to", "me/grooves", "--private"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    assert made.private
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert len(made.commits) == 2
    assert publish.main([*files, "--to", "me/grooves", "--message", "two"]) == 0
    assert made.messages[2:] == ["two"]
    assert len([line for line in logged_in.asked if line.startswith("PUT")]) == 2


def test_the_card_says_where_geoseg_is(files, monkeypatch):
    def text():
        return publish.make_bundle([Path(files[0])], "me/grooves", "mit")["README.md"].decode()

    monkeypatch.setattr(publish, "find_origin", lambda: "https://example.org/me/geoseg.git")
    assert "[geoseg](https://example.org/me/geoseg) (`git clone https://example.org/me/" in text()

    def unknown():
        raise CloneError

    monkeypatch.setattr(publish, "find_origin", unknown)
    assert "With the `geoseg` project, in Python:" in text()


def test_a_card_of_what_the_trainer_leaves_and_of_what_nobody_measured(tmp_path):
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
    assert "Nothing was measured." in text
    assert "| Acme \\| wells (2 patches) |" in text
    assert "turned: 5-c." in text
    assert "whether the mask turns with the pipe: 3-a, 4-b, 6-d." in text
    assert 'Segmenter(["hf://me/x@a%2Fbranch/3-a.safetensors"])' in text
    assert "--checkpoints hf://me/x@a%2Fbranch\n" in text


def test_a_checkpoint_that_is_there_is_not_left_without_a_card(logged_in, files, capsys):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    assert publish.main([files[1], "--to", "me/grooves"]) == 1
    assert "me/grooves also holds 300-vanilla.safetensors" in capsys.readouterr().err
    assert len(made.commits) == 2
    assert publish.main([files[1], "--to", "me/grooves", "--replace"]) == 0
    assert "300-vanilla.safetensors" not in made.files()
    assert len(made.commits) == 3


def test_a_branch_leaves_the_main_one_alone(logged_in, files):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert publish.main([*files, "--to", "me/grooves", "--revision", "next"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    assert "301-vanilla.safetensors" not in made.files()
    assert "301-vanilla.safetensors" in made.files("next")
    assert load_checkpoint("hf://me/grooves@next/301-vanilla.safetensors").arguments["widths"]


def test_a_dry_run_asks_nobody_and_writes_what_would_be_sent(hub, files, tmp_path, capsys):
    assert publish.main([files[0], "--to", "me/grooves", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "300-vanilla.safetensors" in said
    assert "library_name: geoseg" in said
    folder = tmp_path / "out"
    assert publish.main([files[0], "--to", "me/grooves", "--dry-run", str(folder)]) == 0
    names = {"README.md", "config.json", "300-vanilla.safetensors"}
    assert {path.name for path in folder.iterdir()} == names
    load_checkpoint(folder / "300-vanilla.safetensors")
    assert publish.main([files[0], "--to", "me/grooves", "--dry-run", str(folder)]) == 2
    assert "is not empty; name a new folder" in capsys.readouterr().err
    assert hub.asked == []


FAILURES = {
    "the upload": ("PUT /lfs", 500, "the Hub answered 500; try again later"),
    "the commit": ("POST .*/commit/", 500, "the Hub answered 500; try again later"),
    "the making": ("POST /api/repos/create", 403, "your login may not do that"),
    "the plan": ("POST .*/preupload/", 403, "your login may not do that"),
    "the batch": ("POST .*/objects/batch", 429, "the Hub has had too many requests"),
}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_half_way_leaves_the_hub_as_it_was(logged_in, files, capsys, failure, there):
    if there and failure == "the making":
        return
    if there:
        assert publish.main([files[0], "--to", "me/grooves"]) == 0
        kept = logged_in.repositories["models/me/grooves"]
    pattern, status, said = FAILURES[failure]
    logged_in.failing[pattern] = status
    where = ["--to", "me/grooves", "--revision", "next"]
    assert publish.main([files[1], *where, "--replace"]) == 1
    told = capsys.readouterr().err.rpartition("publish: me/grooves: ")[2]  # after bars of progress
    assert told.startswith(said)
    if there:
        assert logged_in.repositories == {"models/me/grooves": kept}
        assert (len(kept.commits), kept.branches.keys()) == (2, {"main"})
    else:
        assert logged_in.repositories == {}


@pytest.mark.parametrize("during", ["preupload_lfs_files", "create_repo", "create_branch"])
def test_an_interrupt_half_way_leaves_the_hub_as_it_was(
    logged_in, files, capsys, monkeypatch, during
):
    interrupt_during(during, monkeypatch)
    assert publish.main([files[0], "--to", "me/grooves", "--revision", "next"]) == 130
    assert "stopped; the Hub is as it was." in capsys.readouterr().err
    assert logged_in.repositories == {}


def test_a_commit_that_was_asked_for_is_waited_for(logged_in, files, capsys, monkeypatch):
    interrupt_during("create_commit", monkeypatch)
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert "/commit/" in capsys.readouterr().out
    assert len(logged_in.repositories["models/me/grooves"].commits) == 2


def test_what_is_public_does_not_pass_for_private(logged_in, files, capsys):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    assert publish.main([files[0], "--to", "me/grooves", "--private"]) == 1
    assert "me/grooves is public; make it private on its page" in capsys.readouterr().err


def test_a_second_interrupt_waits_for_no_answer(logged_in, files, capsys, monkeypatch):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    interrupt_during("create_commit", monkeypatch, times=2)
    assert publish.main([files[1], "--to", "me/grooves", "--replace"]) == 130
    told = capsys.readouterr().err
    assert "Waiting for the answer; a second Ctrl-C exits at once." in told
    assert "left before the Hub had answered; its page shows what has become of me/grooves" in told


def test_what_cannot_be_undone_is_said(logged_in, files, capsys, monkeypatch):
    logged_in.failing = {"POST .*/commit/": 500, "DELETE .*": 500}
    told = (
        "publish: me/grooves: the Hub answered 500; try again later; and this could not be undone"
    )
    left = " on the Hub, so do it there: delete the branch next, delete the model me/grooves\n"
    assert publish.main([files[0], "--to", "me/grooves", "--revision", "next"]) == 1
    assert (told + left) in capsys.readouterr().err

    interrupt_during("preupload_lfs_files", monkeypatch)
    logged_in.repositories.clear()
    assert publish.main([files[0], "--to", "me/grooves"]) == 1
    told = "publish: stopped; and this could not be undone on the Hub, so do it there: delete the"
    assert told in capsys.readouterr().err


def test_whoever_came_between_is_not_overwritten(logged_in, files, capsys, monkeypatch):
    assert publish.main([files[0], "--to", "me/grooves"]) == 0
    made = logged_in.repositories["models/me/grooves"]
    plan = upload.HfApi.preupload_lfs_files

    def slow(*arguments, **named):
        made.commit(made.files(), "somebody else")
        return plan(*arguments, **named)

    monkeypatch.setattr(upload.HfApi, "preupload_lfs_files", slow)
    assert publish.main([*files, "--to", "me/grooves"]) == 1
    assert "somebody else changed it at the same time" in capsys.readouterr().err
    assert made.messages[-1] == "somebody else"


def test_who_may_not_publish_is_told_what_to_do(hub, files, capsys, monkeypatch, tmp_path):
    where = [files[0], "--to", "me/grooves"]

    def told():
        assert publish.main(where) == 1
        return capsys.readouterr().err

    assert "nobody is logged in; run `hf auth login`, or set HF_TOKEN" in told()
    assert hub.asked == []
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the Hub does not know you" in told()
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert "your login may not do that (You don't have the rights to create" in told()
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids to ask the Hub; unset it" in told()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    use(f"http://127.0.0.1:{free_port()}", monkeypatch, tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    assert "cannot be reached" in told()
    assert hub.repositories == {}


def test_what_is_there_and_is_something_else_is_not_touched(logged_in, files, capsys):
    card = b"---\nlibrary_name: transformers\n---\n"
    logged_in.make("models/me/bert", {"README.md": card, "model.safetensors": b""})
    logged_in.make("spaces/me/page", {"app.py": b""}, facts={"sdk": "gradio"})
    for name, said in (
        ("bert", "me/bert holds a model of transformers; choose another name"),
        ("page", "me/page is a space, and two of one name"),
    ):
        assert publish.main([files[0], "--to", f"me/{name}"]) == 1
        assert said in capsys.readouterr().err
    assert not [line for line in logged_in.asked if line.startswith(("POST", "PUT", "DELETE"))]


def test_a_wrong_command_line_ends_with_2(tmp_path, files, capsys):
    for arguments, said in (
        ([*files, "--to", "grooves"], "--to is 'grooves'; write USER/NAME of a model"),
        ([*files, "--to", "datasets/me/grooves"], "write USER/NAME of a model"),
        ([*files, "--to", "me/grooves", "--message", " "], "--message is empty"),
        (["none.safetensors", "--to", "me/x", "--dry-run"], "there is no such file"),
        ([files[0], files[0], "--to", "me/x", "--dry-run"], "two checkpoints are named"),
    ):
        assert exit_code(publish.main, arguments) == 2
        assert said in capsys.readouterr().err


def test_the_command_with_the_real_environment_and_the_hubs_own_storage(hub, files, tmp_path):
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_writer",
    }
    command = [sys.executable, "-m", "train.publish", files[0], "--to", "me/grooves"]

    def publish_it():
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    hub.failing["/v1/shards"] = 403
    failed = publish_it()
    assert failed.returncode == 1
    assert "publish: me/grooves: the transfer failed" in failed.stderr.splitlines()[-1]
    assert hub.repositories == {}
    hub.failing.clear()
    done = publish_it()
    assert done.returncode == 0, done.stderr
    made = hub.repositories["models/me/grooves"]
    assert made.messages[1:] == ["Checkpoints of geoseg"]
    checksum = hashlib.sha256(Path(files[0]).read_bytes()).hexdigest()
    assert made.files()["300-vanilla.safetensors"] == checksum.encode()
    assert [line for line in hub.asked if "/v1/xorbs/" in line]

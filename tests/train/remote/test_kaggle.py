"""Kaggle's answers, from a fake server to the real client."""

import json
import sys
import tarfile

import pytest

from tests.helpers.remote_training import fetch, push, read_output
from train.remote import kaggle as backend


def test_push_sends_the_notebook(kaggle, tmp_path, capsys):
    url = "https://www.kaggle.com/code/me/geoseg-3"
    kaggle.answers["SaveKernel"] = (200, {"url": url, "versionNumber": 1})
    assert push(tmp_path / "sent") == 0
    (_, (name, sent)) = kaggle.asked  # the status, then this
    assert (name, sent["slug"], sent["isPrivate"]) == ("SaveKernel", "me/geoseg-3", True)
    assert sent["enableInternet"] is True
    assert sent["newTitle"] == "geoseg 3"
    cells = json.loads(sent["text"])["cells"]
    assert cells[-1]["source"] == "main(JOB)\n"
    output = read_output(capsys)
    assert f"Started: {url}" in output
    assert "repeat the command with --fetch instead of -p" in output


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {"error": "Notebook quota exceeded"}), "refuses me/geoseg-3: Notebook quota"),
        (
            (200, {"url": "u", "invalidDatasetSources": ["{data}"]}),
            "which your account may not use",
        ),
        ((401, {"code": 401, "message": "Unauthenticated"}), "does not accept your login"),
        ((403, {"code": 403, "message": "Forbidden"}), "check -u and the login"),
        ((500, {"code": 500, "message": "Oops"}), "Kaggle answers with an error (Oops)"),
    ],
)
def test_failed_push_is_explained(kaggle, answer, message, tmp_path, capsys):
    data = "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
    filled = json.loads(json.dumps(answer[1]).replace("{data}", data))
    kaggle.answers["SaveKernel"] = (answer[0], filled)
    assert push(tmp_path / "sent") == 1
    assert message in read_output(capsys)


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING"])
def test_running_notebook_is_neither_fetched_nor_pushed(kaggle, status, tmp_path, capsys):
    kaggle.answers["GetKernelSessionStatus"] = (200, {"status": status})
    assert fetch(tmp_path) == 1
    assert f"me/geoseg-3 is {status}; try again later" in read_output(capsys)
    assert not (tmp_path / "runs").exists()
    assert push(tmp_path / "sent") == 1
    assert "or stop it on its page" in read_output(capsys)
    assert "SaveKernel" not in {name for name, _ in kaggle.asked}


def test_first_push_and_interrupted_push(kaggle, tmp_path, capsys, monkeypatch):
    kaggle.answers["GetKernelSessionStatus"] = (403, {"code": 403, "message": "denied"})
    kaggle.answers["SaveKernel"] = (200, {"url": "u", "versionNumber": 1})
    assert push(tmp_path / "sent") == 0

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "push_notebook", interrupt)
    assert push(tmp_path / "sent") == 130
    assert "your notebooks on Kaggle show whether one was started" in read_output(capsys)


@pytest.mark.parametrize("answer", [(200, {"status": "NAPPING"}), (200, b"<html>")])
def test_unknown_answer_is_explained(kaggle, answer, tmp_path, capsys):
    kaggle.answers["GetKernelSessionStatus"] = answer
    assert fetch(tmp_path) == 1
    assert "Kaggle answers with an error" in read_output(capsys)


def test_failed_notebook_is_reported_with_its_log(kaggle, tmp_path, capsys):
    failed = {"status": "ERROR", "failureMessage": "Out of disk"}
    kaggle.answers["GetKernelSessionStatus"] = (200, failed)
    log = json.dumps([{"stream_name": "stderr", "time": 1, "data": "fatal: no such commit\n"}])
    kaggle.answers["ListKernelSessionOutput"] = (200, {"files": [], "log": log})
    assert fetch(tmp_path) == 1
    assert "ended with ERROR: Out of disk fatal: no such commit" in read_output(capsys)


@pytest.mark.parametrize(
    ("code", "message"),
    [(2, "ended with exit code 2 begins train: no CUDA"), (-15, "time limit"), (143, "--resume")],
)
def test_failed_training_is_reported_with_its_last_lines(kaggle, code, message, tmp_path, capsys):
    files = []
    with tarfile.open(tmp_path / "runs.tar", "w"):
        pass
    (tmp_path / "result.json").write_text(json.dumps({"exit_code": code}))
    for name in ("runs.tar", "result.json"):
        kaggle.answers[f"/files/{name}"] = (200, (tmp_path / name).read_bytes())
        files.append({"fileName": name, "url": f"{kaggle.url}/files/{name}"})
    log = "begins\ntrain: no CUDA device\n"
    kaggle.answers["ListKernelSessionOutput"] = (200, {"files": files, "log": log})
    assert fetch(tmp_path) == 1
    output = read_output(capsys)
    assert message in output
    assert "there is no run of 3-unet-8-halving" in output


def test_missing_notebook_is_explained(kaggle, tmp_path, capsys):
    for status in (403, 404):
        missing = {"code": status, "message": "Permission denied"}
        kaggle.answers["GetKernelSessionStatus"] = (status, missing)
        assert fetch(tmp_path) == 1
        assert "me/geoseg-3 is missing, or not accessible to you" in read_output(capsys)


def test_malformed_token_is_not_printed(kaggle, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_sec\nret")
    assert fetch(tmp_path) == 1
    output = read_output(capsys)
    assert "Kaggle does not accept your login; log in" in output
    assert "KGAT" not in output


def test_missing_login_network_or_package_is_explained(kaggle, monkeypatch, tmp_path, capsys):
    from kagglesdk import kaggle_env

    nowhere = "http://127.0.0.1:9"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, nowhere)
    assert fetch(tmp_path) == 1
    assert "Kaggle cannot be reached" in read_output(capsys)
    monkeypatch.delenv("KAGGLE_KEY")
    assert fetch(tmp_path) == 1
    assert "not logged in to Kaggle; log in with a token" in read_output(capsys)
    monkeypatch.setitem(sys.modules, "kaggle", None)
    assert push(tmp_path / "sent") == 1
    assert 'pip install "kaggle>=2" six' in read_output(capsys)

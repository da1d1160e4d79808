"""`python -m train.remote`: what is sent is run for real, and its runs come home."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from geoseg import load_checkpoint, read_card, save_checkpoint
from tests.helpers.synthetic_data import exit_code, make_data
from train.__main__ import main as train
from train.checkpointing import RunCheckpointer
from train.git import CloneError, find_origin
from train.remote import job, remote_script
from train.remote.__main__ import main
from train.remote.job import RemoteError
from train.remote.results import install_runs

RUN = "3-unet-8-halving"
SMALL = ["--", "--epochs", "1", "--cpu", "--precision", "fp32"]
COMMAND = ["-e", "3", "-u", "me"]
# A notebook's cells one after the other, in one process and one namespace, as a kernel runs them.
KERNEL = """
import json, sys
space = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
"""


def told(capsys) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a dry run writes for Kaggle."""
    folder = tmp_path_factory.mktemp("remote") / "folder"
    assert main([*COMMAND, "--folder", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """What the notebook leaves behind, run on a data set that is mounted as Kaggle does."""
    place = tmp_path_factory.mktemp("kaggle")
    make_data(place / "input" / "slb-set" / "deep", 4, 40)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("WANDB")},
        "GEOSEG_INPUT": str(place / "input"),
        "GEOSEG_OUTPUT": str(place / "working"),
        "TMPDIR": str(place),
        "HOME": str(place),
        "OMP_NUM_THREADS": "1",
    }
    answer = subprocess.run(
        [sys.executable, "-c", KERNEL, str(folder / "train.ipynb")],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "epoch 1/1" in answer.stdout
    assert "tracked offline" in answer.stdout
    return place / "working"


def test_the_folder_is_what_kaggle_takes(folder, capsys):
    nbformat = pytest.importorskip("nbformat", reason="needs pip install nbformat")
    notebook = nbformat.read(folder / "train.ipynb", as_version=4)
    nbformat.validate(notebook)
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    assert metadata["id"] == "me/geoseg-3"
    assert (metadata["enable_internet"], metadata["enable_gpu"]) == (True, False)  # for --cpu
    assert metadata["code_file"] == "train.ipynb"
    assert metadata["dataset_sources"] == [
        "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
    ]


def test_a_gpu_is_asked_for_and_insisted_on(tmp_path, capsys):
    command = ["-e", "300", "301", "-u", "me", "--folder", str(tmp_path), "-nowb"]
    assert main([*command, "--", "--fresh"]) == 0
    metadata = json.loads((tmp_path / "kernel-metadata.json").read_text())
    assert (metadata["enable_gpu"], metadata["machine_shape"]) == (True, "NvidiaTeslaT4")
    assert metadata["dataset_sources"] == []  # pipes are made there
    said = told(capsys)
    assert "python -m train -e 300 301 --fresh -nowb --device cuda" in said
    assert main([*command, "--", "--fresh=4096", "--device", "cuda:0"]) == 0
    again = json.loads((tmp_path / "kernel-metadata.json").read_text())
    assert again == metadata
    assert "Nothing was sent. To go on: python -m train.remote -p -e 300 301 -u me" in said


def test_the_notebook_trains_and_packs(made):
    result = json.loads((made / "result.json").read_text())
    assert result["exit_code"] == 0
    assert result["arguments"][:2] == ["-e", "3"]
    assert sorted(p.name for p in made.iterdir()) == ["result.json", "runs.tar", "training.log"]
    with tarfile.open(made / "runs.tar") as packed:
        packed.extractall(made.parent / "unpacked", filter="data")
    run = made.parent / "unpacked" / RUN
    for name in ("best", "last"):
        model = load_checkpoint(run / f"{name}.safetensors")
        assert model.count_parameters() == 12_250
        assert "30 to train, 10 to validate" in model.card.data
    assert list(run.glob("wandb/offline-run-*"))


# Bringing home -----------------------------------------------------------------------------------


@pytest.fixture
def kaggle(monkeypatch, tmp_path, made):
    """Kaggle, where the notebook has run: what it left is there to be fetched."""
    pytest.importorskip("kaggle", reason="needs pip install kaggle")
    from tests.helpers.kaggle_server import kaggle_server

    with kaggle_server(monkeypatch, str(tmp_path / "home")) as server:
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv("KAGGLE_KEY", "secret")
        server.answers["GetKernelSessionStatus"] = (200, {"status": "COMPLETE"})
        files = []
        for path in made.iterdir():
            server.answers[f"/files/{path.name}"] = (200, path.read_bytes())
            files.append({"fileName": path.name, "url": f"{server.url}/files/{path.name}"})
        server.answers["ListKernelSessionOutput"] = (200, {"files": files, "log": ""})
        yield server


def fetch(tmp_path, *more):
    return main([*COMMAND, "--fetch", "-o", str(tmp_path / "runs"), *more])


def test_runs_come_home_from_kaggle(kaggle, tmp_path, capsys):
    assert fetch(tmp_path) == 0
    best = tmp_path / "runs" / RUN / "best.safetensors"
    assert load_checkpoint(best).card.experiment["name"] == "unet-8-halving"
    iou = read_card(best).metrics["validation"]["iou"]
    said = told(capsys)
    assert f"best validation IoU {iou:.4f}" in said
    assert "wandb sync" in said
    assert kaggle.asked[0][1] == {"userName": "me", "kernelSlug": "geoseg-3"}
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [RUN]  # nothing half done beside it
    # It goes on here as any run does, and a second time it is here already.
    assert fetch(tmp_path) == 0
    assert "is here already" in told(capsys)


def rescore(path: Path, iou: float, data: str | None = None) -> None:
    model = load_checkpoint(path)
    provenance = {**model.card.provenance, "metrics": {"validation": {"iou": iou}}}
    save_checkpoint(path, model, **provenance | ({} if data is None else {"data": data}))


def test_a_better_run_stays_and_a_worse_one_goes(kaggle, tmp_path, capsys):
    assert fetch(tmp_path) == 0
    best = tmp_path / "runs" / RUN / "best.safetensors"
    fetched = read_card(best).metrics["validation"]["iou"]
    rescore(best, 0.99)
    capsys.readouterr()
    assert fetch(tmp_path) == 1
    assert "stays; --overwrite replaces it: best validation IoU 0.9900" in told(capsys)
    assert read_card(best).metrics["validation"]["iou"] == 0.99
    assert fetch(tmp_path, "--overwrite") == 0
    assert read_card(best).metrics["validation"]["iou"] == fetched
    rescore(best, -1.0)
    (best.parent / "note.txt").touch()
    assert fetch(tmp_path) == 0
    assert "in place of the run that was here" in told(capsys)
    assert read_card(best).metrics["validation"]["iou"] == fetched
    assert not (best.parent / "note.txt").exists()
    rescore(best, -1.0, "9 patches of data; 6 to train, 3 to validate")
    assert fetch(tmp_path) == 1
    assert "scored on other patches" in told(capsys)


def test_a_run_stopped_in_its_first_epoch_comes_home_and_goes_on(tmp_path, monkeypatch, capsys):
    there, home = tmp_path / "there", tmp_path / "home"
    data = ["--data", str(make_data(tmp_path / "data", 4, 40))]
    command = [*COMMAND[:2], *data, *SMALL[1:], "-nowb"]
    with monkeypatch.context() as patch:
        patch.setattr(
            RunCheckpointer, "save_when_due", lambda _: signal.raise_signal(signal.SIGTERM)
        )
        assert train([*command, "-o", str(there)]) == 143
    assert not (there / RUN / "best.safetensors").exists()

    def collect():
        remote_script.pack({"commit": "", "arguments": []}, there, tmp_path, exit_code=143)
        outcomes, failure = install_runs(tmp_path, home, False, [RUN])
        assert "--resume goes on from here" in failure
        return outcomes[0]

    assert collect() == (RUN, True, "stopped in its first epoch")
    assert collect() == (RUN, True, "is here already")
    capsys.readouterr()
    assert train([*command, "-o", str(home), "--resume"]) == 0
    assert "after 0 epochs and 1 of " in told(capsys)
    outcome = collect()
    assert not outcome.here
    assert "stays; --overwrite replaces it: the fetched one was stopped" in outcome.words
    shutil.rmtree(there / RUN / "resume")
    shutil.rmtree(home)
    assert "best.safetensors: there is no such file" in collect().words


def test_what_is_here_and_cannot_be_compared_stays(kaggle, tmp_path, capsys):
    run = tmp_path / "runs" / RUN
    run.mkdir(parents=True)
    (run / "thesis.txt").touch()
    assert fetch(tmp_path) == 1
    assert "stays; --overwrite replaces it: it cannot be compared" in told(capsys)
    assert (run / "thesis.txt").exists()
    assert fetch(tmp_path, "--overwrite") == 0
    # The best epoch is here, but the fetched run went on for longer.
    last = load_checkpoint(run / "last.safetensors")
    provenance = {**last.card.provenance, "experiment": {**last.card.experiment, "epochs_done": 0}}
    save_checkpoint(run / "last.safetensors", last, **provenance)
    capsys.readouterr()
    assert fetch(tmp_path) == 0
    said = told(capsys)
    assert "in place of the run that was here" in said
    assert "Trained there: python -m train -e 3 --epochs 1 --cpu" in said


def test_an_interrupt_loses_no_run(made, kaggle, tmp_path, monkeypatch):
    assert fetch(tmp_path) == 0
    run = tmp_path / "runs" / RUN
    rescore(run / "best.safetensors", -1.0)
    rename = Path.rename

    def interrupted(path, target):
        if path.parent.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        assert fetch(tmp_path) == 130
    assert read_card(run / "best.safetensors").metrics["validation"]["iou"] == -1.0
    assert list((tmp_path / "runs").iterdir()) == [run]


def test_broken_checkpoints_stay_away(made, tmp_path):
    with tarfile.open(made / "runs.tar") as packed:
        packed.extractall(tmp_path / "bad", filter="data")
    shutil.copytree(tmp_path / "bad" / RUN, tmp_path / "bad" / "4-good")
    (tmp_path / "bad" / RUN / "last.safetensors").write_bytes(b"x" * 100)
    collected = tmp_path / "collected"
    collected.mkdir()
    (tmp_path / "bad" / "4-good-fold-1").symlink_to(tmp_path)
    with tarfile.open(collected / "runs.tar", "w") as archive:
        for run in (RUN, "4-good", "4-good-fold-1"):
            archive.add(tmp_path / "bad" / run, run)
        archive.add(tmp_path / "bad" / "4-good", "5-not-asked-for")
    outcomes, failure = install_runs(collected, tmp_path / "runs", True, [RUN, "4-good"])
    assert {o.name: o.here for o in outcomes} == {RUN: False, "4-good": True}
    assert "last.safetensors: not a whole safetensors file" in outcomes[0].words
    assert not (tmp_path / "runs" / RUN).exists()
    assert "did not end" in failure


def test_an_archive_that_reaches_outside_is_refused(tmp_path):
    with tarfile.open(tmp_path / "runs.tar", "w") as archive:
        archive.add(__file__, "../outside.py")
    with pytest.raises(RemoteError, match=r"runs.tar is damaged"):
        install_runs(tmp_path, tmp_path / "in" / "runs", False, [RUN])
    assert not (tmp_path / "in" / "outside.py").exists()


def test_a_failed_training_is_told_with_its_last_lines(tmp_path):
    (tmp_path / "runs").mkdir()
    with tarfile.open(tmp_path / "runs.tar", "w"):
        pass
    (tmp_path / "training.log").write_text("begins\ntrain: no CUDA device\n")
    for code, words in (
        (1e400, "did not end"),
        (2, "exit code 2\n  begins\n  train: no CUDA"),
        (-15, "time limit"),
    ):
        (tmp_path / "result.json").write_text(json.dumps({"exit_code": code}))
        outcomes, failure = install_runs(tmp_path, tmp_path / "home", False, [RUN])
        assert outcomes == []
        assert words in failure


# Kaggle's answers --------------------------------------------------------------------------------


def push(folder, *more):
    return main([*COMMAND, "-p", "--folder", str(folder), *more, *SMALL])


def test_pushing_to_kaggle(kaggle, tmp_path, folder, capsys):
    url = "https://www.kaggle.com/code/me/geoseg-3"
    kaggle.answers["SaveKernel"] = (200, {"url": url, "versionNumber": 1})
    assert push(tmp_path / "sent") == 0
    (_, (name, sent)) = kaggle.asked  # whether it runs already, and this
    assert (name, sent["slug"], sent["isPrivate"]) == ("SaveKernel", "me/geoseg-3", True)
    assert sent["enableInternet"] is True
    assert sent["newTitle"] == "geoseg 3"
    cells = json.loads(sent["text"])["cells"]
    assert cells[-1]["source"] == "main(ORDER)\n"
    said = told(capsys)
    assert f"Started: {url}" in said
    assert "python -m train.remote --fetch -e 3 -u me" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {"error": "Notebook quota exceeded"}), "does not take me/geoseg-3: Notebook quota"),
        (
            (200, {"url": "u", "invalidDatasetSources": ["{data}"]}),
            "which it says you may not use",
        ),
        ((401, {"code": 401, "message": "Unauthenticated"}), "does not know your login"),
        ((403, {"code": 403, "message": "Forbidden"}), "check -u and the login"),
        ((500, {"code": 500, "message": "Oops"}), "Kaggle answers 500"),
    ],
)
def test_a_push_that_fails(kaggle, answer, words, tmp_path, capsys):
    data = "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
    filled = json.loads(json.dumps(answer[1]).replace("{data}", data))
    kaggle.answers["SaveKernel"] = (answer[0], filled)
    assert push(tmp_path / "sent") == 1
    assert words in told(capsys)


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING"])
def test_a_notebook_that_still_runs(kaggle, status, tmp_path, capsys):
    kaggle.answers["GetKernelSessionStatus"] = (200, {"status": status})
    assert fetch(tmp_path) == 1
    assert f"me/geoseg-3 is still {status.lower()}; ask again later" in told(capsys)
    assert not (tmp_path / "runs").exists()
    assert push(tmp_path / "sent") == 1
    assert "or stop it on its page" in told(capsys)
    assert "SaveKernel" not in {name for name, _ in kaggle.asked}


def test_a_first_notebook_and_one_that_is_broken_off(kaggle, tmp_path, capsys, monkeypatch):
    from train.remote import kaggle as backend

    kaggle.answers["GetKernelSessionStatus"] = (403, {"code": 403, "message": "denied"})
    kaggle.answers["SaveKernel"] = (200, {"url": "u", "versionNumber": 1})
    assert push(tmp_path / "sent") == 0

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "push", interrupt)
    assert push(tmp_path / "sent") == 130
    page = "https://www.kaggle.com/code/me/geoseg-3"
    assert f"whether it has been started there is to be seen at {page}" in told(capsys)


@pytest.mark.parametrize("answer", [(200, {"status": "NAPPING"}), (200, b"<html>")])
def test_an_answer_of_kaggle_that_makes_no_sense(kaggle, answer, tmp_path, capsys):
    kaggle.answers["GetKernelSessionStatus"] = answer
    assert fetch(tmp_path) == 1
    assert "says what its client does not understand" in told(capsys)


def test_a_notebook_that_failed(kaggle, tmp_path, capsys):
    failed = {"status": "ERROR", "failureMessage": "Out of disk"}
    kaggle.answers["GetKernelSessionStatus"] = (200, failed)
    log = json.dumps([{"stream_name": "stderr", "time": 1, "data": "fatal: no such commit\n"}])
    kaggle.answers["ListKernelSessionOutput"] = (200, {"files": [], "log": log})
    assert fetch(tmp_path) == 1
    assert "ended with ERROR: Out of disk fatal: no such commit" in told(capsys)


def test_a_notebook_that_is_not_there(kaggle, tmp_path, capsys):
    for status in (403, 404):
        missing = {"code": status, "message": "Permission denied"}
        kaggle.answers["GetKernelSessionStatus"] = (status, missing)
        assert fetch(tmp_path) == 1
        assert "there is no notebook me/geoseg-3 that you may see" in told(capsys)


def test_a_token_that_is_none_is_not_shown(kaggle, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_sec\nret")
    assert fetch(tmp_path) == 1
    words = told(capsys)
    assert "the token of Kaggle is not one in its form; log in" in words
    assert "KGAT" not in words


def test_without_login_network_or_kaggle(kaggle, monkeypatch, tmp_path, capsys):
    from kagglesdk import kaggle_env

    nowhere = "http://127.0.0.1:9"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, nowhere)
    assert fetch(tmp_path) == 1
    assert "Kaggle cannot be reached" in told(capsys)
    monkeypatch.delenv("KAGGLE_KEY")
    assert fetch(tmp_path) == 1
    assert "there is no login to Kaggle; log in with a token" in told(capsys)
    monkeypatch.setitem(sys.modules, "kaggle", None)
    assert push(tmp_path / "sent") == 1
    assert 'pip install "kaggle>=2" six' in told(capsys)


# Hugging Face's jobs -----------------------------------------------------------------------------


@pytest.fixture
def hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


JOBS = [*COMMAND, "--backend", "hf-jobs"]


def test_a_job_is_pushed_run_for_real_and_fetched(hub, made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "w" * 40)
    earlier = {"geoseg-3/20260101-000000/runs.tar": b"paid for, and not fetched yet"}
    kept = hub.make("models/me/geoseg-runs", earlier, private=True)
    command = [*JOBS, "--folder", str(tmp_path / "sent"), "--hours", "2"]
    assert main([*command, "-p", *SMALL, "-nowb"]) == 0
    assert kept.files().keys() == {*earlier, "geoseg-3/train.py"}
    (job,) = hub.jobs
    assert (job["flavor"], job["timeoutSeconds"]) == ("cpu-upgrade", 9000)
    assert job["secrets"] == {"HF_TOKEN": "hf_writer"}  # nothing is tracked
    assert "hf_writer" not in (tmp_path / "sent" / "train.py").read_text()
    assert "--fetch" in told(capsys)
    assert main([*JOBS, "--fetch", "-o", str(tmp_path / "runs")]) == 1
    assert "job geoseg-3 is still running" in told(capsys)

    arguments = job["command"]
    assert arguments[:2] == ["uv", "run"]
    assert "--with kagglehub python -c" in " ".join(arguments)
    environment = {
        **os.environ,
        **job["environment"],
        **job["secrets"],
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "cache"),
        "GEOSEG_INPUT": str(made.parent / "input"),
        "TMPDIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    start = arguments[arguments.index("python") :]
    answer = subprocess.run(
        [sys.executable, *start[1:]], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    job["status"]["stage"] = "COMPLETED"
    assert main([*JOBS, "--fetch", "-o", str(tmp_path / "runs")]) == 0
    assert (
        load_checkpoint(tmp_path / "runs" / RUN / "best.safetensors").count_parameters() == 12_250
    )


def test_a_job_gets_the_keys_it_needs_and_no_other_is_pushed_beside_it(
    hub, tmp_path, monkeypatch, capsys
):
    keys = {"WANDB_API_KEY": "w" * 40, "KAGGLE_API_TOKEN": "KGAT_secret"}
    for name, value in {**keys, "WANDB_ENTITY": "corp"}.items():
        monkeypatch.setenv(name, value)
    command = [*JOBS, "--folder", str(tmp_path / "sent"), "-p"]
    assert main([*command, "--", "--seed", "4"]) == 0
    assert hub.jobs[0]["secrets"] == {"HF_TOKEN": "hf_writer", **keys}
    assert "\"tracking\": {'WANDB_ENTITY': 'corp'}" in (tmp_path / "sent/train.py").read_text()
    kept = hub.repositories["models/me/geoseg-runs"]
    assert kept.private
    sent = kept.files()
    assert main([*command, "--", "--seed", "5"]) == 1
    assert "job geoseg-3 is still running" in told(capsys)
    assert (len(hub.jobs), kept.files()) == (1, sent)
    hub.jobs[0]["status"]["stage"] = "CANCELED"
    assert main([*command, "--", "--fresh"]) == 0
    assert set(hub.jobs[1]["secrets"]) == {"HF_TOKEN", "WANDB_API_KEY"}
    hub.jobs[1]["status"]["stage"] = "COMPLETED"
    kept.private = False
    assert main(command) == 1
    assert "remote: me/geoseg-runs is public, and the code and" in told(capsys)
    kept.private = True
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert main(command) == 0
    assert set(hub.jobs[2]["secrets"]) == {"HF_TOKEN", "KAGGLE_API_TOKEN"}


def test_a_job_that_failed_or_is_not_there(hub, tmp_path, capsys):
    command = [*JOBS, "--fetch", "-o", str(tmp_path / "runs")]
    assert main(command) == 1
    assert "me has no job geoseg-3" in told(capsys)
    environment = {"GEOSEG_NAME": "geoseg-3", "GEOSEG_RESULTS": "geoseg-3/20260101-000000"}
    hub.make("models/me/geoseg-runs", {}, private=True)
    job = hub.start_job({"environment": environment})
    job["status"] = {"stage": "ERROR", "message": "exit code 1"}
    assert main(command) == 1
    assert "job geoseg-3 ended with ERROR: exit code 1" in told(capsys)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "me/geoseg-runs and its jobs: the Hub does not know you"),
        (402, "it must be paid for; see https://huggingface.co/pricing"),
        (403, "your login may not do that; use a token"),
        (418, "the Hub refuses that with 418"),
        (500, "the Hub answered 500; try again later"),
    ],
)
def test_refusals_of_the_hub(hub, status, words, tmp_path, capsys):
    hub.failing["."] = status
    assert main([*JOBS, "-p", "--folder", str(tmp_path), *SMALL]) == 1
    assert words in told(capsys)


def test_the_hub_without_login_or_network(hub, monkeypatch, tmp_path, capsys):
    from huggingface_hub import constants

    command = [*JOBS, "-p", "--folder", str(tmp_path), *SMALL]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(command) == 1
    assert "http://127.0.0.1:9 cannot be reached" in told(capsys)
    monkeypatch.delenv("HF_TOKEN")
    assert main(command) == 1
    assert "hf auth login" in told(capsys)


# The command line and the code -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-e", "999", "-u", "me"], "no experiment '999'"),
        (["-e", "3"], "-u/--user"),
        (["-e", "3", "-u", "me/too"], "give the name of an account"),
        (["-e", "3", "-u", "me", "-n", "No_Name"], "give 5 to 50"),
        (["-e", "3", "-u", "me", "--hours", "0"], "more than 0"),
        (["-e", "3", "-u", "me", "--data", "folder"], "give OWNER/NAME of a data set"),
        (["-e", "3", "-u", "me", "--hours", "12"], "more than 0 and at most 11.5"),
        (["-e", "3", "-u", "me", "--repository", "runs"], "give OWNER/NAME on the Hub"),
        (["-e", "3", "-u", "me", "--clone", "https://me:key@x.org/a"], "https:// and no login"),
        (["-e", "3", "-u", "me", "-o", __file__], "give a folder"),
        (["-e", "3", "-u", "me", "-p", "--fetch"], "not allowed with"),
        (["-e", "3", "-u", "me", "--", "-e", "4"], "name every experiment before it"),
        (["-e", "3", "-u", "me", "--backend", "abacus"], "invalid choice"),
        (["-e", "3", "-u", "me", "--", "--data", "here"], "--data after -- is about files"),
        (["-e", "3", "-u", "me", "--", "-o", "here"], "-o after -- is about files"),
        (["-e", "3", "-u", "me", "--", "--epochs", "0"], "it must be at least 1"),
    ],
)
def test_mistakes_of_the_command_line(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert exit_code(main, arguments) == 2
    assert words in told(capsys)
    assert list(tmp_path.iterdir()) == []


def git(folder, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-C", str(folder)]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A small repository, cloned from another one that stands for GitHub."""
    root = tmp_path / "clone"
    for name in ("geoseg/a.py", "geoseg/samples/big.npy", "train/b.py", "pyproject.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "requirements.txt").touch()
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    return root


def unpacked(archive, folder):
    fake = {"clone": "", "archive": archive}
    remote_script.get_code(fake, folder)
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


PARTS = ["geoseg/a.py", "pyproject.toml", "requirements.txt", "train/b.py"]


def test_the_commit_comes_along_and_changes_do_not(clone, tmp_path):
    (clone / "geoseg/a.py").write_text("changed")
    (clone / "train/new.py").touch()
    commit, changed = job.find_commit(clone)
    assert changed == ["geoseg/a.py", "train/new.py"]
    (tmp_path / "teacher").write_text("t")
    teachers = {"checkpoints/1-t.safetensors": tmp_path / "teacher"}
    found = unpacked(job.pack_code(commit, teachers, clone), tmp_path / "there")
    assert found == ["checkpoints/1-t.safetensors", *PARTS]
    assert (tmp_path / "there" / "geoseg/a.py").read_text() == "geoseg/a.py"


def test_without_git_the_files_come_along_as_they_are(clone, tmp_path):
    shutil.rmtree(clone / ".git")
    (clone / "train/__pycache__").mkdir()
    (clone / "train/__pycache__/b.pyc").touch()
    assert job.find_commit(clone) == ("", [])
    assert unpacked(job.pack_code("", {}, clone), tmp_path / "there") == PARTS


def test_what_can_be_cloned(clone, tmp_path):
    commit, _ = job.find_commit(clone)
    with pytest.raises(RemoteError, match="no remote 'origin'"):
        job.find_clone_url(commit, clone)
    git(clone, "remote", "add", "origin", str(tmp_path / "else"))
    with pytest.raises(RemoteError, match="nobody else can clone"):
        job.find_clone_url(commit, clone)
    git(clone, "remote", "set-url", "origin", "http://me:secret@github.com/me/geoseg.git")
    with pytest.raises(RemoteError, match="can clone http://github"):
        job.find_clone_url(commit, clone)
    with pytest.raises(CloneError, match="no remote 'origin'"):
        find_origin(clone / "geoseg")  # that of a repository around it is another one's
    git(clone, "remote", "set-url", "origin", "git@github.com:me/geoseg.git")
    with pytest.raises(RemoteError, match="git push first"):
        job.find_clone_url(commit, clone)
    git(clone, "update-ref", "refs/remotes/origin/main", commit)
    assert job.find_clone_url(commit, clone) == "https://github.com/me/geoseg.git"
    git(clone, "remote", "set-url", "origin", "ssh://git@github.com:2222/me/geoseg.git")
    assert find_origin(clone) == "https://github.com/me/geoseg.git"
    token = "https://me:ghp_secret@github.com/me/geoseg.git"
    git(clone, "remote", "set-url", "origin", token)
    assert job.find_clone_url(commit, clone) == "https://github.com/me/geoseg.git"
    # And what is cloned is at the commit, whatever came after it.
    (clone / "train/b.py").write_text("later")
    git(clone, "commit", "--quiet", "-am", "two")
    remote_script.get_code({"clone": str(clone), "commit": commit}, tmp_path / "there")
    assert (tmp_path / "there" / "train/b.py").read_text() == "train/b.py"


def test_a_student_brings_its_teacher(tmp_path, capsys):
    runs = tmp_path / "runs"
    command = ["-e", "1004", "-u", "me", "--folder", str(tmp_path / "sent"), "-o", str(runs)]
    assert main(command) == 1
    assert "train that first (-e 53)" in told(capsys)
    teacher = runs / "53-flexible-64" / "best.safetensors"
    teacher.parent.mkdir(parents=True)
    teacher.write_bytes(os.urandom(1000))
    assert main(command) == 0
    settings = json.loads((tmp_path / "sent/train.ipynb").read_text())["cells"][1]["source"]
    space: dict = {}
    exec("".join(settings), space)
    assert "checkpoints/53-flexible-64.safetensors" in unpacked(
        space["ORDER"]["archive"], tmp_path / "there"
    )
    assert main([*command, "--clone", "https://example.org/geoseg.git"]) == 1
    assert "a clone does not have the teacher checkpoints/53-flexible-64" in told(capsys)
    teacher.write_bytes(os.urandom(1_000_000))
    assert main(command) == 1
    assert "too large to come along; add --clone" in told(capsys)
    assert main([*command, "--backend", "hf-jobs"]) == 0
    assert main([*command[2:], "-e", "53", "1004"]) == 0  # taught there


def test_runs_that_are_missing_are_named(kaggle, tmp_path, capsys):
    command = ["-e", "3", "300", "-u", "me", "--fetch", "-o", str(tmp_path / "runs")]
    assert main(command) == 1
    assert "there is no run of 300-vanilla" in told(capsys)
    assert (tmp_path / "runs" / RUN).is_dir()


def test_the_key_of_wandb_comes_from_the_secrets(monkeypatch, tmp_path, capsys):
    module = tmp_path / "kaggle_secrets.py"
    module.write_text(
        "class UserSecretsClient:\n    def get_secret(self, name):\n        return name.lower()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("WANDB_MODE", "offline")
    remote_script.set_up_tracking({"WANDB_MODE": "online"})
    assert os.environ["WANDB_API_KEY"] == "wandb_api_key"
    assert os.environ["WANDB_MODE"] == "online"


def test_when_the_time_is_over_the_training_is_asked_to_stop(tmp_path):
    code = tmp_path / "code" / "train"
    code.mkdir(parents=True)
    (code / "__main__.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(143)))\n"
        "print('begins')\ntime.sleep(60)\n"
    )
    job = {"arguments": [], "hours": 0.5 / 3600}
    log = tmp_path / "training.log"
    assert remote_script.train(job, code.parent, None, tmp_path / "runs", log) == 143
    assert log.read_text().split() == ["begins", "saved"]

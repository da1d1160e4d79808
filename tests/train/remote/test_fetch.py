"""`--fetch`: runs are checked, and replace only worse local runs."""

import json
import shutil
import signal
import tarfile
from pathlib import Path

import pytest

from geoseg import load_checkpoint, read_card, save_checkpoint
from tests.helpers.remote_training import COMMAND, RUN, SMALL, fetch, read_output
from tests.helpers.synthetic_data import make_data
from train.__main__ import main as train
from train.checkpointing import RunCheckpointer
from train.remote import remote_script
from train.remote.__main__ import main
from train.remote.job import RemoteError
from train.remote.results import FetchedRun, install_runs


def test_fetched_run_is_installed(finished_notebook, tmp_path, capsys):
    assert fetch(tmp_path) == 0
    best = tmp_path / "runs" / RUN / "best.safetensors"
    assert load_checkpoint(best).card.experiment["name"] == "unet-8-halving"
    iou = read_card(best).metrics["validation"]["iou"]
    output = read_output(capsys)
    assert f"best validation IoU {iou:.4f}" in output
    assert "wandb sync" in output
    assert finished_notebook.asked[0][1] == {"userName": "me", "kernelSlug": "geoseg-3"}
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [RUN]  # no temporary files beside it
    assert fetch(tmp_path) == 0
    assert "is already installed" in read_output(capsys)


def rescore(path: Path, iou: float, data: str | None = None) -> None:
    model = load_checkpoint(path)
    provenance = {**model.card.provenance, "metrics": {"validation": {"iou": iou}}}
    save_checkpoint(path, model, **provenance | ({} if data is None else {"data": data}))


def test_local_run_is_replaced_only_if_worse(finished_notebook, tmp_path, capsys):
    assert fetch(tmp_path) == 0
    best = tmp_path / "runs" / RUN / "best.safetensors"
    fetched = read_card(best).metrics["validation"]["iou"]
    rescore(best, 0.99)
    capsys.readouterr()
    assert fetch(tmp_path) == 1
    assert "is kept; --overwrite replaces it: best validation IoU 0.9900" in read_output(capsys)
    assert read_card(best).metrics["validation"]["iou"] == 0.99
    assert fetch(tmp_path, "--overwrite") == 0
    assert read_card(best).metrics["validation"]["iou"] == fetched
    rescore(best, -1.0)
    (best.parent / "note.txt").touch()
    assert fetch(tmp_path) == 0
    assert "replaces the local run" in read_output(capsys)
    assert read_card(best).metrics["validation"]["iou"] == fetched
    assert not (best.parent / "note.txt").exists()
    rescore(best, -1.0, "9 patches of data; 6 to train, 3 to validate")
    assert fetch(tmp_path) == 1
    assert "scored on other patches" in read_output(capsys)


def test_run_stopped_in_its_first_epoch_is_installed_and_resumed(tmp_path, monkeypatch, capsys):
    there, home = tmp_path / "there", tmp_path / "home"
    data = ["--data", str(make_data(tmp_path / "data", 4, 40))]
    command = [*COMMAND[:2], *data, *SMALL[1:], "-nowb"]
    with monkeypatch.context() as patch:
        patch.setattr(
            RunCheckpointer, "save_when_due", lambda _: signal.raise_signal(signal.SIGTERM)
        )
        assert train([*command, "-o", str(there)]) == 143
    assert not (there / RUN / "best.safetensors").exists()

    def install():
        remote_script.pack_runs({"commit": "", "arguments": []}, there, tmp_path, exit_code=143)
        runs, failure = install_runs(tmp_path, home, False, [RUN])
        assert "--resume continues it here" in failure
        return runs[0]

    assert install() == FetchedRun(RUN, True, "stopped in its first epoch")
    assert install() == FetchedRun(RUN, True, "is already installed")
    capsys.readouterr()
    assert train([*command, "-o", str(home), "--resume"]) == 0
    assert "after 0 epochs and 1 of " in read_output(capsys)
    run = install()
    assert not run.installed
    assert "is kept; --overwrite replaces it: the fetched one was stopped" in run.message
    shutil.rmtree(there / RUN / "resume")
    shutil.rmtree(home)
    assert "best.safetensors: there is no such file" in install().message


def test_incomparable_local_run_is_kept(finished_notebook, tmp_path, capsys):
    run = tmp_path / "runs" / RUN
    run.mkdir(parents=True)
    (run / "thesis.txt").touch()
    assert fetch(tmp_path) == 1
    assert "is kept; --overwrite replaces it: it cannot be compared" in read_output(capsys)
    assert (run / "thesis.txt").exists()
    assert fetch(tmp_path, "--overwrite") == 0
    # The best epochs are the same, but the fetched run has more epochs.
    last = load_checkpoint(run / "last.safetensors")
    provenance = {**last.card.provenance, "experiment": {**last.card.experiment, "epochs_done": 0}}
    save_checkpoint(run / "last.safetensors", last, **provenance)
    capsys.readouterr()
    assert fetch(tmp_path) == 0
    output = read_output(capsys)
    assert "replaces the local run" in output
    assert "Trained there: python -m train -e 3 --epochs 1 --cpu" in output


def test_interrupted_fetch_loses_no_run(finished_notebook, tmp_path, monkeypatch):
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


def test_run_with_broken_checkpoint_is_not_installed(results, tmp_path):
    with tarfile.open(results / "runs.tar") as packed:
        packed.extractall(tmp_path / "bad", filter="data")
    shutil.copytree(tmp_path / "bad" / RUN, tmp_path / "bad" / "4-good")
    (tmp_path / "bad" / RUN / "last.safetensors").write_bytes(b"x" * 100)
    downloaded = tmp_path / "downloaded"
    downloaded.mkdir()
    (tmp_path / "bad" / "4-good-fold-1").symlink_to(tmp_path)
    with tarfile.open(downloaded / "runs.tar", "w") as archive:
        for run in (RUN, "4-good", "4-good-fold-1"):
            archive.add(tmp_path / "bad" / run, run)
        archive.add(tmp_path / "bad" / "4-good", "5-not-asked-for")
    runs, failure = install_runs(downloaded, tmp_path / "runs", True, [RUN, "4-good"])
    assert {o.name: o.installed for o in runs} == {RUN: False, "4-good": True}
    assert "last.safetensors: not a whole safetensors file" in runs[0].message
    assert not (tmp_path / "runs" / RUN).exists()
    assert "did not finish" in failure


def test_archive_that_writes_outside_is_refused(tmp_path):
    with tarfile.open(tmp_path / "runs.tar", "w") as archive:
        archive.add(__file__, "../outside.py")
    with pytest.raises(RemoteError, match=r"runs.tar is damaged"):
        install_runs(tmp_path, tmp_path / "in" / "runs", False, [RUN])
    assert not (tmp_path / "in" / "outside.py").exists()


def test_failed_training_is_reported_with_its_last_lines(tmp_path):
    (tmp_path / "runs").mkdir()
    with tarfile.open(tmp_path / "runs.tar", "w"):
        pass
    (tmp_path / "training.log").write_text("begins\ntrain: no CUDA device\n")
    for code, message in (
        (1e400, "did not finish"),
        (2, "exit code 2\n  begins\n  train: no CUDA"),
        (-15, "time limit"),
    ):
        (tmp_path / "result.json").write_text(json.dumps({"exit_code": code}))
        runs, failure = install_runs(tmp_path, tmp_path / "home", False, [RUN])
        assert runs == []
        assert message in failure


def test_missing_runs_are_named(finished_notebook, tmp_path, capsys):
    command = ["-e", "3", "300", "-u", "me", "--fetch", "-o", str(tmp_path / "runs")]
    assert main(command) == 1
    assert "there is no run of 300-vanilla" in read_output(capsys)
    assert (tmp_path / "runs" / RUN).is_dir()

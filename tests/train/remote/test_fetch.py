"""`--fetch`: runs are checked, and replace local runs only on request."""

import shutil
import signal
import tarfile

import pytest

from geoseg import load_checkpoint, read_card
from tests.helpers.remote_training import COMMAND, RUN, SMALL, fetch, read_output
from tests.helpers.synthetic_data import make_data
from train.__main__ import main as train
from train.checkpointing import RunCheckpointer
from train.remote import RemoteError, remote_script
from train.remote.__main__ import main
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


def test_local_run_is_replaced_only_with_overwrite(finished_notebook, tmp_path, capsys):
    run = tmp_path / "runs" / RUN
    run.mkdir(parents=True)
    (run / "thesis.txt").touch()
    assert fetch(tmp_path) == 1
    assert f"{run}: kept as it is here; --overwrite replaces it" in read_output(capsys)
    assert [path.name for path in run.iterdir()] == ["thesis.txt"]
    assert fetch(tmp_path, "--overwrite") == 0
    assert (run / "best.safetensors").exists()
    assert not (run / "thesis.txt").exists()


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

    remote_script.pack_runs(there, tmp_path, 143)
    runs = install_runs(tmp_path / "runs.tar", home, False, [RUN])
    assert runs == [FetchedRun(RUN, True, "stopped in its first epoch")]
    capsys.readouterr()
    assert train([*command, "-o", str(home), "--resume"]) == 0
    assert "after 0 epochs and 1 of " in read_output(capsys)
    (run,) = install_runs(tmp_path / "runs.tar", home, False, [RUN])
    assert not run.installed
    assert load_checkpoint(home / RUN / "best.safetensors").card.experiment["epochs_done"] == 1


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
    archive = downloaded / "runs.tar"
    runs = install_runs(archive, tmp_path / "runs", True, [RUN, "4-good"])
    assert {o.name: o.installed for o in runs} == {RUN: False, "4-good": True}
    assert "last.safetensors: not a whole safetensors file" in runs[0].message
    assert not (tmp_path / "runs" / RUN).exists()


def test_archive_that_writes_outside_is_refused(tmp_path):
    with tarfile.open(tmp_path / "runs.tar", "w") as archive:
        archive.add(__file__, "../outside.py")
    with pytest.raises(RemoteError, match=r"runs.tar is damaged"):
        install_runs(tmp_path / "runs.tar", tmp_path / "in" / "runs", False, [RUN])
    assert not (tmp_path / "in" / "outside.py").exists()


def test_missing_runs_are_named(finished_notebook, tmp_path, capsys):
    command = ["-e", "3", "300", "-u", "me", "--fetch", "-o", str(tmp_path / "runs")]
    assert main(command) == 1
    assert "there is no run of 300-vanilla" in read_output(capsys)
    assert (tmp_path / "runs" / RUN).is_dir()

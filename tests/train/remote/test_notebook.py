"""The notebook: what is written, and what it does when it runs."""

import json
import os
import tarfile

import pytest

from geoseg import load_checkpoint
from tests.helpers.remote_training import COMMAND, RUN, read_output
from train.remote import remote_script
from train.remote.__main__ import main


def test_notebook_and_metadata_are_valid(notebook_folder):
    nbformat = pytest.importorskip("nbformat", reason="needs pip install nbformat")
    notebook = nbformat.read(notebook_folder / "train.ipynb", as_version=4)
    nbformat.validate(notebook)
    metadata = json.loads((notebook_folder / "kernel-metadata.json").read_text())
    assert metadata["id"] == "me/geoseg-3"
    assert (metadata["enable_internet"], metadata["enable_gpu"]) == (True, False)  # for --cpu
    assert metadata["code_file"] == "train.ipynb"
    assert metadata["dataset_sources"] == [
        "balthazarneveu/mva-geosciences-segmentation-dataset-slb"
    ]


def test_gpu_is_requested_and_required(tmp_path, capsys):
    command = ["-e", "300", "301", "-u", "me", "--folder", str(tmp_path), "-nowb"]
    assert main([*command, "--", "--fresh"]) == 0
    metadata = json.loads((tmp_path / "kernel-metadata.json").read_text())
    assert (metadata["enable_gpu"], metadata["machine_shape"]) == (True, "NvidiaTeslaT4")
    assert metadata["dataset_sources"] == []  # synthetic pipes are made there
    output = read_output(capsys)
    assert "python -m train -e 300 301 --fresh -nowb --device cuda" in output
    assert main([*command, "--", "--fresh=4096", "--device", "cuda:0"]) == 0
    again = json.loads((tmp_path / "kernel-metadata.json").read_text())
    assert again == metadata
    assert "Nothing was sent. To send it, repeat the command with -p" in output


def test_notebook_trains_and_packs_the_run(results):
    assert json.loads((results / "result.json").read_text()) == {"exit_code": 0}
    assert sorted(p.name for p in results.iterdir()) == ["result.json", "runs.tar"]
    with tarfile.open(results / "runs.tar") as packed:
        packed.extractall(results.parent / "unpacked", filter="data")
    run = results.parent / "unpacked" / RUN
    for name in ("best", "last"):
        model = load_checkpoint(run / f"{name}.safetensors")
        assert model.count_parameters() == 12_250
        assert "30 to train, 10 to validate" in model.card.data
    assert list(run.glob("wandb/offline-run-*"))


def test_wandb_key_comes_from_kaggle_secrets(monkeypatch, tmp_path, capsys):
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


def test_trainer_is_stopped_after_its_hours(tmp_path, capsys):
    code = tmp_path / "code" / "train"
    code.mkdir(parents=True)
    (code / "__main__.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(143)))\n"
        "print('begins')\ntime.sleep(60)\n"
    )
    job = {"arguments": [], "hours": 4 / 3600}
    assert remote_script.train(job, code.parent, None, tmp_path / "runs") == 143
    assert read_output(capsys) == "begins saved"


def read_job(folder):
    """Return the job that a notebook defines."""
    cells = json.loads((folder / "train.ipynb").read_text())["cells"]
    namespace: dict = {}
    exec("".join(cells[1]["source"]), namespace)
    return namespace["JOB"]


def test_wandb_variables_are_sent_without_the_key(tmp_path, monkeypatch):
    for name in ("MODE", "BASE_URL", "PROJECT", "RUN_GROUP", "TAGS"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "w" * 40)
    monkeypatch.setenv("WANDB_ENTITY", "corp")
    command = [*COMMAND, "--folder", str(tmp_path), "--clone", "https://example.org/geoseg.git"]
    assert main(command) == 0
    assert read_job(tmp_path)["tracking"] == {"WANDB_ENTITY": "corp"}
    assert "w" * 40 not in (tmp_path / "train.ipynb").read_text()
    for options in (["-nowb"], ["--", "-nowb"]):
        assert main([*command, *options]) == 0
        assert "-nowb" in read_job(tmp_path)["arguments"]
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert main(command) == 0
    assert read_job(tmp_path)["tracking"]["WANDB_MODE"] == "disabled"


def test_missing_data_set_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOSEG_INPUT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="add it to the notebook as an input"):
        remote_script.find_data()

"""`python -m geoseg.dataset download`, with a local server that imitates Kaggle."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from geoseg.dataset import PatchDataset
from geoseg.dataset.__main__ import main
from tests.helpers.kaggle_server import kaggle_server
from tests.helpers.synthetic_data import exit_code, make_data


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    with kaggle_server(monkeypatch, str(tmp_path / "home")) as server:
        yield server


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 3, 12)


def make_zip(folder: Path, inside: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, f"{inside}{path.relative_to(folder)}")
    return file.getvalue()


def serve_zip(kaggle, content: bytes) -> None:
    kaggle.answers["GetDataset"] = (200, {"currentVersionNumber": 3})
    kaggle.answers["DownloadDataset"] = (200, content)


def list_patches(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.npy")}


def test_data_set_is_downloaded_checked_and_laid_out(kaggle, data, tmp_path, monkeypatch, capsys):
    serve_zip(kaggle, make_zip(data, "deep/inside/"))
    monkeypatch.chdir(tmp_path)
    assert main(["download"]) == 0
    assert list_patches(tmp_path / "data") == list_patches(data)
    assert len(PatchDataset.load(tmp_path / "data")) == 12
    output = capsys.readouterr()
    assert "12 patches kept, 0 files rejected" in output.out
    slugs = {message.get("datasetSlug") for _, message in kaggle.asked}
    assert slugs == {"mva-geosciences-segmentation-dataset-slb"}
    # A second download asks Kaggle for the version only.
    del kaggle.answers["DownloadDataset"]
    assert main(["download", "--out", "deeper/copy"]) == 0
    assert list_patches(tmp_path / "deeper" / "copy") == list_patches(data)


def test_other_handle_is_downloaded_and_rejections_are_reported(kaggle, data, tmp_path, capsys):
    archive = io.BytesIO(make_zip(data))
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("train/images/holiday.jpg", b"")
    serve_zip(kaggle, archive.getvalue())
    out = tmp_path / "mine"
    assert main(["download", "--handle", "me/pipes", "--out", str(out)]) == 0
    output = capsys.readouterr()
    assert "1 file rejected" in output.out
    assert "holiday.jpg" in output.out


def test_dry_run_sends_no_request(kaggle, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    out = tmp_path / "new" / "data"
    assert main(["download", "--handle", "me/pipes", "--out", str(out), "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert f"Would download https://www.kaggle.com/datasets/me/pipes to {out}" in output
    assert kaggle.asked == []
    assert not out.parent.exists()
    command = ["download", "--out", str(tmp_path / "new"), "--handle", "me", "--dry-run"]
    assert exit_code(main, command) == 2


@pytest.mark.parametrize("out", ["file/data", "/proc/data"])
def test_unwritable_folder_is_an_error_before_the_download(kaggle, out, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["download", "--out", str(tmp_path / out)]) == 1
    assert f"{out} cannot be written" in " ".join(capsys.readouterr().err.split())
    assert kaggle.asked == []


def test_extra_files_of_macos_are_ignored(kaggle, data, tmp_path, capsys):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(data.rglob("*.npy")):
            name = path.relative_to(data)
            file.write(path, name)
            file.writestr(f"__MACOSX/{name.parent}/._{name.name}", b"Mac OS X")
        file.writestr("train/images/._well_1_patch_0.npy", b"Mac OS X")
        file.writestr("train/images/.DS_Store", b"Mac OS X")
        file.writestr("extra/train/images/readme.txt", b"what this is")
    serve_zip(kaggle, archive.getvalue())
    out = tmp_path / "data"
    assert main(["download", "--handle", "me/pipes", "--out", str(out)]) == 0
    assert list_patches(out) == list_patches(data)
    assert "12 patches kept, 0 files rejected" in capsys.readouterr().out


def test_archive_with_two_data_sets_is_an_error(kaggle, data, tmp_path, capsys):
    archive = io.BytesIO(make_zip(data, "old/"))
    with zipfile.ZipFile(archive, "a") as file:
        for path in data.rglob("*.npy"):
            file.write(path, f"new/{path.relative_to(data)}")
    serve_zip(kaggle, archive.getvalue())
    assert main(["download", "--handle", "me/pipes", "--out", str(tmp_path / "data")]) == 1
    assert "has 2 folders with {train,validation,test}/images" in " ".join(
        capsys.readouterr().err.split()
    )


def test_damaged_file_is_named(kaggle, data, tmp_path, capsys):
    serve_zip(kaggle, make_zip(data))
    command = ["download", "--handle", "me/pipes", "--out"]
    assert main([*command, str(tmp_path / "a")]) == 0
    damaged = min((tmp_path / "home" / "datasets").rglob("train/images/*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    capsys.readouterr()
    assert main([*command, str(tmp_path / "b")]) == 0
    output = capsys.readouterr().out
    assert "11 patches kept, 1 file rejected" in output
    assert "train/images/well_1_patch_0.npy: is truncated" in output
    assert list_patches(tmp_path / "b") == list_patches(data)


def test_damaged_archive_on_kaggle_is_an_error(kaggle, data, tmp_path, capsys):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("train/images/well_1_patch_0.npy", b"no patch")
    serve_zip(kaggle, archive.getvalue())
    assert main(["download", "--handle", "me/pipes", "--out", str(tmp_path / "data")]) == 1
    output = " ".join(capsys.readouterr().err.split())
    assert "no usable patch in me/pipes: 1 file rejected, the first train/images/well_1_" in output
    assert "to download it again" in output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "kaggle.com/settings/api"),
        (403, "accept the terms"),
        (404, "Kaggle answers 404 for me/pipes; check the name"),
        (500, "Kaggle answers 500"),
    ],
)
def test_refusal_of_kaggle_says_what_to_do(kaggle, status, words, tmp_path, capsys):
    kaggle.answers["GetDataset"] = (status, {"code": status, "message": "no"})
    assert main(["download", "--handle", "me/pipes", "--out", str(tmp_path / "data")]) == 1
    output = " ".join(capsys.readouterr().err.split())
    assert words in output
    assert not (tmp_path / "data").exists()


def test_unreachable_kaggle_is_an_error(kaggle, monkeypatch, tmp_path, capsys):
    from kagglesdk import kaggle_env

    nowhere = "http://127.0.0.1:9"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, nowhere)
    assert main(["download", "--out", str(tmp_path / "data")]) == 1
    output = " ".join(capsys.readouterr().err.split())
    assert "cannot be reached" in output
    assert "in a browser" in output


def test_malformed_token_is_an_error_that_hides_it(kaggle, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_sec\nret")
    assert main(["download", "--out", str(tmp_path / "data")]) == 1
    words = capsys.readouterr().err
    assert "the Kaggle token is malformed; log in" in words
    assert "KGAT" not in words


def test_missing_kagglehub_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert main(["download", "--out", str(tmp_path / "data")]) == 1
    assert "pip install kagglehub" in capsys.readouterr().err


def test_archive_without_data_set_is_an_error(kaggle, tmp_path, capsys):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    serve_zip(kaggle, file.getvalue())
    assert main(["download", "--out", str(tmp_path / "data")]) == 1
    assert "{train,validation,test}/images" in " ".join(capsys.readouterr().err.split())
    serve_zip(kaggle, b"no archive")
    command = ["download", "--handle", "me/other", "--out", str(tmp_path / "data")]
    assert main(command) == 1
    assert "kagglehub: Unsupported archive" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "data").exists()


def test_full_disk_or_interrupt_leaves_nothing(kaggle, data, tmp_path, monkeypatch, capsys):
    serve_zip(kaggle, make_zip(data))
    out = tmp_path / "there" / "data"
    for error, code in ((OSError(28, "No space left on device"), 1), (KeyboardInterrupt(), 130)):
        copied = []

        def copy(source, target, copied=copied, error=error):
            if len(copied) == 5:
                raise error
            copied.append(target)
            np.save(target, np.zeros(1))

        monkeypatch.setattr("shutil.copyfile", copy)
        assert main(["download", "--out", str(out)]) == code
        assert len(copied) == 5
        assert list(out.parent.iterdir()) == []
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--handle", "nonsense"], "give OWNER/NAME"),
        (["--handle", "../.."], "give OWNER/NAME"),
        (["--handle", "me/pipes/versions/latest"], "give OWNER/NAME"),
        (["--out", "{full}"], "is not an empty folder"),
        (["--out", "{file}"], "is not an empty folder"),
    ],
)
def test_wrong_arguments_are_errors(kaggle, arguments, words, data, tmp_path, capsys):
    (tmp_path / "file").touch()
    places = {"full": data, "file": tmp_path / "file"}
    command = ["download", "--out", str(tmp_path / "data")]
    assert exit_code(main, [*command, *(a.format(**places) for a in arguments)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert kaggle.asked == []

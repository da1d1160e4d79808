"""Every foreign file is named with its remedy, wherever it is opened."""

import gzip
import importlib
import io
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors

from geoseg import CheckpointError, DatasetError, PatchError, load_checkpoint, read_card, read_patch
from geoseg.dataset.challenge import read_masks
from geoseg.file_kinds import describe_foreign_file
from geoseg.masks import read_mask
from tests.helpers import ROOT

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5312\n"


def saved(save, *arguments, **options) -> bytes:
    file = io.BytesIO()
    save(*arguments, file, **options) if save is not np.savez else np.savez(file, *arguments)
    return file.getvalue()


KINDS = {
    "pointer": (POINTER, "git lfs pull"),
    "gzip": (gzip.compress(b"1,2,3"), "gunzip"),
    "torch": (saved(torch.save, {"a": torch.zeros(3)}), "torch.save"),
    "old torch": (
        saved(torch.save, {"a": torch.zeros(3)}, _use_new_zipfile_serialization=False),
        "is a pickle",
    ),
    "pickle": (pickle.dumps({"a": 1}), "is a pickle"),
    "npz": (saved(np.savez, np.zeros(3)), "npz or zip"),
    "empty": (b"", "is empty"),
    "web page": (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
    "UTF-16": ("a;b".encode("utf-16"), "UTF-16"),
}
WAYS = {
    "read_patch": (read_patch, ".npy", PatchError),
    "read_mask": (read_mask, ".npy", PatchError),
    "load_checkpoint": (load_checkpoint, ".safetensors", CheckpointError),
    "read_card": (read_card, ".safetensors", CheckpointError),
    "read_masks": (read_masks, ".csv", DatasetError),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_foreign_files_are_named_by_every_way_in(tmp_path, kind, way):
    content, words = KINDS[kind]
    read, extension, error = WAYS[way]
    path = tmp_path / f"x{extension}"
    path.write_bytes(content)
    if way == "read_mask" and kind in ("npz", "torch"):
        words = "mask"  # an archive may hold a mask
    with pytest.raises(error, match=words) as caught:
        read(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_and_checkpoints_are_told_apart(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((36, 36)))
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "x.npy").read_bytes())
    with pytest.raises(CheckpointError, match=r"is a \.npy array"):
        load_checkpoint(tmp_path / "x.safetensors")
    (tmp_path / "y.npy").write_bytes(save_safetensors({"a": torch.zeros(3)}))
    with pytest.raises(PatchError, match="is a safetensors checkpoint"):
        read_patch(tmp_path / "y.npy")


@pytest.mark.parametrize("content", [b"depth,1,2\n", b"\x00\x01\x02\x03", b"hello, world"])
def test_other_bytes_are_of_no_known_kind(content):
    assert describe_foreign_file(content) is None


COMMANDS = {
    "geoseg": ("segment", "{samples}", "-o", "{out}", "--checkpoint", "{x}"),
    "train.evaluate": ("{x}",),
    "train.quantise": ("{x}", "-o", "{out}/y.safetensors"),
    "train": ("-e", "300", "-nowb", "-o", "{out}", "--teacher", "{x}"),
    "train.publish": ("{x}", "--to", "a/b", "--dry-run"),
    "app": ("--checkpoints", "{folder}", "--port", "47321"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_a_pointer_in_one_sentence(tmp_path, command, capsys, monkeypatch):
    path = tmp_path / "3-x.safetensors"
    path.write_bytes(POINTER)
    names = {"x": path, "folder": tmp_path, "out": tmp_path / "out"}
    names["samples"] = ROOT / "geoseg" / "samples" / "validation" / "images"
    words = [word.format(**names) for word in COMMANDS[command]]
    monkeypatch.chdir(ROOT)
    name = command if command in ("app", "train.quantise") else f"{command}.__main__"
    module = importlib.import_module(name)
    try:
        code = module.main(words)
    except SystemExit as exit:
        code = exit.code
    assert code in (1, 2)
    printed = capsys.readouterr().err
    assert "3-x.safetensors: is a Git LFS pointer" in printed
    assert "git lfs pull" in printed


def test_the_page_leaves_out_a_checkpoint_that_it_cannot_use(tmp_path, capsys):
    from app import select_checkpoints

    shutil.copy(ROOT / "checkpoints" / "300-vanilla.safetensors", tmp_path)
    (tmp_path / "3-x.safetensors").write_bytes(POINTER)
    assert [p.stem for p in select_checkpoints(str(tmp_path), [])] == ["300-vanilla"]
    assert "3-x.safetensors: is a Git LFS pointer" in capsys.readouterr().err
    assert [p.stem for p in select_checkpoints(str(tmp_path), ["x"])] == ["3-x"]

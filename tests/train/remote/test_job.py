"""The command line, and the code and teachers that are sent."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers.remote_training import read_output
from tests.helpers.synthetic_data import exit_code
from train.git import CloneError, find_clone_url, find_commit, find_origin, pack_code
from train.remote import remote_script
from train.remote.__main__ import main

PARTS = ["geoseg/a.py", "pyproject.toml", "requirements.txt", "train/b.py"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-e", "999", "-u", "me"], "no experiment '999'"),
        (["-e", "3"], "-u/--user"),
        (["-e", "3", "-u", "me/too"], "give the name of an account"),
        (["-e", "3", "-u", "me", "-n", "No_Name"], "give 5 to 50"),
        (["-e", "3", "-u", "me", "--hours", "0"], "give more than 0"),
        (["-e", "3", "-u", "me", "--data", "folder"], "give OWNER/NAME"),
        (["-e", "3", "-u", "me", "--hours", "12"], "give more than 0, at most 11.5"),
        (["-e", "3", "-u", "me", "--clone", "https://me:key@x.org/a"], "https:// and no login"),
        (["-e", "3", "-u", "me", "-p", "--fetch"], "not allowed with"),
        (["-e", "3", "-u", "me", "--", "-e", "4"], "-e after -- does not work"),
        (
            ["-e", "3", "-u", "me", "--", "--data", "here"],
            "--data after -- does not work on another machine",
        ),
        (
            ["-e", "3", "-u", "me", "--", "-o", "here"],
            "-o after -- does not work on another machine",
        ),
        (
            ["-e", "3", "-u", "me", "--", "--teacher=t", "--list"],
            "--teacher after -- does not work",
        ),
        (["-e", "3", "-u", "me", "--", "--list"], "--list after -- does not work"),
    ],
)
def test_wrong_command_line_exits_with_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert exit_code(main, arguments) == 2
    assert message in read_output(capsys)
    assert list(tmp_path.iterdir()) == []


def git(folder, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-C", str(folder)]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Create a small git repository."""
    root = tmp_path / "clone"
    for name in (
        "geoseg/a.py",
        "geoseg/samples/validation/big.npy",
        "train/b.py",
        "pyproject.toml",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "requirements.txt").touch()
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    return root


def test_packed_code_runs_alone(tmp_path):
    remote_script.get_code({"clone": "", "archive": pack_code("", {})}, tmp_path)
    # Without the finder of the editable installation, which would find modules of this clone.
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import geoseg, train.__main__\n"
        "print(geoseg.__file__)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path))


def unpacked(archive, folder):
    sent = {"clone": "", "archive": archive}
    remote_script.get_code(sent, folder)
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_committed_code_is_sent_without_changes(clone, tmp_path):
    (clone / "geoseg/a.py").write_text("changed")
    (clone / "train/new.py").touch()
    commit, changed = find_commit(clone)
    assert changed == ["geoseg/a.py", "train/new.py"]
    (tmp_path / "teacher").write_text("t")
    teachers = {"checkpoints/1-t.safetensors": tmp_path / "teacher"}
    found = unpacked(pack_code(commit, teachers, clone), tmp_path / "there")
    assert found == ["checkpoints/1-t.safetensors", *PARTS]
    assert (tmp_path / "there" / "geoseg/a.py").read_text() == "geoseg/a.py"


def test_files_are_sent_without_git(clone, tmp_path):
    shutil.rmtree(clone / ".git")
    (clone / "train/__pycache__").mkdir()
    (clone / "train/__pycache__/b.pyc").touch()
    assert find_commit(clone) == ("", [])
    assert unpacked(pack_code("", {}, clone), tmp_path / "there") == PARTS


def test_clone_address_must_be_public_and_pushed(clone, tmp_path):
    commit, _ = find_commit(clone)
    with pytest.raises(CloneError, match="No such remote 'origin'"):
        find_clone_url(commit, clone)
    git(clone, "remote", "add", "origin", str(tmp_path / "else"))
    with pytest.raises(CloneError, match="other machines cannot clone"):
        find_clone_url(commit, clone)
    git(clone, "remote", "set-url", "origin", "http://me:secret@github.com/me/geoseg.git")
    with pytest.raises(CloneError, match="cannot clone http://github"):
        find_clone_url(commit, clone)
    with pytest.raises(CloneError, match="not a git repository"):
        find_origin(clone / "geoseg")  # a repository around it does not count
    git(clone, "remote", "set-url", "origin", "git@github.com:me/geoseg.git")
    with pytest.raises(CloneError, match="git push first"):
        find_clone_url(commit, clone)
    git(clone, "update-ref", "refs/remotes/origin/main", commit)
    assert find_clone_url(commit, clone) == "https://github.com/me/geoseg.git"
    git(clone, "remote", "set-url", "origin", "ssh://git@github.com:2222/me/geoseg.git")
    assert find_origin(clone) == "https://github.com/me/geoseg.git"
    token = "https://me:ghp_secret@github.com/me/geoseg.git"
    git(clone, "remote", "set-url", "origin", token)
    assert find_clone_url(commit, clone) == "https://github.com/me/geoseg.git"
    # The clone is at the commit, not at a later one.
    (clone / "train/b.py").write_text("later")
    git(clone, "commit", "--quiet", "-am", "two")
    remote_script.get_code({"clone": str(clone), "commit": commit}, tmp_path / "there")
    assert (tmp_path / "there" / "train/b.py").read_text() == "train/b.py"


def test_teacher_is_sent_with_its_student(tmp_path, capsys):
    runs = tmp_path / "runs"
    command = ["-e", "1004", "-u", "me", "--folder", str(tmp_path / "sent"), "-o", str(runs)]
    assert main(command) == 2
    assert "train that first (-e 53)" in read_output(capsys)
    teacher = runs / "53-flexible-64" / "best.safetensors"
    teacher.parent.mkdir(parents=True)
    teacher.write_bytes(os.urandom(1000))
    assert main(command) == 0
    settings = json.loads((tmp_path / "sent/train.ipynb").read_text())["cells"][1]["source"]
    space: dict = {}
    exec("".join(settings), space)
    assert "checkpoints/53-flexible-64.safetensors" in unpacked(
        space["JOB"]["archive"], tmp_path / "there"
    )
    teacher.write_bytes(os.urandom(1_000_000))
    assert main(command) == 1
    assert "too large to send; add --clone" in read_output(capsys)
    assert main([*command[2:], "-e", "53", "1004"]) == 0  # trained there

"""Atomic writes: a failure leaves the previous content."""

import os
import stat

import pytest

from geoseg.atomic_files import atomic_write, atomic_write_text, check_writable


def test_atomic_write_replaces_the_file_and_creates_folders(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["file.txt"]


def test_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("good")

    def write_half():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "good"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_written_file_has_the_mode_of_a_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "file") as temporary:
        temporary.unlink()
        temporary.touch(0o600)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_check_writable_leaves_no_file(tmp_path):
    check_writable(tmp_path / "new" / "file.txt")
    assert os.listdir(tmp_path / "new") == []
    with pytest.raises(OSError, match="new cannot be written: it is a folder; name a file"):
        check_writable(tmp_path / "new")


@pytest.mark.skipif(os.name != "posix", reason="links and devices are POSIX")
def test_links_are_followed_and_devices_refused(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    atomic_write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a device"):
        atomic_write_text(tmp_path / "pipe", "new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

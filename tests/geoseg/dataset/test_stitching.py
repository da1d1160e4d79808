"""`python -m geoseg.dataset stitch`: recover the logs that patches were cut from."""

import errno
from pathlib import Path

import numpy as np
import pytest

from geoseg import read_mask, read_patch, synthesize
from geoseg.dataset.__main__ import main
from geoseg.twins import split_twins
from tests.helpers.synthetic_data import exit_code


def cut_log(root: Path, well: int, log, mask=None, step=36, split="train", skip=()) -> None:
    """Write a log (Z, 36), or (Z, 72) as twins, in patches of 36 rows that begin `step` apart."""
    for kind, array in (("images", log), ("labels", mask)):
        if array is None:
            continue
        folder = root / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        twins = split_twins(array) if array.shape[1] == 72 else array[None]
        for k in range((len(array) - 36) // step + 1):
            for twin, part in enumerate(twins):
                index = k * len(twins) + twin
                if index not in skip:
                    patch = part[k * step : k * step + 36]
                    np.save(folder / f"well_{well}_patch_{index}.npy", patch)


@pytest.fixture(scope="module")
def single_log():
    logs = synthesize(1, 360, seed=3)
    return logs.images[0].numpy(), logs.masks[0].numpy()


@pytest.fixture(scope="module")
def twin_log():
    logs = synthesize(1, 360, columns=72, seed=4)
    return logs.images[0].numpy(), logs.masks[0].numpy()


def stitch_folder(root: Path, out: Path, *more) -> Path:
    assert main(["stitch", str(root), "--out", str(out), *map(str, more)]) == 0
    return out


def test_logs_and_masks_are_recovered_bit_for_bit(single_log, twin_log, tmp_path, capsys):
    cut_log(tmp_path / "data", 5, *single_log)
    cut_log(tmp_path / "data", 6, *twin_log, split="validation")
    cut_log(tmp_path / "data", 6, single_log[0], split="test")
    out = stitch_folder(tmp_path / "data", tmp_path / "logs")
    for name, log in (("well_5", single_log), ("well_6", twin_log)):
        assert np.array_equal(read_patch(out / f"{name}.npy"), log[0], equal_nan=True)
        assert np.array_equal(read_mask(out / "labels" / f"{name}.npy"), log[1])
    assert np.array_equal(read_patch(out / "test" / "well_6.npy"), single_log[0], equal_nan=True)
    assert sorted(p.name for p in out.rglob("labels/*")) == ["well_5.npy", "well_6.npy"]
    output = capsys.readouterr().out
    assert "72 in twins" in output
    assert "3 logs written" in output


def test_gaps_are_null_and_their_labels_unknown(single_log, tmp_path, capsys):
    log, mask = single_log
    cut_log(tmp_path / "data", 1, log, mask, skip=(0, 4))
    (tmp_path / "data/train/labels/well_1_patch_7.npy").unlink()
    out = stitch_folder(tmp_path / "data", tmp_path / "logs")
    image, label = (
        read_patch(out / "well_1.npy"),
        read_mask(out / "labels/well_1.npy", unknown=True),
    )
    gap = np.zeros(360, bool)
    gap[:36] = gap[144:180] = True
    assert np.isnan(image[gap]).all()
    assert np.array_equal(image[~gap], log[~gap], equal_nan=True)  # patch 7 too
    gap[252:288] = True
    assert (label[gap] == 255).all()
    assert np.array_equal(label[~gap], mask[~gap])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "well_1 " in line]
    assert line.split()[1:4] == ["8", "360", "72"]


def test_mostly_null_patch_is_part_of_its_log(single_log, tmp_path):
    log = single_log[0].copy()
    log[40:70] = np.nan
    cut_log(tmp_path / "data", 1, log)
    image = read_patch(stitch_folder(tmp_path / "data", tmp_path / "logs") / "well_1.npy")
    assert np.array_equal(image, log, equal_nan=True)


@pytest.mark.parametrize("which", ["single_log", "twin_log"])
def test_overlap_is_detected(which, tmp_path, request, capsys):
    log, mask = request.getfixturevalue(which)
    cut_log(tmp_path / "data", 1, log, mask, step=27)
    out = stitch_folder(tmp_path / "data", tmp_path / "logs")
    assert np.array_equal(read_patch(out / "well_1.npy"), log, equal_nan=True)
    assert np.array_equal(read_mask(out / "labels/well_1.npy"), mask)
    assert "9 rows" in capsys.readouterr().out


def test_given_overlap_with_conflicts_is_averaged_and_warned_about(single_log, tmp_path, capsys):
    log, mask = single_log
    cut_log(tmp_path / "data", 1, log, mask, step=18)
    images, labels = (tmp_path / "data/train" / kind for kind in ("images", "labels"))
    image = read_patch(images / "well_1_patch_1.npy")
    np.save(images / "well_1_patch_1.npy", image * np.float32(1.5))
    np.save(labels / "well_1_patch_1.npy", np.ones((36, 36)))
    out = stitch_folder(tmp_path / "data", tmp_path / "logs", "--overlap", 18)
    image, label = read_patch(out / "well_1.npy"), read_mask(out / "labels/well_1.npy")
    assert np.allclose(image[18:54], log[18:54] * 1.25, atol=1e-6, equal_nan=True)
    assert np.array_equal(image[54:], log[54:], equal_nan=True)
    assert label[18:54].all()
    assert np.array_equal(label[54:], mask[54:])
    output = capsys.readouterr().out
    conflicts = int((~np.isnan(log[18:54])).sum() + (mask[18:54] == 0).sum())
    assert f"{conflicts:,}" in output
    assert "Warning: the patches of well_1 differ where they overlap, and their mean is" in output


def test_twins_can_be_given(twin_log, tmp_path, capsys):
    log, _ = twin_log
    cut_log(tmp_path / "data", 3, log[:36])
    cut_log(tmp_path / "data", 4, log, split="test")
    (tmp_path / "data/train/images/well_3_patch_1.npy").unlink()
    out = stitch_folder(tmp_path / "data", tmp_path / "a")
    assert read_patch(out / "well_3.npy").shape == (36, 36)
    assert read_patch(out / "test/well_4.npy").shape == (360, 72)
    output = capsys.readouterr().out
    assert "Warning: the patches of well_3 have no pair 2k and 2k + 1 that shows" in output
    out = stitch_folder(tmp_path / "data", tmp_path / "b", "--twins", 3)
    image = read_patch(out / "well_3.npy")
    assert np.array_equal(image[:, ::2], log[:36, ::2], equal_nan=True)
    assert np.isnan(image[:, 1::2]).all()
    assert read_patch(out / "test/well_4.npy").shape == (720, 36)
    out = stitch_folder(tmp_path / "data", tmp_path / "c", "--twins", "test/well_4")
    assert read_patch(out / "test/well_4.npy").shape == (360, 72)


def test_wrongly_given_twins_are_warned_about(single_log, twin_log, tmp_path, capsys):
    cut_log(tmp_path / "data", 1, single_log[0])
    cut_log(tmp_path / "data", 2, twin_log[0])
    stitch_folder(tmp_path / "data", tmp_path / "a")
    assert "Warning" not in capsys.readouterr().out
    out = stitch_folder(tmp_path / "data", tmp_path / "b", "--twins", 1)
    output = capsys.readouterr().out
    assert "Warning: the patches of well_1 are not twins; check --twins." in output
    assert "Warning: the patches of well_2 are twins; check --twins." in output
    assert read_patch(out / "well_1.npy").shape == (180, 72)


def test_constant_patches_have_no_correlation(tmp_path, capsys):
    cut_log(tmp_path / "data", 1, np.full((72, 36), 0.5, np.float32))
    stitch_folder(tmp_path / "data", tmp_path / "logs")
    output = capsys.readouterr().out
    assert "nan" not in output
    (line,) = [line for line in output.splitlines() if line.startswith("well_1 ")]
    assert line.split()[4:7] == ["36", "1", "-"]
    assert "Warning: the patches of well_1 have no pair 2k and 2k + 1 that shows" in output


def test_less_common_size_is_left_out(single_log, twin_log, tmp_path, capsys):
    """Check that patches of 36x72 stay: they are the majority, though they have no label."""
    cut_log(tmp_path / "data", 1, single_log[0][:108], single_log[1][:108])
    folder = tmp_path / "data/validation/images"
    folder.mkdir(parents=True)
    (folder.parent / "labels").mkdir()
    for i in range(4):
        np.save(folder / f"well_2_patch_{i}.npy", twin_log[0][36 * i : 36 * i + 36])
    out = stitch_folder(tmp_path / "data", tmp_path / "logs")
    assert [path.name for path in out.rglob("*.npy")] == ["well_2.npy"]
    output = capsys.readouterr().out
    assert "3 of another size" in output
    assert "4 without a label" in output


def test_dry_run_writes_nothing(twin_log, tmp_path, capsys):
    cut_log(tmp_path / "data", 1, *twin_log)
    stitch_folder(tmp_path / "data", tmp_path / "new" / "logs", "--dry-run")
    dry = capsys.readouterr().out
    assert "1 log would be written to" in dry
    assert not (tmp_path / "new").exists()
    stitch_folder(tmp_path / "data", tmp_path / "new" / "logs")
    wet = capsys.readouterr().out
    assert dry.replace("would be written", "written") == wet


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "logs cannot be written: [Errno 28]"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_full_disk_or_interrupt_leaves_nothing(
    error, code, words, single_log, tmp_path, monkeypatch, capsys
):
    for well in (1, 2, 3):
        cut_log(tmp_path / "data", well, *single_log)
    written = []
    write = Path.write_bytes

    def fail_third(path, content):
        written.append(path)
        if len(written) == 3:
            raise error
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail_third)
    command = ["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "new" / "logs")]
    assert main(command) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.undo()
    assert main(command) == 0


def test_unwritable_folder_is_an_error(single_log, tmp_path, capsys):
    cut_log(tmp_path / "data", 1, single_log[0])
    (tmp_path / "file").touch()
    assert main(["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "file" / "logs")]) == 1
    assert "file/logs cannot be written" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--twins", "8"], "there is no well 'well_8'; the wells are well_1"),
        (["--twins", "well_8"], "there is no well 'well_8'; the wells are well_1"),
        (["--twins", "tset/1"], "there is no well 'tset/well_1'; the wells are well_1"),
        (["--overlap", "36"], "an overlap of 36 rows is impossible"),
        (["--out", "{data}"], "is not an empty folder"),
    ],
)
def test_wrong_arguments_are_errors(arguments, words, single_log, tmp_path, capsys):
    cut_log(tmp_path / "data", 1, single_log[0])
    command = ["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "logs")]
    more = [argument.format(data=tmp_path / "data") for argument in arguments]
    assert exit_code(main, [*command, *more]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "logs").exists()


def test_existing_empty_folder_is_filled_in_place(single_log, tmp_path, monkeypatch):
    """Check that the folder is not replaced: it may be a mount point or the current folder."""
    cut_log(tmp_path / "data", 1, single_log[0])
    out = tmp_path / "logs"
    out.mkdir()
    inode = out.stat().st_ino
    monkeypatch.chdir(out)
    stitch_folder(tmp_path / "data", Path())
    assert out.stat().st_ino == inode
    assert [path.name for path in Path().iterdir()] == ["well_1.npy"]


def test_unusable_labels_are_reported_and_the_images_stay(single_log, tmp_path, capsys):
    log, mask = single_log
    cut_log(tmp_path / "data", 1, log, mask)
    labels = sorted((tmp_path / "data/train/labels").iterdir())
    for path in labels[1:]:
        np.save(path, read_mask(path) * 254)
    labels[0].unlink()
    out = stitch_folder(tmp_path / "data", tmp_path / "logs")
    output = capsys.readouterr().out
    bad = sum(bool(mask[i * 36 : i * 36 + 36].any()) for i in range(1, len(labels)))
    assert f"{bad} unusable label" in output
    assert "1 without a label" in output
    assert np.array_equal(read_patch(out / "well_1.npy"), log, equal_nan=True)


def test_huge_patch_number_is_an_error(single_log, tmp_path, capsys):
    cut_log(tmp_path / "data", 1, single_log[0][:36])
    folder = tmp_path / "data/train/images"
    (folder / "well_1_patch_0.npy").rename(folder / "well_1_patch_999999999.npy")
    command = ["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "logs")]
    assert main(command) == 2
    assert "the number 999,999,999" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "logs").exists()


def test_real_patches_are_placed_as_in_the_real_logs(real, tmp_path):
    out = stitch_folder(real / "patches", tmp_path / "logs", "--twins", 2, 7)
    found = 0
    for name in ("well_2", "well_7", "well_13"):
        whole, image = read_patch(real / "wells" / f"{name}.npy"), read_patch(out / f"{name}.npy")
        rows = min(len(whole), len(image))
        present = ~np.isnan(image[:rows])
        assert np.array_equal(image[:rows][present], whole[:rows][present])
        found += present.sum() // 36**2
    assert found >= 25


def test_real_logs_are_recovered_after_cutting(real, tmp_path):
    for well in (2, 7, 11, 13):
        cut_log(tmp_path / "data", well, np.load(real / "wells" / f"well_{well}.npy")[:1800])
    out = stitch_folder(tmp_path / "data", tmp_path / "logs")
    for well in (2, 7, 11, 13):
        log = read_patch(real / "wells" / f"well_{well}.npy")[:1800]
        assert np.array_equal(read_patch(out / f"well_{well}.npy"), log, equal_nan=True)

"""`python -m geoseg.dataset stitch`: the logs that patches were cut from."""

import errno
from pathlib import Path

import numpy as np
import pytest

from geoseg import read_mask, read_patch, synthesize
from geoseg.dataset.__main__ import main
from geoseg.twins import split_twins


def cut(root: Path, well: int, log, mask=None, step=36, split="train", skip=()) -> None:
    """Write a log (Z, 36), or (Z, 72) as twins, in patches of 36 rows that begin `step` apart."""
    for kind, array in (("images", log), ("labels", mask)):
        if array is None:
            continue
        folder = root / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        sides = split_twins(array) if array.shape[1] == 72 else array[None]
        for k in range((len(array) - 36) // step + 1):
            for side, part in enumerate(sides):
                index = k * len(sides) + side
                if index not in skip:
                    patch = part[k * step : k * step + 36]
                    np.save(folder / f"well_{well}_patch_{index}.npy", patch)


@pytest.fixture(scope="module")
def single():
    logs = synthesize(1, 360, seed=3)
    return logs.images[0].numpy(), logs.masks[0].numpy()


@pytest.fixture(scope="module")
def double():
    logs = synthesize(1, 360, columns=72, seed=4)
    return logs.images[0].numpy(), logs.masks[0].numpy()


def stitched(root: Path, out: Path, *more) -> Path:
    assert main(["stitch", str(root), "--out", str(out), *map(str, more)]) == 0
    return out


def test_logs_and_masks_come_back_bit_for_bit(single, double, tmp_path, capsys):
    cut(tmp_path / "data", 5, *single)
    cut(tmp_path / "data", 6, *double, split="validation")
    cut(tmp_path / "data", 6, single[0], split="test")
    out = stitched(tmp_path / "data", tmp_path / "logs")
    for name, log in (("well_5", single), ("well_6", double)):
        assert np.array_equal(read_patch(out / f"{name}.npy"), log[0], equal_nan=True)
        assert np.array_equal(read_mask(out / "labels" / f"{name}.npy"), log[1])
    assert np.array_equal(read_patch(out / "test" / "well_6.npy"), single[0], equal_nan=True)
    assert sorted(p.name for p in out.rglob("labels/*")) == ["well_5.npy", "well_6.npy"]
    told = capsys.readouterr().out
    assert "72 in twins" in told
    assert "3 logs written" in told


def test_gaps_are_nan_and_unknown(single, tmp_path, capsys):
    log, mask = single
    cut(tmp_path / "data", 1, log, mask, skip=(0, 4))
    (tmp_path / "data/train/labels/well_1_patch_7.npy").unlink()
    out = stitched(tmp_path / "data", tmp_path / "logs")
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


def test_a_mostly_null_patch_is_part_of_its_log(single, tmp_path):
    log = single[0].copy()
    log[40:70] = np.nan
    cut(tmp_path / "data", 1, log)
    image = read_patch(stitched(tmp_path / "data", tmp_path / "logs") / "well_1.npy")
    assert np.array_equal(image, log, equal_nan=True)


@pytest.mark.parametrize("which", ["single", "double"])
def test_overlap_is_found(which, tmp_path, request, capsys):
    log, mask = request.getfixturevalue(which)
    cut(tmp_path / "data", 1, log, mask, step=27)
    out = stitched(tmp_path / "data", tmp_path / "logs")
    assert np.array_equal(read_patch(out / "well_1.npy"), log, equal_nan=True)
    assert np.array_equal(read_mask(out / "labels/well_1.npy"), mask)
    assert "9 rows" in capsys.readouterr().out


def test_overlap_that_is_told_and_disputed(single, tmp_path, capsys):
    log, mask = single
    cut(tmp_path / "data", 1, log, mask, step=18)
    images, labels = (tmp_path / "data/train" / kind for kind in ("images", "labels"))
    lifted = read_patch(images / "well_1_patch_1.npy")
    np.save(images / "well_1_patch_1.npy", lifted + np.float32(0.5))
    np.save(labels / "well_1_patch_1.npy", np.ones((36, 36)))
    out = stitched(tmp_path / "data", tmp_path / "logs", "--overlap", 18)
    image, label = read_patch(out / "well_1.npy"), read_mask(out / "labels/well_1.npy")
    assert np.allclose(image[18:54], log[18:54] + 0.25, atol=1e-6, equal_nan=True)
    assert np.array_equal(image[54:], log[54:], equal_nan=True)
    assert label[18:54].all()
    assert np.array_equal(label[54:], mask[54:])
    told = capsys.readouterr().out
    disputed = int((~np.isnan(log[18:54])).sum() + (mask[18:54] == 0).sum())
    assert f"{disputed:,}" in told
    assert "Warning: patches that overlap disagree in 1, and their mean was taken" in told


def test_twins_can_be_told(double, tmp_path, capsys):
    log, _ = double
    cut(tmp_path / "data", 3, log[:36])
    cut(tmp_path / "data", 4, log, split="test")
    (tmp_path / "data/train/images/well_3_patch_1.npy").unlink()
    out = stitched(tmp_path / "data", tmp_path / "a")
    assert read_patch(out / "well_3.npy").shape == (36, 36)
    assert read_patch(out / "test/well_4.npy").shape == (360, 72)
    assert "taken for none: 3;" in capsys.readouterr().out
    out = stitched(tmp_path / "data", tmp_path / "b", "--twins", 3)
    image = read_patch(out / "well_3.npy")
    assert np.array_equal(image[:, ::2], log[:36, ::2], equal_nan=True)
    assert np.isnan(image[:, 1::2]).all()
    assert read_patch(out / "test/well_4.npy").shape == (720, 36)
    out = stitched(tmp_path / "data", tmp_path / "c", "--twins", "test/well_4")
    assert read_patch(out / "test/well_4.npy").shape == (360, 72)


def test_twins_that_are_none_and_others_that_are(single, double, tmp_path, capsys):
    cut(tmp_path / "data", 1, single[0])
    cut(tmp_path / "data", 2, double[0])
    stitched(tmp_path / "data", tmp_path / "a")
    assert "Warning" not in capsys.readouterr().out
    out = stitched(tmp_path / "data", tmp_path / "b", "--twins", 1)
    told = capsys.readouterr().out
    assert "Warning: the patches of 1 show no twins; is --twins right?" in told
    assert "Warning: the patches of 2 show twins; is --twins right?" in told
    assert read_patch(out / "well_1.npy").shape == (180, 72)


def test_constant_patches_have_no_likeness(tmp_path, capsys):
    cut(tmp_path / "data", 1, np.full((72, 36), 0.5, np.float32))
    stitched(tmp_path / "data", tmp_path / "logs")
    told = capsys.readouterr().out
    assert "nan" not in told
    (line,) = [line for line in told.splitlines() if "well_1 " in line]
    assert line.split()[4:7] == ["36", "1", "-"]
    assert "taken for none: 1;" in told


def test_sizes_that_are_mixed(single, double, tmp_path, capsys):
    """Most are 36x72, and none of them has a label."""
    cut(tmp_path / "data", 1, single[0][:108], single[1][:108])
    folder = tmp_path / "data/validation/images"
    folder.mkdir(parents=True)
    (folder.parent / "labels").mkdir()
    for i in range(4):
        np.save(folder / f"well_2_patch_{i}.npy", double[0][36 * i : 36 * i + 36])
    out = stitched(tmp_path / "data", tmp_path / "logs")
    assert [path.name for path in out.rglob("*.npy")] == ["well_2.npy"]
    told = capsys.readouterr().out
    assert "3 of another size" in told
    assert "4 without a label" in told


def test_a_dry_run_writes_nothing(double, tmp_path, capsys):
    cut(tmp_path / "data", 1, *double)
    stitched(tmp_path / "data", tmp_path / "new" / "logs", "--dry-run")
    dry = capsys.readouterr().out
    assert "1 log would be written to" in dry
    assert not (tmp_path / "new").exists()
    stitched(tmp_path / "data", tmp_path / "new" / "logs")
    wet = capsys.readouterr().out
    assert dry.replace("would be written", "written") == wet


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "logs cannot be written: [Errno 28]"),
        (KeyboardInterrupt(), 130, "Stopped"),
    ],
)
def test_a_full_disk_or_an_interrupt_leaves_nothing(
    error, code, words, single, tmp_path, monkeypatch, capsys
):
    for well in (1, 2, 3):
        cut(tmp_path / "data", well, *single)
    written = []
    write = Path.write_bytes

    def third(path, content):
        written.append(path)
        if len(written) == 3:
            raise error
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", third)
    command = ["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "new" / "logs")]
    assert main(command) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.undo()
    assert main(command) == 0


def test_a_place_that_cannot_be_written(single, tmp_path, capsys):
    cut(tmp_path / "data", 1, single[0])
    (tmp_path / "file").touch()
    assert main(["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "file" / "logs")]) == 1
    assert "file/logs cannot be written" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--twins", "8"], "there is no well 'well_8'; the wells are well_1"),
        (["--twins", "well_8"], "there is no well 'well_8'; the wells are well_1"),
        (["--twins", "tset/1"], "there is no well 'tset/well_1'; the wells are well_1"),
        (["--overlap", "36"], "an overlap of 36 rows"),
        (["--out", "{data}"], "is not empty"),
    ],
)
def test_mistakes(arguments, words, single, tmp_path, capsys):
    cut(tmp_path / "data", 1, single[0])
    command = ["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "logs")]
    assert main([*command, *(a.format(data=tmp_path / "data") for a in arguments)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "logs").exists()


def test_an_empty_folder_is_filled_where_it_is(single, tmp_path, monkeypatch):
    """It may be a disk of its own, or the folder that one is in."""
    cut(tmp_path / "data", 1, single[0])
    out = tmp_path / "logs"
    out.mkdir()
    kept = out.stat().st_ino
    monkeypatch.chdir(out)
    stitched(tmp_path / "data", Path())
    assert out.stat().st_ino == kept
    assert [path.name for path in Path().iterdir()] == ["well_1.npy"]


def test_labels_of_no_use_are_named_and_the_images_stay(single, tmp_path, capsys):
    log, mask = single
    cut(tmp_path / "data", 1, log, mask)
    labels = sorted((tmp_path / "data/train/labels").iterdir())
    for path in labels[1:]:
        np.save(path, read_mask(path) * 255)
    labels[0].unlink()
    out = stitched(tmp_path / "data", tmp_path / "logs")
    told = capsys.readouterr().out
    bad = sum(bool(mask[i * 36 : i * 36 + 36].any()) for i in range(1, len(labels)))
    assert f"{bad} unusable label" in told
    assert "1 without a label" in told
    assert np.array_equal(read_patch(out / "well_1.npy"), log, equal_nan=True)


def test_a_hostile_number_takes_no_memory(single, tmp_path, capsys):
    cut(tmp_path / "data", 1, single[0][:36])
    folder = tmp_path / "data/train/images"
    (folder / "well_1_patch_0.npy").rename(folder / "well_1_patch_999999999.npy")
    command = ["stitch", str(tmp_path / "data"), "--out", str(tmp_path / "logs")]
    assert main(command) == 2
    assert "number 999,999,999" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "logs").exists()


def test_real_patches_go_back_to_where_they_are_in_the_real_logs(real, tmp_path):
    out = stitched(real / "patches", tmp_path / "logs", "--twins", 2, 7)
    found = 0
    for name in ("well_2", "well_7", "well_13"):
        whole, image = read_patch(real / "wells" / f"{name}.npy"), read_patch(out / f"{name}.npy")
        rows = min(len(whole), len(image))
        there = ~np.isnan(image[:rows])
        assert np.array_equal(image[:rows][there], whole[:rows][there])
        found += there.sum() // 36**2
    assert found >= 25


def test_real_logs_that_are_cut_come_back(real, tmp_path):
    for well in (2, 7, 11, 13):
        cut(tmp_path / "data", well, np.load(real / "wells" / f"well_{well}.npy")[:1800])
    out = stitched(tmp_path / "data", tmp_path / "logs")
    for well in (2, 7, 11, 13):
        log = read_patch(real / "wells" / f"well_{well}.npy")[:1800]
        assert np.array_equal(read_patch(out / f"well_{well}.npy"), log, equal_nan=True)

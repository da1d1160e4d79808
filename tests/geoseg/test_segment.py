"""The command that writes masks, as its user types it."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from geoseg import Segmenter, read_mask, read_patch
from geoseg import __main__ as predict
from geoseg.twins import join_twins, split_twins
from tests.helpers.synthetic_data import make_checkpoint

THRESHOLD = 0.78  # where both models find some pixels and leave others


@pytest.fixture
def checkpoints(tmp_path):
    return [
        str(make_checkpoint(tmp_path / "stacked.safetensors", "stacked", THRESHOLD, width=4)),
        str(make_checkpoint(tmp_path / "vanilla.safetensors", "vanilla", THRESHOLD, widths=(4,))),
    ]


@pytest.fixture
def images(tmp_path):
    """Two patches, one of them with nulls, and a log of 72 columns."""
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for name, shape in (
        ("well_1_patch_2", (36, 36)),
        ("well_1_patch_10", (36, 36)),
        ("log", (90, 72)),
    ):
        image = generator.normal(0, 0.02, shape).astype(np.float32)
        if name.endswith("10"):
            image[4] = -999.25
        np.save(folder / f"{name}.npy", image)
    return folder


def run(*arguments):
    return predict.main([str(argument) for argument in arguments])


def test_a_folder_gives_the_masks_of_the_segmenter(checkpoints, images, tmp_path, capsys):
    out = tmp_path / "masks"
    assert run(checkpoints[0], images, "-o", out) == 0
    assert "masks of 3 images" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {p.name for p in images.iterdir()}
    segmenter = Segmenter(checkpoints[:1])
    for name in ("well_1_patch_2", "well_1_patch_10"):
        mask = np.load(out / f"{name}.npy", allow_pickle=False)
        assert mask.dtype == np.uint8
        expected = segmenter.segment(read_patch(images / f"{name}.npy"))["stacked"].mask
        assert np.array_equal(mask, expected)
    assert not read_mask(out / "well_1_patch_10.npy")[4].any()
    assert read_mask(out / "well_1_patch_2.npy").any()


def test_a_wide_log_is_seen_as_twins_unless_told_otherwise(checkpoints, images, tmp_path):
    log = read_patch(images / "log.npy")
    segmenter = Segmenter(checkpoints[:1])
    as_twins = join_twins(segmenter.probabilities(split_twins(log))["stacked"])
    whole = segmenter.probabilities(log)["stacked"]
    assert not np.allclose(as_twins, whole)
    for options, expected in (([], as_twins), (["--no-twins"], whole)):
        out = tmp_path / f"out{len(options)}"
        assert (
            run(*checkpoints[:1], images / "log.npy", "-o", out, "--probabilities", *options) == 0
        )
        assert np.array_equal(np.load(out / "log.probability.npy"), expected)
        assert np.array_equal(read_mask(out / "log.npy"), expected > np.float32(THRESHOLD))


def test_several_checkpoints_have_a_folder_each(checkpoints, images, tmp_path):
    out = tmp_path / "masks"
    assert run(*checkpoints, images / "well_1_patch_2.npy", "-o", out, "--pictures") == 0
    names = ["well_1_patch_2.npy", "well_1_patch_2.png"]
    for name in ("stacked", "vanilla"):
        assert sorted(p.name for p in (out / name).iterdir()) == names


def test_pictures_show_image_and_mask(checkpoints, images, tmp_path):
    out = tmp_path / "masks"
    pattern = str(images / "well_1_patch_1*.npy")
    assert run(checkpoints[0], pattern, "-o", out, "--pictures", "--threshold", "0") == 0
    assert read_mask(out / "well_1_patch_10.npy").sum() == 35 * 36, "all but the nulls"
    picture = np.asarray(Image.open(io.BytesIO((out / "well_1_patch_10.png").read_bytes())))
    assert picture.shape == (36 * 6, 73 * 6, 3)
    left, right = picture[:, : 36 * 6], picture[:, 37 * 6 :]
    assert (left[..., 0] == left[..., 1])[: 4 * 6].all(), "grey"
    assert (right[..., 2] > right[..., 0])[: 4 * 6].mean() > 0.9, "tinted"
    assert np.array_equal(left[4 * 6 : 5 * 6], right[4 * 6 : 5 * 6]), "nulls are no groove"


def test_nothing_is_replaced_unasked(checkpoints, images, tmp_path, capsys):
    out = tmp_path / "masks"
    command = [checkpoints[0], images, "-o", out]
    assert run(*command) == 0
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert run(*command) == 2
    assert "2 more would be replaced; add --overwrite" in capsys.readouterr().err
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    assert run(*command, "--overwrite") == 0
    assert run(checkpoints[0], images, "-o", images, "--overwrite") == 2
    assert "is an image" in capsys.readouterr().err


def test_bad_files_are_named_and_skipped(checkpoints, images, tmp_path, capsys):
    (images / "text.npy").write_text("no array")
    np.save(images / "null.npy", np.full((36, 36), np.nan, np.float32))
    np.save(images / "flat.npy", np.zeros(36, np.float32))
    assert run(checkpoints[0], images, "-o", tmp_path / "masks") == 1
    said = capsys.readouterr()
    assert "masks of 3 images, 3 files skipped" in said.out
    assert [line.split()[1] for line in said.err.splitlines()] == [
        "flat.npy",
        "null.npy",
        "text.npy",
    ]
    assert len(list((tmp_path / "masks").iterdir())) == 3


def test_mistakes_exit_2_with_one_line(checkpoints, images, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(images, other)
    out = tmp_path / "masks"
    (tmp_path / "nothing").mkdir()
    for files, words in (
        ([checkpoints[0], tmp_path / "none.npy"], "matches nothing"),
        ([checkpoints[0], tmp_path / "nothing"], "holds no .npy file"),
        ([checkpoints[0], images, other], "have one name"),
        ([tmp_path / "none.safetensors", images], "none.safetensors"),
    ):
        assert run(*files, "-o", out) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["a.npy"], "no checkpoint"),
        (["a.safetensors"], "no image"),
        (["a.safetensors", "a.npy", "--threshold", "2"], "from 0 to 1"),
    ],
)
def test_contradictions_exit_2(options, words, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*options, "-o", "out")
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_what_cannot_be_written_exits_1(checkpoints, images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(checkpoints[0], images, "-o", tmp_path / "file") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_interruption_leaves_cleanly(checkpoints, images, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Segmenter, "probabilities", interrupt)
    assert run(checkpoints[0], images, "-o", tmp_path / "masks") == 130
    assert "stopped" in capsys.readouterr().err


def test_two_answers_never_share_a_file(checkpoints, images, tmp_path, capsys):
    folder = tmp_path / "alike"
    folder.mkdir()
    for name in ("x.npy", "x.probability.npy", "._x.npy"):
        shutil.copy(next(iter(sorted(images.glob("*.npy")))), folder / name)
    out = tmp_path / "alike-masks"
    assert run(checkpoints[0], folder, "-o", out, "--probabilities") == 2
    assert "would be written twice" in capsys.readouterr().err
    assert run(checkpoints[0], folder, "-o", out) == 0
    masks = [np.load(out / name) for name in ("x.npy", "x.probability.npy")]
    assert [mask.dtype for mask in masks] == [np.uint8, np.uint8]
    assert len(list(out.iterdir())) == 2

"""`python -m geoseg segment`: the results of files, and the exit codes."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import geoseg
from geoseg import Segmenter, read_mask, read_patch
from geoseg.__main__ import main
from geoseg.segment import DEFAULT_CHECKPOINT
from geoseg.twins import join_twins, split_twins
from tests.helpers.synthetic_data import make_checkpoint

THRESHOLD = 0.78  # both models mark some pixels and leave others
RESULTS = {"mask.npy", "probability.npy", "grooves.csv", "joints.csv", "summary.json"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return [
        str(make_checkpoint(folder / "stacked.safetensors", "stacked", THRESHOLD, width=4)),
        str(make_checkpoint(folder / "vanilla.safetensors", "vanilla", THRESHOLD, widths=(4,))),
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


def segment(*arguments):
    return main(["segment", *map(str, arguments)])


def read_summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_folder_gives_the_masks_of_the_segmenter(checkpoints, images, tmp_path, capsys):
    out = tmp_path / "masks"
    assert segment(images, "-o", out, "--checkpoint", checkpoints[0]) == 0
    assert "masks of 3 files" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {p.stem for p in images.iterdir()}
    segmenter = Segmenter(checkpoints[:1])
    for name in ("well_1_patch_2", "well_1_patch_10"):
        assert {p.name for p in (out / name).iterdir()} == RESULTS
        mask = np.load(out / name / "mask.npy", allow_pickle=False)
        assert mask.dtype == np.uint8
        expected = segmenter.segment(read_patch(images / f"{name}.npy"))["stacked"]
        assert np.array_equal(mask, expected.mask)
        probability = np.load(out / name / "probability.npy", allow_pickle=False)
        assert probability.dtype == np.float32
        assert np.array_equal(probability, expected.probability, equal_nan=True)
    assert not read_mask(out / "well_1_patch_10" / "mask.npy")[4].any()
    assert read_mask(out / "well_1_patch_2" / "mask.npy").any()


def test_summary_states_versions_shape_coverage_and_assumptions(checkpoints, images, tmp_path):
    out = tmp_path / "masks"
    assert segment(images, "-o", out, "--checkpoint", checkpoints[0]) == 0
    summary = read_summary(out / "well_1_patch_10")
    mask = read_mask(out / "well_1_patch_10" / "mask.npy")
    assert summary.pop("seconds") > 0
    assert summary.pop("coverage") == pytest.approx(mask.sum() / (35 * 36))
    assert summary.pop("versions") == {
        "geoseg": geoseg.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    assert len(summary.pop("key")) == 33
    assert summary.pop("grooves") >= 0
    assert summary == {
        "file": "well_1_patch_10.npy",
        "checkpoint": "stacked",
        "threshold": THRESHOLD,
        "shape": [36, 36],
        "unit": "inch",
        "notes": [
            "36 of 1,296 pixels are nulls (code -999.25); their mask is 0 and their "
            "probability NaN."
        ],
        "joints": 0,
        "joints_note": "Joints were not found: 36 rows are too few for two collars.",
        "pitch_inches": None,
        "diameter_inches": None,
        "nominal_inches": None,
    }
    assert read_summary(out / "well_1_patch_2")["notes"] == []
    (note,) = read_summary(out / "log")["notes"]
    assert note.startswith("The 72 columns are segmented as 2 sets of 36")


def test_log_of_72_columns_is_segmented_as_twins(checkpoints, images, tmp_path):
    log = read_patch(images / "log.npy")
    segmenter = Segmenter(checkpoints[:1])
    expected = join_twins(segmenter.probabilities(split_twins(log))["stacked"])
    assert segment(images / "log.npy", "-o", tmp_path, "--checkpoint", checkpoints[0]) == 0
    assert np.array_equal(np.load(tmp_path / "log" / "probability.npy"), expected)
    mask = read_mask(tmp_path / "log" / "mask.npy")
    assert np.array_equal(mask, expected > np.float32(THRESHOLD))


def test_options_and_notes_of_measurements(checkpoints, images, tmp_path, capsys):
    """Losses that are positive, in micrometres, with a null code that only the user knows."""
    image = read_patch(images / "well_1_patch_2.npy")
    other = (-25400 * image).astype(np.float32)
    other[3, 4] = code = float(other[0, 0])
    other[0, 0] = 0
    np.save(tmp_path / "other.npy", other)
    options = ["--losses", "positive", "--unit", "um", "--nulls", code]
    for source in (images / "well_1_patch_2.npy", tmp_path / "other.npy"):
        command = [source, "-o", tmp_path / "out", "--checkpoint", checkpoints[0]]
        assert segment(*command, *(options if source.stem == "other" else [])) == 0
    plain, found = (
        np.load(tmp_path / "out" / name / "probability.npy") for name in ("well_1_patch_2", "other")
    )
    assert np.isnan(found).sum() == 1
    assert np.nanmedian(np.abs(plain - found)) < 1e-5
    notes = read_summary(tmp_path / "out" / "other")["notes"]
    printed = capsys.readouterr().out
    for words in ("1 of 1,296 pixels are nulls", "Losses are positive", "micrometres"):
        assert any(words in note for note in notes)
        assert words in printed


def test_a_stack_gives_a_stack(checkpoints, images, tmp_path):
    patches = np.stack([read_patch(images / f"well_1_patch_{i}.npy") for i in (2, 10)])
    np.save(tmp_path / "stack.npy", patches[..., None])
    out = tmp_path / "out"
    assert segment(tmp_path / "stack.npy", "-o", out, "--checkpoint", checkpoints[0]) == 0
    probability = np.load(out / "stack" / "probability.npy")
    expected = Segmenter(checkpoints[:1]).probabilities(patches)["stacked"]
    np.testing.assert_allclose(probability, expected, atol=1e-6)


def test_several_checkpoints_have_a_folder_each(checkpoints, images, tmp_path):
    out, image = tmp_path / "masks", images / "well_1_patch_2.npy"
    assert segment(image, "-o", out, "--pictures", "--checkpoint", *checkpoints) == 0
    for name in ("stacked", "vanilla"):
        results = out / name / "well_1_patch_2"
        assert {p.name for p in results.iterdir()} == {*RESULTS, "picture.png"}
        assert read_summary(results)["checkpoint"] == name


def test_pictures_show_the_image_and_the_mask(checkpoints, images, tmp_path):
    out = tmp_path / "masks"
    pattern = str(images / "well_1_patch_1*.npy")
    options = ["--pictures", "--threshold", "0", "--checkpoint", checkpoints[0]]
    assert segment(pattern, "-o", out, *options) == 0
    results = out / "well_1_patch_10"
    assert read_mask(results / "mask.npy").sum() == 35 * 36, "all but the nulls"
    assert read_summary(results)["threshold"] == 0
    picture = np.asarray(Image.open(io.BytesIO((results / "picture.png").read_bytes())))
    assert picture.shape == (36 * 6, 73 * 6, 3)
    left, right = picture[:, : 36 * 6], picture[:, 37 * 6 :]
    assert (left[..., 0] == left[..., 1])[: 4 * 6].all(), "grey"
    assert (right[..., 2] > right[..., 0])[: 4 * 6].mean() > 0.9, "tinted"
    assert np.array_equal(left[4 * 6 : 5 * 6], right[4 * 6 : 5 * 6]), "nulls are no groove"


def test_shipped_checkpoint_is_the_default(images, tmp_path):
    image = images / "well_1_patch_2.npy"
    assert segment(image, "-o", tmp_path / "out") == 0
    assert read_summary(tmp_path / "out" / image.stem)["checkpoint"] == DEFAULT_CHECKPOINT.stem


def test_what_is_done_is_skipped_and_other_results_are_kept(checkpoints, images, tmp_path, capsys):
    out = tmp_path / "masks"
    command = [images, "-o", out, "--checkpoint", checkpoints[0]]
    assert segment(*command) == 0
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/*")}
    assert segment(*command) == 0
    assert "masks of 0 files, 0 files skipped, 3 done before" in capsys.readouterr().out
    assert segment(*command, "--threshold", "0.7") == 2
    assert "mask.npy exists; add --overwrite" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in out.glob("*/*")} == before
    np.save(images / "well_1_patch_2.npy", np.load(images / "well_1_patch_10.npy"))
    assert segment(*command) == 2
    assert "well_1_patch_2" in capsys.readouterr().err
    assert segment(*command, "--overwrite") == 0
    assert "masks of 3 files" in capsys.readouterr().out


def test_a_well_gives_tables_and_a_file_for_other_programs(checkpoints, tmp_path, capsys):
    """A csv log with depths in feet: pitch from the depths, the rest from the options."""
    images, _ = geoseg.synthesize(wells=1, rows=1200, seed=3)
    depth = 5000 + 0.125 * np.arange(1200)
    names = ["depth (ft)", *(f"c{n}" for n in range(36))]
    rows = np.column_stack([depth, np.nan_to_num(images[0].numpy(), nan=-999.25)])
    np.savetxt(tmp_path / "well.csv", rows, delimiter=",", header=",".join(names), comments="")
    options = ["--diameter", "9.625in", "--wall", "13.8mm", "--write", "csv"]
    command = [tmp_path / "well.csv", "-o", tmp_path / "out", "--checkpoint", DEFAULT_CHECKPOINT]
    assert segment(*command, *options) == 0
    results = tmp_path / "out" / "well"
    summary = read_summary(results)
    assert summary["pitch_inches"] == pytest.approx(1.5)
    assert summary["nominal_inches"] == pytest.approx(13.8 / 25.4)
    for table in ("grooves", "joints"):
        with (results / f"{table}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == summary[table]
        for line in lines:
            top = 5000 + 0.125 * float(line["top_row"])
            assert (float(line["top_depth"]), line["depth_unit"]) == (pytest.approx(top), "ft")
    assert summary["grooves"] > 0
    assert float(lines[0]["length_m"]) > 0
    written = np.loadtxt(results / "result.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(written[:, 0], depth)
    np.testing.assert_array_equal(written[:, 1:37], np.load(results / "mask.npy"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        segment(*command, "--wall", "13.8")
    assert caught.value.code == 2
    assert "is not a length; write a decimal number and a unit" in capsys.readouterr().err


def test_input_is_never_replaced(checkpoints, images, capsys):
    image = images / "log" / "mask.npy"
    image.parent.mkdir()
    shutil.copy(images / "log.npy", image)
    before = image.read_bytes()
    command = [image, images / "log.npy", "-o", images, "--checkpoint", checkpoints[0]]
    assert segment(*command, "--overwrite") == 2
    assert "is an input, and would be replaced" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_bad_files_are_named_and_skipped(checkpoints, images, tmp_path, capsys):
    (images / "text.npy").write_text("no array")
    np.save(images / "null.npy", np.full((36, 36), np.nan, np.float32))
    np.save(images / "flat.npy", np.zeros(36, np.float32))
    (images / "._x.npy").write_text("hidden files are ignored")
    out = tmp_path / "masks"
    assert segment(images, "-o", out, "--checkpoint", checkpoints[0]) == 1
    printed = capsys.readouterr()
    assert "masks of 3 files, 3 files skipped" in printed.out
    assert [line.split()[1] for line in printed.err.splitlines()] == [
        "flat.npy",
        "null.npy",
        "text.npy",
    ]
    assert len(list(out.iterdir())) == 3


def test_mistakes_exit_2_with_one_line(checkpoints, images, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(images, other)
    shutil.copy(images / "log.npy", tmp_path / "...npy")
    out = tmp_path / "masks"
    (tmp_path / "nothing").mkdir()
    for files, checkpoint, words in (
        ([tmp_path / "none.npy"], checkpoints[0], "none.npy does not exist"),
        ([tmp_path / "nothing"], checkpoints[0], "nothing holds no .npy file"),
        ([tmp_path / "...npy"], checkpoints[0], "has no name before its extension"),
        ([images, other], checkpoints[0], "have one name"),
        ([images], tmp_path / "none.safetensors", "none.safetensors"),
    ):
        assert segment(*files, "-o", out, "--checkpoint", checkpoint) == 2
        printed = capsys.readouterr().err
        assert words in printed
        assert printed.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "a.safetensors"], "FILE"),
        (["a.npy", "--threshold", "2"], "from 0 to 1"),
        (["a.npy", "--threshold", "high"], "from 0 to 1"),
    ],
)
def test_wrong_command_line_exits_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        segment(*arguments, "-o", "out")
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_without_a_command_the_help_is_printed(capsys):
    assert main([]) == 0
    assert "segment" in capsys.readouterr().out


def test_unwritable_output_exits_1(checkpoints, images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert segment(images, "-o", tmp_path / "file", "--checkpoint", checkpoints[0]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_interrupt_exits_130(checkpoints, images, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Segmenter, "probabilities", interrupt)
    assert segment(images, "-o", tmp_path / "masks", "--checkpoint", checkpoints[0]) == 130
    assert "stopped" in capsys.readouterr().err


def test_files_whose_names_extend_each_other_have_folders_of_their_own(
    checkpoints, images, tmp_path
):
    folder = tmp_path / "alike"
    folder.mkdir()
    for name in ("x.npy", "x.probability.npy"):
        shutil.copy(images / "log.npy", folder / name)
    out = tmp_path / "alike-masks"
    assert segment(folder, "-o", out, "--checkpoint", checkpoints[0]) == 0
    masks = [np.load(out / name / "mask.npy") for name in ("x", "x.probability")]
    assert [mask.dtype for mask in masks] == [np.uint8, np.uint8]
    assert len(list(out.iterdir())) == 2

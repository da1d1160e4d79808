"""`python -m train.evaluate`: scores, robustness, label errors, submissions and mistakes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from geoseg import PatchDataset, Segmenter, create_model, load_checkpoint, save_checkpoint
from geoseg.dataset.challenge import read_masks, write_masks
from geoseg.evaluation.evaluation_set import EvaluationSet
from geoseg.evaluation.perturbations import measure_robustness
from geoseg.synthetic import synthesize
from geoseg.twins import split_twins
from tests.helpers.synthetic_data import make_checkpoint, make_data
from train.evaluate import evaluate
from train.evaluate.__main__ import main
from train.evaluate.assessment import assess


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return untrained models: stacked is equivariant to shifts, vanilla is not."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = [
        make_checkpoint(folder / "1-stacked.safetensors", "stacked", width=4),
        make_checkpoint(folder / "1-vanilla.safetensors", "vanilla", widths=(4,)),
    ]
    return [set_threshold(path) for path in paths]


def set_threshold(path):
    """Set a threshold that a tenth of the pixels of a synthetic log exceeds."""
    probability = next(iter(Segmenter([path]).probabilities(log().images[0].numpy()).values()))
    save_checkpoint(path, load_checkpoint(path), threshold=float(np.nanquantile(probability, 0.9)))
    return str(path)


def log(columns=36, rows=100):
    return synthesize(1, rows, columns=columns, seed=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 10, 60)


@pytest.fixture
def log_files(tmp_path):
    """Write a log of 72 columns and its label, unknown in some rows; return the options."""
    image, mask = (part[0].numpy().copy() for part in log(72))
    image[50, :40] = np.nan
    mask = mask.astype(np.uint8)
    mask[60:70] = 255
    np.save(tmp_path / "pipe.npy", image)
    np.savez(tmp_path / "truth.npz", mask=mask)
    return ["--log", str(tmp_path / "pipe.npy"), "--log-truth", str(tmp_path / "truth.npz")]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_all_outputs_at_once(checkpoints, data, tmp_path, capsys):
    report, page = tmp_path / "all.json", tmp_path / "all.html"
    command = [*checkpoints, "--data", data, "--all", "--rolls", 3, "--json", report]
    assert run(*command, "--html", page) == 0
    said = capsys.readouterr().out
    for words in ("IoU by well", "same mask", "Lines and grooves", "1-vanilla @"):
        assert words in said
    assert max(map(len, said.splitlines())) <= 80
    found = json.loads(report.read_text())
    assert list(found["scores"]) == ["1-stacked", "1-vanilla"]
    assert found["robustness"]["1-stacked"]["turning"]["identical_patches"] == 1
    assert found["robustness"]["1-stacked"]["turning"]["rolls"] == 3
    assert set(found["patches"]["1-vanilla"]) == {p.stem for p in labels_of(data)}
    assert len(found["calibration"]["1-vanilla"]["pixels"]) == 15
    patches = sum(well["patches"] for well in found["wells"]["1-vanilla"].values())
    assert patches == len(labels_of(data))
    text = page.read_text()
    assert text.count("<section>") >= 6
    assert "<script" not in text


def labels_of(data):
    return sorted((data / "validation" / "labels").iterdir())


def test_scores_of_the_function_and_of_the_command_are_the_same(checkpoints, data, tmp_path):
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    table = evaluate(Segmenter(checkpoints), dataset)
    report = tmp_path / "s.json"
    assert run(*checkpoints, "--data", data, "--json", report) == 0
    assert json.loads(report.read_text())["scores"] == table
    assert "robustness" not in json.loads(report.read_text())


def test_perfect_mask_scores_1_and_shifted_mask_less(data):
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    evaluation_set = EvaluationSet.from_dataset(dataset)
    certain = evaluation_set.labels.float().where(evaluation_set.valid, torch.nan)
    perfect = assess(evaluation_set, certain, 0.5)
    best = ("iou", "micro_iou", "micro_dice", "tolerant_dice", "centreline_dice")
    assert [perfect.scores[key] for key in best] == [1] * 5
    assert perfect.scores["ece"] == perfect.scores["brier"] == 0
    assert perfect.grooves.recall == perfect.grooves.precision == 1
    assert perfect.false_alarms["alarms"] == 0
    shifted = assess(evaluation_set, certain.roll(1, -1), 0.5)
    assert shifted.scores["micro_iou"] < 0.7
    assert shifted.scores["tolerant_dice"] > 0.97  # nulls take some partners away


def test_false_alarms_are_counted_on_patches_without_groove():
    labels = torch.zeros(4, 3, 5, dtype=torch.bool)
    labels[0, 0, 0] = True
    valid = torch.ones_like(labels)
    valid[3] = False
    images = torch.zeros(labels.shape).where(valid, torch.nan)
    probability = torch.zeros(labels.shape)
    probability[0, 2, 2] = probability[1, 0, :3] = probability[3] = 1
    evaluation_set = EvaluationSet(images, labels, valid, tuple("abcd"), tuple("1122"), "")
    found = assess(evaluation_set, probability.where(valid, torch.nan), 0.5).false_alarms
    assert found == {"patches": 2, "alarms": 1, "rate": 0.5, "pixels": 1.5}


def test_nulls_count_in_no_score(data):
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    images = dataset.images.clone()
    images[:, 10:20] = torch.nan
    lost = EvaluationSet.from_dataset(PatchDataset(**{**vars(dataset), "images": images}))
    kept = torch.ones(36, dtype=torch.bool)
    kept[10:20] = False
    wrong_there = lost.labels.float()
    wrong_there[:, 10:20] = 1
    found = assess(lost, wrong_there.where(lost.valid, torch.nan), 0.5)
    assert found.scores["micro_iou"] == 1
    assert sum(n.sum() for n in found.counts) == lost.valid.sum()


def test_log_is_cut_into_twins_and_patches_of_36_rows(log_files):
    evaluation_set = EvaluationSet.from_log(*(map(Path, log_files[1::2])))
    image, mask = (part[0].numpy() for part in log(72))
    assert evaluation_set.images.shape == (2, 100, 36)
    assert evaluation_set.cut_patches(evaluation_set.labels).shape == (6, 36, 36)
    assert len(evaluation_set.names) == len(evaluation_set.wells) == 6
    assert not evaluation_set.valid[:, 60:70].any()
    assert not evaluation_set.valid[:, 50, :20].any()
    valid = np.ones((100, 72), bool)
    valid[60:70] = valid[50, :40] = False
    assert evaluation_set.labels.sum() == (mask * valid).sum()
    patches = evaluation_set.cut_patches(evaluation_set.images)
    assert np.array_equal(patches[3], split_twins(image)[1, :36])


def test_log_is_scored_from_the_command_line(checkpoints, log_files, tmp_path, capsys):
    report = tmp_path / "log.json"
    assert run(checkpoints[0], *log_files, "--json", report, "--all", "--rolls", 2) == 0
    assert "pipe.npy, 100 rows of 72 columns as twins of 36" in capsys.readouterr().out
    found = json.loads(report.read_text())
    assert list(found["wells"]["1-stacked"]) == ["pipe"]
    assert found["robustness"]["1-stacked"]["turning"]["identical_pairs"] == 1
    assert any("2 sets of 36" in note for note in found["notes"])


def test_real_log_is_scored_against_its_proxy(checkpoints, real, capsys):
    truth = real / "proxy_masks" / "well_13.npz"
    assert run(checkpoints[0], "--log", real / "wells" / "well_13.npy", "--log-truth", truth) == 0
    assert "well_13.npy, 8,028 rows of 36 columns" in capsys.readouterr().out


def test_csv_labels_score_as_the_labels_folder(checkpoints, data, tmp_path, capsys):
    csv = tmp_path / "y_train.csv"
    write_masks(csv, {path.stem: np.load(path) for path in labels_of(data)})
    bare = tmp_path / "bare"
    shutil.copytree(data, bare)
    shutil.rmtree(bare / "validation" / "labels")
    reports = [tmp_path / "folder.json", tmp_path / "csv.json"]
    assert run(checkpoints[0], "--data", data, "--json", reports[0]) == 0
    assert run(checkpoints[0], "--data", bare, "--labels", csv, "--json", reports[1]) == 0
    assert "labels of y_train.csv" in capsys.readouterr().out
    folder, from_csv = (json.loads(report.read_text())["scores"] for report in reports)
    assert folder == from_csv


def test_submission_has_a_row_for_every_image(checkpoints, data, tmp_path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(data / "validation" / "images", bare / "test" / "images")
    first = sorted((bare / "test" / "images").iterdir())[0]
    np.save(first, np.full((36, 36), -999.25, np.float32))
    out = tmp_path / "y.csv"
    options = ["--data", bare, "--split", "test", "--submission", out]
    assert run(checkpoints[0], *options) == 0
    assert "test has no labels" in capsys.readouterr().out
    masks, rejections = read_masks(out)
    assert not rejections
    assert set(masks) == {path.stem for path in (bare / "test" / "images").iterdir()}
    assert not masks.pop(first.stem).any()
    images = PatchDataset.load(bare, ["test"], cache=False)
    model = Segmenter(checkpoints[:1])
    for name, image in zip(images.names, images.images.numpy(), strict=True):
        expected = model.segment(image)["1-stacked"].mask.ravel()
        # Alone and in a batch the last bits differ, and with them a pixel at the threshold.
        assert (masks[name.split("/")[-1][:-4]] != expected).sum() <= 1


def test_submission_of_several_models_is_one_file_each(checkpoints, data, tmp_path):
    assert run(*checkpoints, "--data", data, "--submission", tmp_path / "y.csv") == 0
    assert {p.name for p in tmp_path.glob("*.csv")} == {"y-1-stacked.csv", "y-1-vanilla.csv"}


def test_robustness_separates_equivariant_from_other_models(checkpoints, data):
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    evaluation_set = EvaluationSet.from_dataset(dataset)
    segmenter = Segmenter(checkpoints)
    found = {}
    for name in segmenter.names:
        probability = evaluation_set.predict(segmenter, name)
        mask = assess(evaluation_set, probability, segmenter.cards[name].threshold).mask
        assert mask.any()
        found[name] = measure_robustness(evaluation_set, segmenter, name, mask)
    shift = found["1-stacked"].shift
    assert (shift.rolls, shift.identical_patches, shift.kept) == (35, 1, 1)
    shift = found["1-vanilla"].shift
    assert shift.identical_patches <= shift.identical_pairs < 0.5
    assert 0 < shift.kept < 1
    for robustness in found.values():
        assert robustness.noise.kept[0] == robustness.gain.kept[2] == 1
        assert robustness.noise.kept[-1] < 1
        # The default input scale is each patch's own, so gain changes rounding at most.
        assert min(robustness.gain.kept) > 0.95


class BlindInColumn0:
    """A segmenter that marks every value above 0, but not in the first column."""

    cards: ClassVar = {"blind": SimpleNamespace(threshold=0.5)}

    def probabilities(self, images, names, interpret):
        found = images.clip(0, 1)
        found[..., 0] *= 0
        return {"blind": found}


def test_shift_consistency_by_hand():
    images = torch.zeros(4, 1, 36)
    images[0, 0, 5] = images[1, 0, 7] = images[1, 0, 9] = 1
    images[3] = torch.nan
    valid = ~images.isnan()
    evaluation_set = EvaluationSet(images, (images == 1), valid, tuple("abcd"), tuple("abcd"), "")
    shift = measure_robustness(evaluation_set, BlindInColumn0(), "blind", images == 1).shift
    assert shift.identical_patches == pytest.approx(1 / 3), "only the empty one of three"
    assert shift.identical_pairs == pytest.approx((34 + 33 + 35) / 105)
    assert shift.kept == pytest.approx((34 + 33 + 2 * 0.5 + 35) / 105)


def test_damaged_label_is_reported(data, tmp_path, capsys, monkeypatch):
    """Two models predict the undamaged labels."""
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    victim = int((dataset.masks.flatten(1).sum(1) > 60).nonzero()[0])
    np.save(
        damaged / "validation" / "labels" / dataset.names[victim].split("/")[-1],
        dataset.masks[victim].roll(2, -1).numpy(),
    )
    paths = []
    for name in ("a", "b"):
        paths.append(tmp_path / f"{name}.safetensors")
        save_checkpoint(paths[-1], create_model("vanilla", widths=(4,)))
    probability = dataset.masks.float().clamp(0.02, 0.98).where(~dataset.images.isnan(), torch.nan)
    monkeypatch.setattr(EvaluationSet, "predict", lambda *_: probability)
    report = tmp_path / "s.json"
    assert run(*paths, "--data", damaged, "--json", report, "--html", tmp_path / "s.html") == 0
    first = json.loads(report.read_text())["suspects"][0]
    assert first["patch"] == dataset.names[victim].split("/")[-1][:-4]
    assert (first["kind"], first["shift"]) == ("shifted", -2)
    assert "2 too far right" in capsys.readouterr().out
    assert "2 too far right" in (tmp_path / "s.html").read_text()


def test_interruption_exits_130(checkpoints, data, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Segmenter, "probabilities", interrupt)
    assert run(checkpoints[0], "--data", data) == 130
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--log", "a.npy"], "give both"),
        (["--log-truth", "a.npy"], "give both"),
        (["--log", "a.npy", "--log-truth", "b.npy", "--data", "d"], "not allowed with"),
        (["--labels", "y.csv"], "together with --data only"),
        (["--submission", "y.csv"], "together with --data only"),
        (["--rolls", "3"], "together with --robustness"),
        (["--robustness", "--rolls", "0"], "at least 1"),
    ],
)
def test_contradicting_options_exit_2(options, words, checkpoints, capsys):
    with pytest.raises(SystemExit) as stop:
        run(checkpoints[0], *options)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_unusable_files_exit_2_with_one_line(checkpoints, data, log_files, tmp_path, capsys):
    np.save(tmp_path / "small.npy", np.zeros((3, 4), np.uint8))
    for options, words in (
        (["--data", data, "--labels", tmp_path / "none.csv"], "none.csv cannot be read"),
        ([*log_files[:3], tmp_path / "small.npy"], "small.npy has the size 3x4, its image 100x72"),
        ([*log_files[:3], tmp_path / "no.npz"], "no.npz does not exist"),
        (["--data", data, "--split", "none", "--submission", tmp_path / "y.csv"], "does not exist"),
        (["--data", data, "--html", data], "it is a folder; name a file"),
        (["--data", data, "--json", "x", "--html", "x"], "written twice"),
        (["--data", data, "--json", checkpoints[0]], "is read, or written twice"),
    ):
        before = sorted(tmp_path.iterdir()), Path(checkpoints[0]).read_bytes()
        assert run(checkpoints[0], *options) == 2, options
        assert (sorted(tmp_path.iterdir()), Path(checkpoints[0]).read_bytes()) == before, options
        said = capsys.readouterr().err
        assert words in said
        assert said.startswith("evaluate: ")
        assert said.count("\n") == 1


def test_log_label_that_is_unknown_everywhere_has_no_scores(checkpoints, log_files, tmp_path):
    np.save(tmp_path / "unknown.npy", np.full((100, 72), 255, np.uint8))
    report, page = tmp_path / "s.json", tmp_path / "s.html"
    options = [*log_files[:3], tmp_path / "unknown.npy", "--all", "--rolls", 2]
    assert run(*checkpoints, *options, "--json", report, "--html", page) == 0
    assert json.loads(report.read_text())["scores"]["1-stacked"]["iou"] is None

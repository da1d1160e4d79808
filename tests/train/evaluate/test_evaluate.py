"""The command that scores, as its user types it."""

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
from geoseg.synthetic import synthesize
from geoseg.twins import split_twins
from tests.helpers.synthetic_data import make_checkpoint, make_data
from train.evaluate import __main__ as evaluate
from train.evaluate.assessment import assess
from train.evaluate.robustness import examine


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Untrained models: stacked turns with the pipe, vanilla does not."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = [
        make_checkpoint(folder / "1-stacked.safetensors", "stacked", width=4),
        make_checkpoint(folder / "1-vanilla.safetensors", "vanilla", widths=(4,)),
    ]
    return [set_threshold(path) for path in paths]


def set_threshold(path):
    """Where a tenth of the pixels of a synthetic log is found, so that masks are not trivial."""
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
    """A log of 72 columns and its truth, unknown in some rows."""
    image, mask = (part[0].numpy().copy() for part in log(72))
    image[50, :40] = np.nan
    mask = mask.astype(np.uint8)
    mask[60:70] = 255
    np.save(tmp_path / "pipe.npy", image)
    np.savez(tmp_path / "truth.npz", mask=mask)
    return ["--log", str(tmp_path / "pipe.npy"), "--log-truth", str(tmp_path / "truth.npz")]


def run(*arguments):
    return evaluate.main([str(argument) for argument in arguments])


def test_everything_at_once(checkpoints, data, tmp_path, capsys):
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
    table = evaluate.evaluate(Segmenter(checkpoints), dataset)
    report = tmp_path / "s.json"
    assert run(*checkpoints, "--data", data, "--json", report) == 0
    assert json.loads(report.read_text())["scores"] == table
    assert "robustness" not in json.loads(report.read_text())


def test_a_perfect_and_a_shifted_answer(data):
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    case = EvaluationSet.of_patches(dataset)
    certain = case.truth.float().where(case.known, torch.nan)
    perfect = assess(case, certain, 0.5)
    best = ("iou", "micro_iou", "micro_dice", "tolerant_dice", "centreline_dice")
    assert [perfect.scores[key] for key in best] == [1] * 5
    assert perfect.scores["ece"] == perfect.scores["brier"] == 0
    assert perfect.grooves.recall == perfect.grooves.precision == 1
    assert perfect.soundness["alarms"] == 0
    shifted = assess(case, certain.roll(1, -1), 0.5)
    assert shifted.scores["micro_iou"] < 0.7
    assert shifted.scores["tolerant_dice"] > 0.97  # nulls take some partners away


def test_false_alarms_on_sound_pipe():
    truth = torch.zeros(4, 3, 5, dtype=torch.bool)
    truth[0, 0, 0] = True
    known = torch.ones_like(truth)
    known[3] = False
    images = torch.zeros(truth.shape).where(known, torch.nan)
    probability = torch.zeros(truth.shape)
    probability[0, 2, 2] = probability[1, 0, :3] = probability[3] = 1
    case = EvaluationSet(images, truth, known, tuple("abcd"), tuple("1122"), "")
    found = assess(case, probability.where(known, torch.nan), 0.5).soundness
    assert found == {"patches": 2, "alarms": 1, "rate": 0.5, "pixels": 1.5}


def test_nothing_counts_where_nothing_is_known(data):
    dataset = PatchDataset.load(data, ["validation"], cache=False)
    images = dataset.images.clone()
    images[:, 10:20] = torch.nan
    lost = EvaluationSet.of_patches(PatchDataset(**{**vars(dataset), "images": images}))
    kept = torch.ones(36, dtype=torch.bool)
    kept[10:20] = False
    wrong_there = lost.truth.float()
    wrong_there[:, 10:20] = 1
    found = assess(lost, wrong_there.where(lost.known, torch.nan), 0.5)
    assert found.scores["micro_iou"] == 1
    assert sum(n.sum() for n in found.counts) == lost.known.sum()


def test_a_log_is_cut_as_the_data_set_cuts_its_own(log_files):
    case = EvaluationSet.of_log(*(map(Path, log_files[1::2])), twins=True)
    image, mask = (part[0].numpy() for part in log(72))
    assert case.images.shape == (2, 100, 36)
    assert case.patches(case.truth).shape == (6, 36, 36)
    assert len(case.names) == len(case.wells) == 6
    assert not case.known[:, 60:70].any()
    assert not case.known[:, 50, :20].any()
    known = np.ones((100, 72), bool)
    known[60:70] = known[50, :40] = False
    assert case.truth.sum() == (mask * known).sum()
    assert np.array_equal(case.patches(case.images)[3], split_twins(image)[1, :36])
    whole = EvaluationSet.of_log(*(map(Path, log_files[1::2])), twins=False)
    assert whole.images.shape == (1, 100, 72)
    assert whole.truth.sum() == case.truth.sum()


def test_a_log_from_the_command_line(checkpoints, log_files, tmp_path, capsys):
    report = tmp_path / "log.json"
    assert run(checkpoints[0], *log_files, "--json", report, "--all", "--rolls", 2) == 0
    assert "pipe.npy, 100 rows of 72 columns as twins of 36" in capsys.readouterr().out
    found = json.loads(report.read_text())
    assert list(found["wells"]["1-stacked"]) == ["pipe"]
    assert found["robustness"]["1-stacked"]["turning"]["identical_pairs"] == 1
    assert run(checkpoints[0], *log_files, "--no-twins", "--html", tmp_path / "log.html") == 0
    assert "72 columns; empty" in capsys.readouterr().out


def test_a_real_log_against_its_proxy(checkpoints, real, capsys):
    truth = real / "proxy_masks" / "well_13.npz"
    assert run(checkpoints[0], "--log", real / "wells" / "well_13.npy", "--log-truth", truth) == 0
    assert "well_13.npy, 8,028 rows of 36 columns" in capsys.readouterr().out


def test_labels_of_a_csv(checkpoints, data, tmp_path, capsys):
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


def test_a_submission_has_a_row_for_every_image(checkpoints, data, tmp_path, capsys):
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


def test_several_models_submit_a_file_each(checkpoints, data, tmp_path):
    assert run(*checkpoints, "--data", data, "--submission", tmp_path / "y.csv") == 0
    assert {p.name for p in tmp_path.glob("*.csv")} == {"y-1-stacked.csv", "y-1-vanilla.csv"}


def test_robustness_tells_a_model_that_turns_from_one_that_does_not(checkpoints, data):
    case = EvaluationSet.of_patches(PatchDataset.load(data, ["validation"], cache=False))
    segmenter = Segmenter(checkpoints)
    found = {}
    for name in segmenter.names:
        probability = case.probability(segmenter, name)
        mask = assess(case, probability, segmenter.cards[name].threshold).mask
        assert mask.any()
        found[name] = examine(case, segmenter, name, mask)
    turning = found["1-stacked"].turning
    assert (turning.rolls, turning.identical_patches, turning.kept) == (35, 1, 1)
    turning = found["1-vanilla"].turning
    assert turning.identical_patches <= turning.identical_pairs < 0.5
    assert 0 < turning.kept < 1
    for robustness in found.values():
        assert robustness.noise.kept[0] == robustness.gain.kept[2] == 1
        assert robustness.noise.kept[-1] < 1
        # The default input scale is each patch's own, so gain changes rounding at most.
        assert min(robustness.gain.kept) > 0.95


class BlindInColumn0:
    """A segmenter that finds every value above 0, but not in the first column."""

    cards: ClassVar = {"blind": SimpleNamespace(threshold=0.5)}

    def probabilities(self, images, names):
        found = images.clip(0, 1)
        found[..., 0] *= 0
        return {"blind": found}


def test_turning_by_hand():
    images = torch.zeros(4, 1, 36)
    images[0, 0, 5] = images[1, 0, 7] = images[1, 0, 9] = 1
    images[3] = torch.nan
    known = ~images.isnan()
    case = EvaluationSet(images, (images == 1), known, tuple("abcd"), tuple("abcd"), "")
    turning = examine(case, BlindInColumn0(), "blind", images == 1).turning
    assert turning.identical_patches == pytest.approx(1 / 3), "only the empty one, nulls left out"
    assert turning.identical_pairs == pytest.approx((34 + 33 + 35) / 105)
    assert turning.kept == pytest.approx((34 + 33 + 2 * 0.5 + 35) / 105)


def test_damaged_labels_are_found(data, tmp_path, capsys, monkeypatch):
    """Two models that know the truth, and one label that does not."""
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
    truth = dataset.masks.float().clamp(0.02, 0.98).where(~dataset.images.isnan(), torch.nan)
    monkeypatch.setattr(EvaluationSet, "probability", lambda *_: truth)
    report = tmp_path / "s.json"
    assert run(*paths, "--data", damaged, "--json", report, "--html", tmp_path / "s.html") == 0
    first = json.loads(report.read_text())["suspects"][0]
    assert first["patch"] == dataset.names[victim].split("/")[-1][:-4]
    assert (first["kind"], first["shift"]) == ("shifted", -2)
    assert "2 too far right" in capsys.readouterr().out
    assert "2 too far right" in (tmp_path / "s.html").read_text()


def test_an_interruption_leaves_cleanly(checkpoints, data, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Segmenter, "probabilities", interrupt)
    assert run(checkpoints[0], "--data", data) == 130
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--log", "a.npy"], "belong together"),
        (["--log-truth", "a.npy"], "belong together"),
        (["--log", "a.npy", "--log-truth", "b.npy", "--data", "d"], "choose one"),
        (["--no-twins"], "name one"),
        (["--labels", "y.csv"], "name their folder"),
        (["--submission", "y.csv"], "name their folder"),
        (["--rolls", "3"], "belongs to --robustness"),
        (["--robustness", "--rolls", "0"], "at least 1"),
    ],
)
def test_contradictions_exit_2(options, words, checkpoints, capsys):
    with pytest.raises(SystemExit) as stop:
        run(checkpoints[0], *options)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_mistakes_in_files_exit_2_with_one_line(checkpoints, data, log_files, tmp_path, capsys):
    np.save(tmp_path / "small.npy", np.zeros((3, 4), np.uint8))
    for options, words in (
        (["--data", data, "--labels", tmp_path / "none.csv"], "none.csv cannot be read"),
        ([*log_files[:3], tmp_path / "small.npy"], "has the shape (100, 72) and small.npy (3, 4)"),
        ([*log_files[:3], tmp_path / "no.npz"], "no.npz does not exist"),
        (["--data", data, "--split", "none", "--submission", tmp_path / "y.csv"], "holds no .npy"),
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


def test_a_truth_that_is_known_nowhere_is_no_truth(checkpoints, log_files, tmp_path, capsys):
    np.save(tmp_path / "unknown.npy", np.full((100, 72), 255, np.uint8))
    options = [*log_files[:3], tmp_path / "unknown.npy", "--all"]
    assert run(checkpoints[0], *options) == 2
    assert "known nowhere" in capsys.readouterr().err

"""Cross-validation over whole wells: one run for each fold, and their summary."""

import json
import math
import signal

import pytest
from safetensors.torch import load_file

from geoseg import PatchDataset, Segmenter, scores
from geoseg.metrics import METRICS
from train.__main__ import main
from train.checkpointing import RunCheckpointer

RUN = "3-unet-8-halving"
FOLDS = [f"{RUN}-fold-{i}-of-3" for i in (1, 2, 3)]
CHANGING = ("seconds", "patches_per_second")  # differ between two equal runs


def train(data, output, *more):
    """Train the smallest experiment in this process; return the exit code."""
    command = ["-e", "3", "-nowb", "--cpu", "--data", str(data), "-o", str(output)]
    return main([*command, "--precision", "fp32", "--epochs", "2", *more])


@pytest.fixture(scope="module")
def folds(data, tmp_path_factory):
    """Train a finished cross-validation."""
    output = tmp_path_factory.mktemp("runs")
    assert train(data, output, "--folds", "3") == 0
    return output


def read_reports(output):
    return [json.loads((output / fold / "report.json").read_text()) for fold in FOLDS]


def read_summary(output):
    return json.loads((output / f"{RUN}-folds.json").read_text())


def strip_timing(value):
    """Remove what differs between two equal runs from a report or a line of metrics."""
    if isinstance(value, dict):
        return {k: strip_timing(v) for k, v in value.items() if k not in CHANGING}
    return [strip_timing(v) for v in value] if isinstance(value, list) else value


def read_records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return strip_timing([json.loads(line) for line in lines])


def test_every_fold_leaves_a_run_and_all_leave_a_summary(folds):
    assert sorted(path.name for path in folds.iterdir()) == sorted([*FOLDS, f"{RUN}-folds.json"])
    for number, (fold, report) in enumerate(zip(FOLDS, read_reports(folds), strict=True), 1):
        assert report["run"] == fold
        assert report["epochs"] == 2
        assert strip_timing(report["last"]) == read_records(folds / fold)[-1]
        assert report["best"]["iou"] == max(r["iou"] for r in read_records(folds / fold))
        assert f"fold {number}/3" in report["data"]


def test_every_well_is_scored_once(folds):
    scored = [well for report in read_reports(folds) for well in report["best"]["wells"]]
    assert sorted(scored) == ["1", "2", "3", "4", "5"]
    merged = {}
    for report in read_reports(folds):
        merged |= report["best"]["wells"]
        wells = ", ".join(report["best"]["wells"])
        assert report["data"].endswith(f"validation wells {wells})")
    assert read_summary(folds)["wells"] == merged


def test_score_of_a_well_is_the_checkpoints_on_its_patches(folds, data):
    dataset = PatchDataset.load(data)
    for fold, report in zip(FOLDS, read_reports(folds), strict=True):
        segmenter = Segmenter([folds / fold / "best.safetensors"], "cpu")
        for well, iou in report["best"]["wells"].items():
            patches = dataset.select(dataset.wells == int(well))
            (probabilities,) = segmenter.probabilities(patches.images.numpy()).values()
            assert scores(probabilities, patches.masks)["iou"] == pytest.approx(iou, abs=1e-6)


@pytest.mark.parametrize("which", ["best", "last"])
def test_mean_and_spread_match_the_runs(which, folds):
    found = read_summary(folds)["summary"][which]
    assert found.keys() == set(METRICS)
    for metric in METRICS:
        values = [report[which][metric] for report in read_reports(folds)]
        mean = sum(values) / 3
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
        assert found[metric]["mean"] == pytest.approx(mean)
        assert found[metric]["spread"] == pytest.approx(spread)
    assert read_summary(folds)["runs"] == read_reports(folds)


def test_table_is_printed_and_finished_folds_are_not_repeated(folds, data, capsys):
    names = ("best.safetensors", "last.safetensors")
    files = [path for fold in FOLDS for path in (folds / fold).rglob("*.safetensors")]
    assert {path.name for path in files} > set(names)
    before = [(path, path.stat().st_mtime_ns) for path in sorted(files)]
    metrics = [read_records(folds / fold) for fold in FOLDS]
    assert train(data, folds, "--folds", "3", "--resume") == 0
    files = [path for fold in FOLDS for path in (folds / fold).rglob("*.safetensors")]
    assert [(path, path.stat().st_mtime_ns) for path in sorted(files)] == before
    assert [read_records(folds / fold) for fold in FOLDS] == metrics
    output = capsys.readouterr().out
    assert output.count("finds all 2 epochs done") == 3
    assert "epoch 1/2  loss" not in output
    assert f"{RUN}, 3 folds of wells" in output
    lines = output.splitlines()
    for report in read_reports(folds):
        best, last = report["best"], report["last"]
        wells = ", ".join(f"{well} {iou:.3f}" for well, iou in best["wells"].items())
        row = next(line for line in lines if line.lstrip().startswith(wells))
        assert row.split()[-3:] == [str(best["epoch"]), f"{best['iou']:.3f}", f"{last['iou']:.3f}"]
    row = next(line for line in lines if "mean and spread" in line)
    for which in ("best", "last"):
        values = read_summary(folds)["summary"][which]["iou"]
        assert f"{values['mean']:.3f} ± {values['spread']:.3f}" in row


def test_stopped_cross_validation_resumes(folds, data, tmp_path, capsys, monkeypatch):
    add_epoch = RunCheckpointer.add_epoch

    def stop_in_the_second(checkpointer, epoch):
        add_epoch(checkpointer, epoch)
        if checkpointer.folder.name == FOLDS[1]:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpointer, "add_epoch", stop_in_the_second)
        assert train(data, tmp_path, "--folds", "3") == 143
    assert "continue with --resume" in capsys.readouterr().out
    assert [(tmp_path / fold / "report.json").exists() for fold in FOLDS] == [True, False, False]
    assert not (tmp_path / f"{RUN}-folds.json").exists()
    assert len(read_records(tmp_path / FOLDS[1])) == 1
    first = (tmp_path / FOLDS[0] / "last.safetensors").stat()
    assert train(data, tmp_path, "--folds", "3", "--resume") == 0
    assert (tmp_path / FOLDS[0] / "last.safetensors").stat().st_mtime_ns == first.st_mtime_ns
    output = capsys.readouterr().out
    assert "finds all 2 epochs done" in output
    assert "after 1 epochs and 0 of" in output
    assert f"Nothing to resume in {tmp_path / FOLDS[2]}" in output
    assert output.count("epoch 1/2  loss") == 1
    assert output.count("epoch 2/2  loss") == 2
    assert strip_timing(read_summary(tmp_path)) == strip_timing(read_summary(folds))
    for fold in FOLDS:
        one, other = (load_file(root / fold / "last.safetensors") for root in (tmp_path, folds))
        assert one.keys() == other.keys()
        assert all(one[name].equal(other[name]) for name in one)


def test_single_run_scores_its_wells(data, tmp_path, capsys):
    assert train(data, tmp_path, "--epochs", "1", "--leave-out", "2", "4") == 0
    report = json.loads((tmp_path / RUN / "report.json").read_text())
    assert sorted(report["best"]["wells"]) == ["2", "4"]
    assert sorted(report["last"]["wells"]) == ["2", "4"]
    wells = ", ".join(f"{well} {iou:.3f}" for well, iou in report["best"]["wells"].items())
    assert f"by well: {wells}" in capsys.readouterr().out
    assert not (tmp_path / f"{RUN}-folds.json").exists()


@pytest.mark.parametrize("count", ["0", "1", "99", "-3"])
def test_impossible_folds_are_one_line_and_exit_2(count, data, tmp_path, capsys):
    assert train(data, tmp_path, "--folds", count) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"cannot split the 5 wells [1, 2, 3, 4, 5] into {count} folds" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", [["--leave-out", "1"], ["--fold", "1/3"]])
def test_folds_exclude_other_ways_of_splitting(other, data, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        train(data, tmp_path, "--folds", "3", *other)
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {other[0]}: not allowed with argument --folds" in message


def test_existing_folds_are_not_overwritten_by_accident(folds, data, capsys):
    assert train(data, folds, "--folds", "3") == 2
    assert f"{FOLDS[0]} already holds a run" in capsys.readouterr().err

"""`python -m train`: processes, the run's folder, messages and exit codes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors import SafetensorError

from geoseg import Segmenter, load_checkpoint, read_card
from tests.helpers import ROOT
from tests.helpers.run_folders import read_lines
from tests.helpers.train_process import wait_until
from train import cards
from train.__main__ import main
from train.evaluate import __main__ as evaluate
from train.experiments import EXPERIMENTS

START, END = "<!-- checkpoints: python -m train.cards -->", "<!-- /checkpoints -->"


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Train the smallest experiment."""
    output = tmp_path_factory.mktemp("runs")
    command = ["-e", "3", "-nowb", "--cpu", "--data", str(data), "-o", str(output)]
    assert main([*command, "--epochs", "2", "--precision", "fp32", "--seed", "4"]) == 0
    return output / "3-unet-8-halving"


def test_run_writes_its_folder(run):
    assert sorted(p.name for p in run.iterdir()) == [
        *("best.safetensors", "config.json", "last.safetensors", "metrics.jsonl"),
        *("report.json", "resume"),
    ]
    config = json.loads((run / "config.json").read_text())
    assert (config["id"], config["epochs"], config["seed"]) == (3, 2, 4)
    assert config["command"].startswith("python -m train -e 3 -nowb")
    lines = read_lines(run)
    assert [line["epoch"] for line in lines] == [1, 2]
    expected = {"accuracy", "precision", "recall", "dice", "iou", "loss", "validation_loss"}
    expected |= {"learning_rate", "patches_per_second", "seconds", "epoch", "threshold", "wells"}
    assert set(lines[0]) == expected


def test_checkpoints_record_their_training(run):
    best, last = (read_card(run / f"{name}.safetensors") for name in ("best", "last"))
    assert last.experiment["epochs_done"] == 2
    assert (last.experiment["id"], last.experiment["name"]) == (3, "unet-8-halving")
    assert last.experiment["seed"] == 4
    assert "48 to train, 12 to validate" in last.data
    assert 0 < best.threshold < 1
    lines = read_lines(run)
    assert best.metrics["validation"]["iou"] == max(line["iou"] for line in lines)
    model = load_checkpoint(run / "best.safetensors")
    assert model.count_parameters() == 12_250
    assert Segmenter([run / "best.safetensors"]).names == ("3-unet-8-halving",)


def test_existing_run_is_not_overwritten_by_accident(run, data, capsys):
    before = (run / "best.safetensors").read_bytes()
    command = ["-e", "3", "-nowb", "--cpu", "--data", str(data), "-o", str(run.parent)]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (run / "best.safetensors").read_bytes() == before


def test_overwriting_deletes_the_old_checkpoints_first(run, data, tmp_path, start_process):
    folder = tmp_path / "3-unet-8-halving"
    shutil.copytree(run, folder)
    process = start_process(
        *("-e", 3, "-nowb", "--cpu", "--overwrite", "--seed", 7, "--epochs", 10_000),
        *("--data", data, "-o", tmp_path),
    )
    wait_until(lambda: "writing" in process.read_output(), process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    for path in folder.glob("*.safetensors"):
        assert read_card(path).experiment["seed"] == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-e", "999"], "no experiment '999'"),
        (["-e", "3", "--data", "nowhere"], "nowhere"),
        (["-e", "3", "--device", "abacus"], "choose auto, cpu or cuda"),
        (["-e", "3", "--leave-out", "77"], "no labelled patch of well 77"),
        (["-e", "3", "--device", "meta"], "choose auto, cpu or cuda"),
        (["-e", "3", "-o", "/dev/null/runs"], "/dev/null"),
        (["-e", "3", "--random-split", "0.2"], "leaks"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, words, data, tmp_path, capsys):
    if "--data" not in arguments:
        arguments = [*arguments, "--data", str(data)]
    if "-o" not in arguments:
        arguments = [*arguments, "-o", str(tmp_path)]
    assert main([*arguments, "-nowb"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-e", "3", "--epochs", "0"],
        ["-e", "3", "--bogus"],
        ["-e", "3", "--seed", "99999999999999"],
        ["-e", "3", "--seed", "-1"],
        ["-e", "3", "--save-every", "-1"],
        ["-e", "3", "--save-every", "nan"],
        ["-e", "3", "--without", "haste"],
        ["-e", "3", "--cpu", "--device", "cuda"],
        ["-e", "3", "--fold", "9/2"],
        ["-e", "3", "--fold", ""],
        ["-e", "3", "--fold", "²/3"],
    ],
)
def test_wrong_command_lines_exit_2(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_list_shows_every_experiment(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(EXPERIMENTS)
    assert all(e.name in line for e, line in zip(EXPERIMENTS, lines, strict=True))
    by_id = {line.split()[0]: line for line in lines}
    assert by_id["621"].endswith("roll flip, trivial toy labels")
    assert by_id["1004"].endswith("teacher 53 (temperature 4, weight 0.8)")
    assert "teacher" not in by_id["2001"]


def test_splits_by_wells_folds_and_patches(data, tmp_path, capsys):
    command = ["-e", "3", "-nowb", "--cpu", "--epochs", "1", "--data", str(data)]
    assert main([*command, "-o", str(tmp_path / "a"), "--leave-out", "1", "2"]) == 0
    assert "validation wells 1, 2" in capsys.readouterr().out
    assert main([*command, "-o", str(tmp_path / "b"), "--fold", "2/5"]) == 0
    first = capsys.readouterr().out
    assert "fold 2/5" in first
    assert main([*command, "-o", str(tmp_path / "b2"), "--fold", "2/5", "--seed", "9"]) == 0
    assert "validation wells" in first
    wells = [
        text.split("validation wells")[1].split(")")[0] for text in (first, capsys.readouterr().out)
    ]
    assert wells[0] == wells[1]
    leaky = [*command, "-o", str(tmp_path / "c"), "--random-split", "0.25", "--allow-leakage"]
    with pytest.warns(UserWarning, match="leaks"):
        assert main(leaky) == 0
    assert "RANDOM" in capsys.readouterr().out


def test_leaking_folders_are_refused_unless_allowed(data, tmp_path, capsys):
    leaky = tmp_path / "leaky"
    shutil.copytree(data, leaky)
    for kind in ("images", "labels"):
        for path in sorted((leaky / "train" / kind).glob("well_1_*"))[:3]:
            path.rename(leaky / "validation" / kind / path.name)
    command = ["-e", "3", "-nowb", "--cpu", "--epochs", "1", "--data", str(leaky)]
    assert main([*command, "-o", str(tmp_path / "a")]) == 2
    assert "both hold patches of [1]" in capsys.readouterr().err
    assert main([*command, "-o", str(tmp_path / "b"), "--allow-leakage"]) == 0


def test_paths_are_printed_verbatim(data, tmp_path, capsys):
    """Square brackets are not markup."""
    output = tmp_path / "[bold]a[/b] é"
    shutil.copytree(data, tmp_path / "data[old] [x]")
    command = ["-e", "3", "-nowb", "--cpu", "--epochs", "1", "-o", str(output)]
    assert main([*command, "--data", str(tmp_path / "data[old] [x]")]) == 0
    text = capsys.readouterr().out
    assert f"writing {output}" in text
    assert "patches of data[old] [x];" in text


def test_two_experiments_run_one_after_the_other(data, tmp_path, capsys):
    command = ["-e", "3", "unet-24-short", "-nowb", "--cpu", "--epochs", "1", "--data", str(data)]
    assert main([*command, "-o", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0-unet-24-short", "3-unet-8-halving"]


def test_full_disk_is_one_line_and_harms_nothing(run, data, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("geoseg.checkpoint.save_file", full)
    command = ["-e", "3", "-nowb", "--cpu", "--epochs", "1", "--data", str(data)]
    assert main([*command, "-o", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "cannot be written: I/O error: No space left" in message
    assert message.count("\n") == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_output_without_a_terminal_is_plain_lines(data, tmp_path):
    command = ["-e", "3", "-nowb", "--epochs", "1", "--data", str(data), "-o", str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-m", "train", *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    text = process.stdout + process.stderr
    assert process.returncode == 0, text
    assert "epoch 1/1  loss" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_terminal_shows_live_progress(data, tmp_path, start_process):
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    outside, inside = pty.openpty()
    process = start_process(
        *("-e", 3, "-nowb", "--epochs", 2, "--cpu", "--data", data, "-o", tmp_path),
        terminal=os.ttyname(inside),
        environment={"TERM": "xterm", "COLUMNS": "120"},
    )
    shown = b""
    os.set_blocking(outside, False)
    while True:
        ended = process.poll() is not None
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(outside, 65536):
                shown += piece
        if ended:
            break
        time.sleep(0.02)
    os.close(inside)
    os.close(outside)
    text = shown.decode()
    assert process.returncode == 0, text
    assert "epoch 2/2  loss" in text
    assert "48/48" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_a_usable_last_checkpoint(number, data, tmp_path, start_process):
    command = ("-e", 3, "-nowb", "--epochs", 10_000, "--data", data, "-o", tmp_path)
    process = start_process(*command)
    folder = tmp_path / "3-unet-8-halving"
    lines = folder / "metrics.jsonl"
    wait_until(lambda: lines.exists() and lines.stat().st_size, process)
    process.send_signal(number)
    text = "".join(process.communicate())
    assert process.returncode == 128 + number, text
    assert f"Stopped by {signal.Signals(number).name}" in text
    assert "Traceback" not in text
    card = load_checkpoint(folder / "last.safetensors").card
    assert card.experiment["epochs_done"] >= 1
    # Within an epoch the weights have no scores.
    assert card.experiment["interrupted"] == (card.metrics == {})
    assert read_lines(folder)[0]["epoch"] == 1


def test_evaluate_scores_and_records(run, data, tmp_path, capsys):
    checkpoint = run / "best.safetensors"
    report = tmp_path / "scores.json"
    before = load_checkpoint(checkpoint)
    command = [str(checkpoint), "--data", str(data), "--json", str(report), "--record", "held out"]
    assert evaluate.main(command) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("3-unet-8-halving @ 0.")
    scores = json.loads(report.read_text())["scores"]["3-unet-8-halving"]
    assert f"{scores['micro_iou']:.3f}" in row
    assert set(scores) >= {"micro_iou", "micro_dice", "iou", "dice", "accuracy"}
    after = load_checkpoint(checkpoint)
    entry = after.card.metrics["held out"]
    assert entry["iou"] == pytest.approx(scores["iou"], abs=1e-4)
    assert entry["on"] == "12 patches of data/validation"
    assert after.card.experiment == before.card.experiment
    for name, value in before.state_dict().items():
        assert after.state_dict()[name].equal(value)


def test_evaluate_mistakes_exit_2(run, data, tmp_path, capsys):
    checkpoint = str(run / "best.safetensors")
    assert evaluate.main([str(tmp_path / "none.safetensors")]) == 2
    assert evaluate.main([checkpoint, "--data", str(tmp_path)]) == 2
    assert evaluate.main([checkpoint, "--data", str(data), "--split", "test"]) == 2
    assert evaluate.main([checkpoint, "--data", str(data), "--json", "/dev/null/a"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("evaluate: ") for line in lines)
    with pytest.raises(SystemExit) as stop:
        evaluate.main([checkpoint, "--record", "x", "--empty", "original"])
    assert stop.value.code == 2


def test_evaluate_reports_rejected_files(run, data, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    deleted = sorted((broken / "validation" / "labels").iterdir())[:5]
    for path in deleted:
        path.unlink()
    assert evaluate.main([str(run / "best.safetensors"), "--data", str(broken)]) == 0
    output = capsys.readouterr().out
    assert deleted[0].name in output
    assert "7 patches of broken/validation (5 files rejected)" in output


def test_cards_rewrite_the_marked_table_only(run, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "3-unet-8-halving.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    assert cards.main([str(folder), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "12,250" in text
    card = (folder / "README.md").read_text()
    assert "27 columns, 27 rows" in card
    assert "python -m train -e 3 -nowb" in card
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cards.main([str(empty), "--readme", str(readme)]) == 2
    assert readme.read_text() == text
    assert not list(empty.iterdir())
    readme.write_text("no marks")
    assert cards.main([str(folder), "--readme", str(readme)]) == 2
    assert readme.read_text() == "no marks"

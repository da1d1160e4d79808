"""The program that writes a checkpoint in fewer bits, as its user meets it."""

import pytest
import torch

from geoseg import (
    CheckpointError,
    Normalisation,
    Quantisation,
    Segmenter,
    create_model,
    find_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from tests.helpers.synthetic_data import make_data
from train import cards
from train.evaluate import evaluate
from train.evaluate.__main__ import main as evaluate_main
from train.evaluate.data import load_labelled_patches
from train.quantise import ALL, compare, main, quantise, quantised_name


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 5, 40)


@pytest.fixture
def full(tmp_path):
    model = create_model("unet", width=8)
    with torch.no_grad():  # so that its masks are neither empty nor full
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)) / 4)
    path = tmp_path / "models" / "7-unet.safetensors"
    save_checkpoint(
        path,
        model,
        normalisation=Normalisation(scale=0.02),
        threshold=0.35,
        experiment={"id": 7, "name": "unet"},
        data="nothing",
        metrics={"validation": {"iou": 0.5}},
    )
    return path


def score_on(data):
    return ["--data", str(data), "--device", "cpu"]


def cells(text):
    """The table's rows, by bits and scale."""
    rows = [
        line.split() for line in text.splitlines() if line.strip()[:2] in ("32", "16", "8 ", "4 ")
    ]
    return {(int(row[0]), row[-5]): row[-4:] for row in rows}


def test_eight_bits_stand_beside_the_full_checkpoint(full, data, capsys):
    assert main([str(full), *score_on(data)]) == 0
    small = full.with_name("7-unet-8bit.safetensors")
    assert find_checkpoints(full.parent) == [full, small]
    card, whole = load_checkpoint(small).card, load_checkpoint(full).card
    assert card.quantisation == Quantisation(8, "channel")
    assert (card.threshold, card.normalisation) == (whole.threshold, whole.normalisation)
    assert (card.experiment, card.data) == (whole.experiment, whole.data)
    assert card.metrics == {}, "those scores are the full weights'"
    table = cells(capsys.readouterr().out)
    assert [row[0] for row in table.values()] == [f"{p.stat().st_size:,}" for p in (full, small)]


def test_the_scores_are_those_of_evaluate(full, data):
    small = full.with_name("small.safetensors")
    quantise(full, small, Quantisation(4, "layer"))
    dataset, _ = load_labelled_patches(data, "validation", None)
    outcomes = compare([full, small], dataset, "cpu")
    table = evaluate(Segmenter([full, small], "cpu"), dataset)
    for outcome, scores in zip(outcomes, table.values(), strict=True):
        assert (outcome.micro_iou, outcome.iou) == (scores["micro_iou"], scores["iou"])
    assert outcomes[0].agreement == 1
    assert 0.5 < outcomes[1].agreement < 1


def test_all_compares_and_keeps_only_what_is_asked_for(full, data, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main([str(full), "--all", *score_on(data)]) == 0
    table = cells(capsys.readouterr().out)
    assert list(table) == [(32, "none"), *((q.bits, q.per) for q in ALL)]
    assert sorted(tmp_path.rglob("*")) == before
    kept = tmp_path / "kept"
    assert main([str(full), "--all", "-o", str(kept), *score_on(data)]) == 0
    files = {path.stem: load_checkpoint(path).card.quantisation for path in kept.iterdir()}
    assert files == {quantised_name("7-unet", q): q for q in ALL}


def test_nothing_is_overwritten_unasked(full, data, tmp_path, capsys):
    target = tmp_path / "there.safetensors"
    target.write_text("mine")
    command = [str(full), "--bits", "4", "-o", str(target), *score_on(data)]
    assert main(command) == 2
    assert target.read_text() == "mine"
    assert "there.safetensors is there already" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert load_checkpoint(target).card.quantisation == Quantisation(4)
    assert main([str(full), "-o", str(full), "--overwrite", *score_on(data)]) == 2
    assert load_checkpoint(full).card.quantisation is None


def test_mistakes_exit_2_and_write_nothing(full, data, tmp_path, capsys):
    small = full.with_name("small.safetensors")
    quantise(full, small, Quantisation(8))
    before = sorted(tmp_path.rglob("*"))
    assert main([str(tmp_path / "none.safetensors")]) == 2
    assert main([str(small), *score_on(data)]) == 2
    assert main([str(full), "--data", str(tmp_path)]) == 2
    assert main([str(full), "--data", str(data), "--device", "abacus"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("quantise: ") for line in lines)
    assert len(lines) == 4
    assert "in 8 bits already" in lines[1]
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit) as stop:
        main([str(full), "--bits", "5"])
    assert stop.value.code == 2


def test_a_file_that_cannot_be_written_exits_1(full, data, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([str(full), "-o", str(tmp_path / "file" / "a"), *score_on(data)]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_no_checkpoint_is_quantised_twice(full):
    small = full.with_name("small.safetensors")
    quantise(full, small, Quantisation(8))
    with pytest.raises(ValueError, match="take the full checkpoint"):
        quantise(small, full.with_name("smaller.safetensors"), Quantisation(4))
    with pytest.raises(CheckpointError, match="no such file"):
        quantise(full.with_name("none"), small, Quantisation(4))


def test_recording_scores_keeps_the_bits_and_cards_show_them(full, data, tmp_path):
    small = full.with_name("7-unet-8bit.safetensors")
    quantise(full, small, Quantisation(8))
    before = load_checkpoint(small)
    assert evaluate_main([str(small), *score_on(data), "--record", "held out"]) == 0
    after = load_checkpoint(small)
    assert after.card.quantisation == Quantisation(8)
    assert after.card.metrics["held out"]["on"] == "8 patches of data/validation"
    for name, value in before.state_dict().items():
        assert after.state_dict()[name].equal(value)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- checkpoints: c -->\n<!-- /checkpoints -->\n")
    assert cards.main([str(full.parent), "--readme", str(readme)]) == 0
    rows = [line.split(" | ") for line in readme.read_text().splitlines() if "`" in line]
    kilobytes = [f"{path.stat().st_size / 1000:,.0f} kB" for path in (full, small)]
    assert [row[2] for row in rows] == [kilobytes[0], f"{kilobytes[1]}, 8 bits"]
    assert "- Weights: 8 bits, a scale a channel" in (full.parent / "README.md").read_text()

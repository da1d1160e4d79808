"""The command that writes a checkpoint in fewer bits."""

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
from train.quantise import (
    ALL_BITS,
    compare_checkpoints,
    main,
    quantise_checkpoint,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 5, 40)


@pytest.fixture
def full(tmp_path):
    model = create_model("unet", width=8)
    with torch.no_grad():  # weights that give masks neither empty nor full
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
    """Return the rows of the table, by bits."""
    rows = [
        line.split() for line in text.splitlines() if line.strip()[:2] in ("32", "16", "8 ", "4 ")
    ]
    return {int(row[0]): row[-4:] for row in rows}


def test_8_bits_are_written_beside_the_full_checkpoint(full, data, capsys):
    assert main([str(full), *score_on(data)]) == 0
    small = full.with_name("7-unet-8bit.safetensors")
    assert find_checkpoints(full.parent) == [full, small]
    card, whole = load_checkpoint(small).card, load_checkpoint(full).card
    assert card.quantisation == Quantisation(8)
    assert (card.threshold, card.normalisation) == (whole.threshold, whole.normalisation)
    assert (card.experiment, card.data) == (whole.experiment, whole.data)
    assert card.metrics == {}, "the scores are those of the full weights"
    table = cells(capsys.readouterr().out)
    assert [row[0] for row in table.values()] == [f"{p.stat().st_size:,}" for p in (full, small)]


def test_scores_equal_those_of_evaluate(full, data):
    small = full.with_name("small.safetensors")
    quantise_checkpoint(full, small, 4)
    dataset, _ = load_labelled_patches(data, "validation", None)
    comparisons = compare_checkpoints([full, small], dataset, "cpu")
    table = evaluate(Segmenter([full, small], "cpu"), dataset)
    for comparison, scores in zip(comparisons, table.values(), strict=True):
        assert (comparison.micro_iou, comparison.iou) == (scores["micro_iou"], scores["iou"])
    assert comparisons[0].agreement == 1
    assert 0.5 < comparisons[1].agreement < 1


def test_all_compares_every_width_and_keeps_files_only_with_output(full, data, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main([str(full), "--all", *score_on(data)]) == 0
    table = cells(capsys.readouterr().out)
    assert list(table) == [32, *ALL_BITS]
    assert sorted(tmp_path.rglob("*")) == before
    kept = tmp_path / "kept"
    assert main([str(full), "--all", "-o", str(kept), *score_on(data)]) == 0
    files = {path.stem: load_checkpoint(path).card.quantisation for path in kept.iterdir()}
    assert files == {f"7-unet-{bits}bit": Quantisation(bits) for bits in ALL_BITS}


def test_existing_files_are_kept_without_overwrite(full, data, tmp_path, capsys):
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
    quantise_checkpoint(full, small, 8)
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


def test_unwritable_output_exits_1(full, data, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([str(full), "-o", str(tmp_path / "file" / "a"), *score_on(data)]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_quantised_checkpoint_is_refused(full):
    small = full.with_name("small.safetensors")
    quantise_checkpoint(full, small, 8)
    with pytest.raises(ValueError, match="take the full checkpoint"):
        quantise_checkpoint(small, full.with_name("smaller.safetensors"), 4)
    with pytest.raises(CheckpointError, match="no such file"):
        quantise_checkpoint(full.with_name("none"), small, 4)


def test_evaluate_record_keeps_the_bits_and_cards_show_them(full, data, tmp_path):
    small = full.with_name("7-unet-8bit.safetensors")
    quantise_checkpoint(full, small, 8)
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
    assert "- Weights: 8 bits, a scale per channel" in (full.parent / "README.md").read_text()

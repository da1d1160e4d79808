"""Synthetic pipes that are made for every epoch (`--fresh`)."""

import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from geoseg.checkpoint import load_checkpoint
from geoseg.synthetic import make_fresh_dataset
from geoseg.synthetic.grooves import corrupt_labels
from train.__main__ import main
from train.data import load_data
from train.experiments import find_experiments
from train.loop import Trainer
from train.options import parse_options
from train.run import RunSettings, run_experiment
from train.sampling import prepare
from train.signals import StopRequest


def are_equal(one, other):
    return torch.equal(one.images.nan_to_num(9), other.images.nan_to_num(9)) and torch.equal(
        one.masks, other.masks
    )


def test_pipes_are_a_function_of_seed_and_turn():
    first = make_fresh_dataset(40, wells=5, seed=3, generation=2)
    assert are_equal(first, make_fresh_dataset(40, wells=5, seed=3, generation=2))
    for seed, generation in ((3, 1), (2, 2), (2, 3)):
        other = make_fresh_dataset(40, wells=5, seed=seed, generation=generation)
        assert not are_equal(first, other)


@pytest.mark.parametrize(("patches", "wells"), [(1, 1), (40, 1), (100, 7), (64, 64)])
def test_patches_are_spread_over_the_wells(patches, wells):
    dataset = make_fresh_dataset(patches, wells=wells)
    assert len(dataset) == patches
    assert dataset.wells.unique().tolist() == list(range(1, wells + 1))
    counts = dataset.wells.bincount()[1:]
    assert counts.max() <= 3 + 2 * counts.min()
    assert len(set(dataset.names)) == patches
    assert dataset.images.isnan().float().mean((1, 2)).max() <= 0.5
    corrupted = make_fresh_dataset(patches, wells=wells, label_faults=1.0)
    for masks in (dataset.masks, corrupted.masks):
        assert not masks[dataset.images.isnan()].any()


def test_second_half_of_the_wells_are_twins():
    dataset = make_fresh_dataset(400, wells=20, seed=1)

    def correlate(well):
        """Correlate a patch with the next one, which is its twin or lies below it."""
        chosen = dataset.select(dataset.wells == well)
        first = next(i for i in range(0, 20, 2) if {i, i + 1} <= set(chosen.indices.tolist()))
        pair = torch.isin(chosen.indices, torch.tensor([first, first + 1]))
        images = chosen.images[pair].nan_to_num(0).clamp(-0.05, 0.05)
        return torch.corrcoef(images.flatten(1))[0, 1].item()

    plain, twins = ([correlate(w) for w in wells] for wells in (range(1, 11), range(11, 21)))
    assert sorted(twins)[5] > 0.75 > sorted(plain)[5] + 0.1


def test_more_wells_than_patches_are_refused():
    with pytest.raises(ValueError, match="give each well at least one"):
        make_fresh_dataset(3, wells=4)


def test_corrupted_labels_have_the_errors_of_annotators():
    masks = torch.zeros(3000, 8, 36, dtype=torch.uint8)
    masks[..., 34:36] = 1
    corrupted = corrupt_labels(masks, 0.3, seed=0)
    assert corrupted.dtype == torch.uint8
    assert torch.equal(corrupted, corrupt_labels(masks, 0.3, seed=0))
    assert torch.equal(corrupt_labels(masks, 0.0, seed=0), masks)
    missing = (corrupted == 0).flatten(1).all(1)
    shifted = [(corrupted == masks.roll(s, -1)).flatten(1).all(1) for s in (-1, 1)]
    wide = corrupted[..., [33, 34, 35, 0]].flatten(1).all(1)
    for kind in (missing, shifted[0] | shifted[1], wide):
        assert kind.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert shifted[0].any()
    assert shifted[1].any()
    correct = (corrupted == masks).flatten(1).all(1)
    assert (correct | missing | shifted[0] | shifted[1] | wide).all()


def test_share_of_faults_is_from_0_to_1():
    with pytest.raises(ValueError, match="from 0 to 1"):
        corrupt_labels(torch.zeros(1, 2, 2, dtype=torch.uint8), 1.5, seed=0)


FRESH = ["-e", "3", "-nowb", "--cpu", "--fresh", "64"]


@pytest.fixture
def small_validation_set(monkeypatch):
    monkeypatch.setattr("train.data.VALIDATION_PATCHES", 128)
    monkeypatch.setattr("train.data.VALIDATION_WELLS", 8)


def test_training_on_fresh_pipes_resumes_bit_for_bit(tmp_path, capsys, small_validation_set):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*FRESH, "--epochs", "2", "-o", str(whole)]) == 0
    assert "64 new patches every epoch" in capsys.readouterr().out.replace("\n", " ")
    assert main([*FRESH, "--epochs", "1", "-o", str(parts)]) == 0
    assert main([*FRESH, "--epochs", "2", "-o", str(parts), "--resume"]) == 0
    runs = [folder / "3-unet-8-halving" for folder in (whole, parts)]
    one, other = (load_checkpoint(run / "last.safetensors").state_dict() for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "new patches every epoch" in json.loads((runs[0] / "report.json").read_text())["data"]
    capsys.readouterr()
    other_pipes = [*FRESH[:-1], "80", "--epochs", "3", "-o", str(parts), "--resume"]
    assert main(other_pipes) == 2
    assert "began with patches" in capsys.readouterr().err


def test_resumed_epoch_gets_the_same_pipes(small_validation_set):
    """The weights end with the same bits, though the run stops within its second epoch."""
    (data,) = load_data(parse_options([*FRESH, "--label-faults", "0.2"]), Console())
    (experiment,) = find_experiments(["3"])

    def make_trainer():
        def prepare_set(dataset):
            return prepare(dataset, experiment.normalisation, torch.device("cpu"))

        sets = prepare_set(data.train), prepare_set(data.validation.select(torch.arange(8)))
        return Trainer(
            experiment, *sets, make_train_set=lambda epoch: prepare_set(data.make_train_set(epoch))
        )

    whole, first, second = make_trainer(), make_trainer(), make_trainer()
    train_sets = []
    for _ in range(3):
        whole.run_epoch(lambda _: True)
        train_sets.append(whole.train_set.pairs.clone())
    assert not torch.equal(train_sets[0], train_sets[1])
    assert not torch.equal(train_sets[1], train_sets[2])
    first.run_epoch(lambda _: True)
    assert first.run_epoch(lambda _: False) is None  # within the second
    second.restore(first.state())
    for _ in range(2):
        second.run_epoch(lambda _: True)
    assert torch.equal(second.train_set.pairs, train_sets[2])
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_model_with_valid_mask_trains_and_its_card_records_it(tmp_path, small_validation_set):
    small = replace(find_experiments(["ring-unet"])[0], arguments={"widths": (4, 4)}, epochs=1)
    options = parse_options([*FRESH, "-o", str(tmp_path), "--precision", "fp32"])
    (data,) = load_data(options, Console())
    settings = RunSettings(options, torch.device("cpu"), StopRequest(), Console())
    report = run_experiment(small, data, settings)
    assert 0 <= report["best"]["iou"] <= 1
    card = load_checkpoint(tmp_path / "3000-ring-unet" / "best.safetensors").card
    assert card.normalisation.mask
    assert "new patches every epoch" in card.data


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fresh", "64", "--data", "x"], "omit --data"),
        (["--fresh", "64", "--label-faults", "2"], "from 0 to 1"),
        (["--label-faults", "0.1"], "add --fresh"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, words, tmp_path, capsys):
    assert main(["-e", "3", "-nowb", "-o", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fresh", "64", "--fold", "1/5"], "not allowed with argument --fresh"),
        (["--fresh", "3"], "3 is not from 16 to"),
    ],
)
def test_wrong_command_lines_exit_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["-e", "3", "-nowb", *arguments])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err

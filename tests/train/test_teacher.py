"""Teachers: the loss, the command line, and the errors."""

import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid

from geoseg import CheckpointError, Normalisation, create_model, save_checkpoint
from geoseg.losses import BatchTotals, bce, distillation
from tests.helpers.synthetic_data import CPU, make_sets
from train.__main__ import main
from train.experiments import Experiment, find_experiments
from train.loop import Trainer
from train.sampling import IGNORED, EpochPlan, PreparedSet
from train.teacher import Teacher, find_teacher, load_teacher

SMALL = Experiment(
    0,
    "small",
    "vanilla",
    {"widths": (3,)},
    epochs=2,
    batch=16,
    learning_rate=3e-3,
    roll=True,
    flip=True,
    noise=0.1,
    distillation=0.7,
)


@pytest.fixture(scope="module")
def sets():
    return make_sets(80)


def make_teacher(path, seed=0, normalisation=None, **arguments):
    """Save an untrained model and return its path."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model("vanilla", widths=(4,), **arguments)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, model, normalisation=normalisation)
    return path


@pytest.fixture
def teacher(tmp_path):
    return load_teacher([make_teacher(tmp_path / "a.safetensors")], Normalisation(), CPU)


def train(sets, experiment=SMALL, steps=None, **options):
    trainer = Trainer(experiment, *sets, **options)
    while trainer.epoch < experiment.epochs:
        if trainer.run_epoch(lambda _: trainer.step != steps) is None:
            break
    return trainer


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_loss_matches_its_formula():
    logits, teacher_logits = random(2, 1, 3, 4), random(2, 1, 3, 4, seed=1)
    valid = random(2, 1, 3, 4, seed=2) > 0
    target = (teacher_logits / 4).sigmoid()
    cost = -target * logsigmoid(logits / 4) - (1 - target) * logsigmoid(-logits / 4)
    found = distillation(logits, teacher_logits, 4.0, valid)
    assert found.item() == pytest.approx(cost[valid].mean().item())
    parts = [slice(*cut) for cut in pairwise([0, 1, 2])]
    whole = BatchTotals(valid.sum(), 2)
    pieces = [
        distillation(logits[p], teacher_logits[p], 4.0, valid[p], whole).item() for p in parts
    ]
    assert sum(pieces) == pytest.approx(found.item())


def test_step_weights_teacher_and_labels_of_the_same_view(sets, teacher):
    trainer = Trainer(SMALL, *sets, teacher=teacher)
    pairs = EpochPlan(SMALL, sets[0], 0, 1).make_batch(0)
    with torch.no_grad():
        logits, soft = trainer.model(pairs[:, :1]), teacher.models[0](pairs[:, :1])
    labels, valid = pairs[:, 1:] == 1, pairs[:, 1:] != IGNORED
    expected = 0.7 * distillation(logits, soft, 2.0, valid) + 0.3 * bce(logits, labels, valid)
    trainer.run_epoch(lambda _: False)
    assert trainer._losses[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_several_teachers_give_the_mean_of_their_logits(tmp_path, sets):
    paths = [make_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    both = load_teacher(paths, Normalisation(), CPU)
    each = [load_teacher([path], Normalisation(), CPU) for path in paths]
    pairs = sets[0].pairs[:3]
    assert torch.allclose(both(pairs), (each[0](pairs) + each[1](pairs)) / 2, atol=1e-6)
    assert not torch.allclose(each[0](pairs), each[1](pairs), atol=1e-3)


def test_teacher_with_two_channels_gets_the_valid_mask(sets):
    model = create_model("vanilla", in_channels=2, widths=(4,))
    pairs = sets[0].pairs[:2].clone()
    pairs[0, 1, 3] = IGNORED
    valid = (pairs[:, 1:] != IGNORED).float()
    logits = Teacher([model], {})(pairs)
    assert torch.equal(logits, model(torch.cat((pairs[:, :1], valid), 1)))
    wider = torch.cat(
        (pairs[:, :1], valid, pairs[:, 1:]), 1
    )  # the batch of a student with the mask
    assert torch.equal(Teacher([model], {})(wider), logits)


def test_labels_have_no_effect_with_full_teacher_weight(sets, teacher):
    pairs = sets[0].pairs.clone()
    pairs[:, 1] = torch.where(pairs[:, 1] == IGNORED, IGNORED, 1 - pairs[:, 1])
    inverted = (PreparedSet(pairs, *sets[0][1:]), sets[1])
    only_teacher = replace(SMALL, distillation=1.0)
    assert torch.equal(
        weights(train(sets, only_teacher, teacher=teacher)),
        weights(train(inverted, only_teacher, teacher=teacher)),
    )
    assert not torch.equal(
        weights(train(sets, teacher=teacher)), weights(train(inverted, teacher=teacher))
    )


def test_teacher_has_no_effect_with_zero_weight(sets, teacher):
    only_labels = replace(SMALL, distillation=0.0)
    assert torch.equal(
        weights(train(sets, only_labels, teacher=teacher)), weights(train(sets, only_labels))
    )


def test_student_approaches_its_teacher(sets, teacher):
    with torch.no_grad():
        teacher.models[0].convolutions[-1].bias += 3  # far from the labels
    experiment = replace(SMALL, distillation=1.0, learning_rate=2e-2, epochs=20, schedule=None)
    student = train(sets, experiment, teacher=teacher)
    expected = teacher(sets[1].pairs)
    before, after = (
        (t.predict(sets[1]) - expected).abs().mean() for t in (Trainer(experiment, *sets), student)
    )
    assert after < 0.2 * before


def test_stopped_student_resumes_bit_for_bit(sets, teacher):
    whole = train(sets, teacher=teacher)
    part = train(sets, steps=2, teacher=teacher)
    rest = Trainer(SMALL, *sets, teacher=teacher)
    rest.restore(part.state())
    while rest.epoch < 2:
        rest.run_epoch(lambda _: True)
    assert rest.state().digest() == whole.state().digest()
    assert not any("teacher" in name for name in whole.state().tensors)


@pytest.mark.parametrize(
    ("arguments", "normalisation", "words"),
    [
        ({}, Normalisation(scale=1.0, compress=False), "only the mask may differ"),
        ({"in_channels": 3}, None, "has 3 input and 1 output channels"),
        ({"out_channels": 2}, None, "has 1 input and 2 output channels"),
    ],
)
def test_teacher_must_fit_the_input_of_its_student(tmp_path, arguments, normalisation, words):
    path = make_teacher(tmp_path / "a.safetensors", normalisation=normalisation, **arguments)
    with pytest.raises(CheckpointError, match=rf"a\.safetensors .*{words}"):
        load_teacher([path], Normalisation(), CPU)


def test_own_run_is_preferred_to_the_shipped_teacher(tmp_path, monkeypatch):
    monkeypatch.setattr("train.teacher.SHIPPED_CHECKPOINTS", tmp_path / "checkpoints")
    (student,) = find_experiments(["1004"])
    runs = tmp_path / "runs"
    with pytest.raises(CheckpointError, match=r"learns from 53-flexible-64.*-e 53.*--teacher"):
        find_teacher(student, runs)
    shipped = make_teacher(tmp_path / "checkpoints" / "53-flexible-64.safetensors")
    assert find_teacher(student, runs) == [shipped]
    own = make_teacher(runs / "53-flexible-64" / "best.safetensors")
    assert find_teacher(student, runs) == [own]
    with pytest.raises(CheckpointError, match="53-flexible-64-fold-1-of-3"):
        find_teacher(student, runs, "-fold-1-of-3")
    fold = make_teacher(runs / "53-flexible-64-fold-1-of-3" / "best.safetensors")
    assert find_teacher(student, runs, "-fold-1-of-3") == [fold]
    assert find_teacher(replace(student, teacher=None), runs) == []


def test_run_keeps_the_teachers_of_its_command_line(tmp_path, data, capsys):
    paths = [make_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    command = ["-e", "3", "-nowb", "--cpu", "--data", str(data), "-o", str(tmp_path / "runs")]
    command += ["--epochs", "1", "--precision", "fp32"]
    assert main([*command, "--teacher", *map(str, paths)]) == 0
    config = json.loads((tmp_path / "runs" / "3-unet-8-halving" / "config.json").read_text())
    assert config["teachers"] == {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }
    capsys.readouterr()
    longer = [*command, "--epochs", "2", "--resume"]
    assert main([*longer, "--teacher", str(paths[0])]) == 2
    assert main(longer) == 2
    messages = capsys.readouterr().err.splitlines()
    assert all("began with teachers" in line for line in messages)
    assert len(messages) == 2
    assert main([*longer, "--teacher", *map(str, paths)]) == 0
    straight = [*command, "--epochs", "2", "-o", str(tmp_path / "straight")]
    assert main([*straight, "--teacher", *map(str, paths)]) == 0
    resumed, straight_run = (
        load_file(tmp_path / name / "3-unet-8-halving" / "last.safetensors")
        for name in ("runs", "straight")
    )
    assert all(torch.equal(value, straight_run[name]) for name, value in resumed.items())


def test_teacher_can_be_trained_by_the_same_command(tmp_path, data, monkeypatch):
    student = replace(SMALL, id=9001, name="student", teacher=3)
    choices = (*find_experiments(["3"]), student)
    monkeypatch.setattr("train.experiments.EXPERIMENTS", choices)
    command = ["-e", "3", "student", "-nowb", "--cpu", "--data", str(data), "-o", str(tmp_path)]
    assert main([*command, "--epochs", "1"]) == 0
    best = tmp_path / "3-unet-8-halving" / "best.safetensors"
    config = json.loads((tmp_path / "9001-student" / "config.json").read_text())
    assert config["teachers"] == {str(best): hashlib.sha256(best.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-e", "1005"], "learns from 700-stacked-weighted-long"),
        (["-e", "3", "--teacher", "{folder}/none.safetensors"], "no such file"),
        (["-e", "3", "--teacher", "{folder}/raw.safetensors"], "only the mask may differ"),
        (["-e", "3", "--teacher", "{folder}/3-unet-8-halving/a.safetensors"], "overwrite it"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, words, data, tmp_path, capsys):
    make_teacher(tmp_path / "3-unet-8-halving" / "a.safetensors")
    raw = Normalisation(scale=1.0, compress=False)
    make_teacher(tmp_path / "raw.safetensors", normalisation=raw)
    arguments = [a.format(folder=tmp_path) for a in arguments]
    assert main([*arguments, "-nowb", "--cpu", "--data", str(data), "-o", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1

"""Learning from trained models: what it means, and how it is asked for."""

import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid

from geoseg import CheckpointError, Normalisation, create_model, save_checkpoint
from geoseg.losses import Whole, bce, distillation
from tests.helpers.synthetic_data import CPU, make_data, make_sets
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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("set") / "data", 5, 60)


def make_teacher(path, seed=0, normalisation=None, **arguments):
    """The checkpoint of an untrained model."""
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


def test_the_loss_by_its_formula():
    logits, taught = random(2, 1, 3, 4), random(2, 1, 3, 4, seed=1)
    valid = random(2, 1, 3, 4, seed=2) > 0
    target = (taught / 4).sigmoid()
    cost = -target * logsigmoid(logits / 4) - (1 - target) * logsigmoid(-logits / 4)
    found = distillation(logits, taught, 4.0, valid)
    assert found.item() == pytest.approx(cost[valid].mean().item())
    parts = [slice(*cut) for cut in pairwise([0, 1, 2])]
    whole = Whole(valid.sum(), 2)
    pieces = [distillation(logits[p], taught[p], 4.0, valid[p], whole).item() for p in parts]
    assert sum(pieces) == pytest.approx(found.item())


def test_a_step_weighs_teacher_and_labels_of_the_same_view(sets, teacher):
    trainer = Trainer(SMALL, *sets, teacher=teacher)
    seen = EpochPlan(SMALL, sets[0], 0, 1).make_batch(0)
    with torch.no_grad():
        logits, taught = trainer.model(seen[:, :1]), teacher.models[0](seen[:, :1])
    truth, valid = seen[:, 1:] == 1, seen[:, 1:] != IGNORED
    expected = 0.7 * distillation(logits, taught, 2.0, valid) + 0.3 * bce(logits, truth, valid)
    trainer.run_epoch(lambda _: False)
    assert trainer._losses[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_several_teachers_answer_with_the_mean_of_their_logits(tmp_path, sets):
    paths = [make_teacher(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    both = load_teacher(paths, Normalisation(), CPU)
    each = [load_teacher([path], Normalisation(), CPU) for path in paths]
    seen = sets[0].pairs[:3]
    assert torch.allclose(both(seen), (each[0](seen) + each[1](seen)) / 2, atol=1e-6)
    assert not torch.allclose(each[0](seen), each[1](seen), atol=1e-3)


def test_a_teacher_of_two_channels_sees_what_was_measured(sets):
    model = create_model("vanilla", in_channels=2, widths=(4,))
    seen = sets[0].pairs[:2].clone()
    seen[0, 1, 3] = IGNORED
    measured = (seen[:, 1:] != IGNORED).float()
    answer = Teacher([model], {})(seen)
    assert torch.equal(answer, model(torch.cat((seen[:, :1], measured), 1)))
    wider = torch.cat((seen[:, :1], measured, seen[:, 1:]), 1)  # a student that sees it as well
    assert torch.equal(Teacher([model], {})(wider), answer)


def test_with_all_weight_on_the_teacher_labels_count_for_nothing(sets, teacher):
    pairs = sets[0].pairs.clone()
    pairs[:, 1] = torch.where(pairs[:, 1] == IGNORED, IGNORED, 1 - pairs[:, 1])
    turned = (PreparedSet(pairs, *sets[0][1:]), sets[1])
    alone = replace(SMALL, distillation=1.0)
    assert torch.equal(
        weights(train(sets, alone, teacher=teacher)), weights(train(turned, alone, teacher=teacher))
    )
    assert not torch.equal(
        weights(train(sets, teacher=teacher)), weights(train(turned, teacher=teacher))
    )


def test_with_none_on_it_the_teacher_counts_for_nothing(sets, teacher):
    deaf = replace(SMALL, distillation=0.0)
    assert torch.equal(weights(train(sets, deaf, teacher=teacher)), weights(train(sets, deaf)))


def test_a_student_grows_like_its_teacher(sets, teacher):
    with torch.no_grad():
        teacher.models[0].convolutions[-1].bias += 3  # far from what the labels say
    eager = replace(SMALL, distillation=1.0, learning_rate=2e-2, epochs=20, schedule=None)
    student = train(sets, eager, teacher=teacher)
    taught = teacher(sets[1].pairs)
    before, after = (
        (t.predict(sets[1]) - taught).abs().mean() for t in (Trainer(eager, *sets), student)
    )
    assert after < 0.2 * before


def test_a_stopped_student_goes_on_bit_for_bit(sets, teacher):
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
        ({"in_channels": 3}, None, "takes 3 channels and gives 1"),
        ({"out_channels": 2}, None, "takes 1 channels and gives 2"),
    ],
)
def test_a_teacher_must_see_what_its_student_sees(tmp_path, arguments, normalisation, words):
    path = make_teacher(tmp_path / "a.safetensors", normalisation=normalisation, **arguments)
    with pytest.raises(CheckpointError, match=rf"a\.safetensors .*{words}"):
        load_teacher([path], Normalisation(), CPU)


def test_where_a_teacher_is_looked_for(tmp_path, monkeypatch):
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


def test_the_command_line_names_its_teachers_and_keeps_to_them(tmp_path, data, capsys):
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
    complaints = capsys.readouterr().err.splitlines()
    assert all("began with teachers" in line for line in complaints)
    assert len(complaints) == 2
    assert main([*longer, "--teacher", *map(str, paths)]) == 0
    straight = [*command, "--epochs", "2", "-o", str(tmp_path / "straight")]
    assert main([*straight, "--teacher", *map(str, paths)]) == 0
    resumed, undisturbed = (
        load_file(tmp_path / name / "3-unet-8-halving" / "last.safetensors")
        for name in ("runs", "straight")
    )
    assert all(torch.equal(value, undisturbed[name]) for name, value in resumed.items())


def test_a_teacher_may_be_trained_by_the_same_command(tmp_path, data, monkeypatch):
    pupil = replace(SMALL, id=9001, name="pupil", teacher=3)
    choices = (*find_experiments(["3"]), pupil)
    monkeypatch.setattr("train.experiments.EXPERIMENTS", choices)
    command = ["-e", "3", "pupil", "-nowb", "--cpu", "--data", str(data), "-o", str(tmp_path)]
    assert main([*command, "--epochs", "1"]) == 0
    best = tmp_path / "3-unet-8-halving" / "best.safetensors"
    config = json.loads((tmp_path / "9001-pupil" / "config.json").read_text())
    assert config["teachers"] == {str(best): hashlib.sha256(best.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-e", "1005"], "learns from 700-stacked-weighted-long"),
        (["-e", "3", "--teacher", "{folder}/none.safetensors"], "No such file"),
        (["-e", "3", "--teacher", "{folder}/raw.safetensors"], "only the mask may differ"),
        (["-e", "3", "--teacher", "{folder}/3-unet-8-halving/a.safetensors"], "overwritten"),
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

"""The committed loss curves, which no refactoring may change.

Where the arithmetic is meant to change, `python tests/train/test_loss_curve.py` writes them anew.
"""

import json
from pathlib import Path

import pytest
import torch

from geoseg.normalisation import Normalisation
from geoseg.synthetic import make_synthetic_dataset
from train.experiments import Experiment, Linear
from train.loop import Trainer
from train.sampling import prepare

CURVES = Path(__file__).with_name("loss_curve.json")
COMMON = {"epochs": 4, "batch": 16, "roll": True, "flip": True}
EXPERIMENTS = (
    Experiment(
        9000,
        "adam",
        "unet",
        {"width": 4},
        learning_rate=2e-3,
        schedule=None,
        **COMMON,
    ),
    Experiment(
        9001,
        "muon",
        "unet",
        {"width": 4},
        learning_rate=2e-3,
        schedule=Linear(warmup=0.25),
        muon=0.003,  # higher, and bfloat16 in torch's Muon tells processors apart by more than 1e-4
        average=0.9,
        cycle=True,
        noise=0.1,
        **COMMON,
    ),
)


@pytest.fixture(autouse=True)
def one_thread():
    """So small a model gains nothing from more, and waits long for them where others work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(experiment):
    """The loss of every step, and of the validation after every epoch."""
    dataset = make_synthetic_dataset(4, 210, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    trainer = Trainer(
        experiment,
        *(
            prepare(dataset.select(chosen), Normalisation(), torch.device("cpu"))
            for chosen in (~validation, validation)
        ),
        seed=1,
    )
    steps, epochs = [], []
    for _ in range(experiment.epochs):
        epochs.append(trainer.run_epoch(lambda _: True).validation_loss)
        steps += trainer.state().tensors["losses"].tolist()
    return {
        kind: [float(f"{loss:.7g}") for loss in losses]
        for kind, losses in (("training", steps), ("validation", epochs))
    }


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_the_losses_are_those_of_the_committed_curve(experiment):
    """But for the last bits, in which processors differ."""
    curve = json.loads(CURVES.read_text())[experiment.name]
    again = train(experiment)
    assert len(again["training"]) == 40
    for kind, losses in curve.items():
        assert again[kind] == pytest.approx(losses, rel=1e-4), kind


if __name__ == "__main__":
    curves = {experiment.name: train(experiment) for experiment in EXPERIMENTS}
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")

"""The committed loss curves, which a refactoring must reproduce.

If the arithmetic changes on purpose, `python tests/train/test_loss_curve.py` rewrites them.
"""

import json
from pathlib import Path

import pytest
import torch

from geoseg.normalisation import Normalisation
from geoseg.synthetic import make_synthetic_dataset
from train.experiments import Experiment
from train.loop import Trainer
from train.sampling import prepare
from train.schedules import Linear

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
        muon=0.003,  # with more, bfloat16 in torch's Muon differs by over 1e-4 between CPUs
        average=0.9,
        cycle=True,
        noise=0.1,
        **COMMON,
    ),
)


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread: more do not help so small a model, and slow it down on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(experiment):
    """Return the training loss of every step and the validation loss of every epoch."""
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
def test_losses_match_the_committed_curve(experiment):
    """The last bits differ between processors."""
    curve = json.loads(CURVES.read_text())[experiment.name]
    found = train(experiment)
    assert len(found["training"]) == 40
    for kind, losses in curve.items():
        assert found[kind] == pytest.approx(losses, rel=1e-4), kind


if __name__ == "__main__":
    curves = {experiment.name: train(experiment) for experiment in EXPERIMENTS}
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")

"""Make synthetic data and small checkpoints."""

import torch

from geoseg import create_model, save_checkpoint
from geoseg.normalisation import Normalisation
from geoseg.synthetic import make_synthetic_dataset
from geoseg.synthetic.__main__ import main
from train.sampling import prepare

CPU = torch.device("cpu")


def make_sets(patches, device=CPU):
    """Return a prepared training set and validation set of four wells in all."""
    dataset = make_synthetic_dataset(4, patches, seed=5)
    validation = torch.tensor([split == "validation" for split in dataset.splits])
    return tuple(
        prepare(dataset.select(chosen), Normalisation(), device)
        for chosen in (~validation, validation)
    )


def make_data(folder, wells, patches, seed=0):
    """Write a data set of synthetic patches; return its folder."""
    sizes = {"--wells": wells, "--patches": patches, "--seed": seed}
    code = main(["--out", str(folder), *(str(v) for pair in sizes.items() for v in pair)])
    assert code in (0, None)
    return folder


def make_checkpoint(path, architecture, threshold=0.5, **arguments):
    """Save a model of random weights whose probabilities differ; return the path."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = create_model(architecture, **arguments)
    with torch.no_grad():  # fresh weights give the same probability everywhere
        for weights in model.parameters():
            weights *= 2
    save_checkpoint(path, model, threshold=threshold)
    return path


def exit_code(program, arguments):
    """Run a program's `main`; return its exit code, raised or returned."""
    try:
        return program(arguments)
    except SystemExit as end:
        return end.code

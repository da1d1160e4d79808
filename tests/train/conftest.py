"""Data and processes that several tests of the trainer share."""

import pytest

from tests.helpers.synthetic_data import make_data


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Sixty patches of five wells: two steps per epoch of experiment 3. Tests do not change it."""
    return make_data(tmp_path_factory.mktemp("set") / "data", 5, 60)


@pytest.fixture(scope="module")
def start_process(tmp_path_factory):
    """Start training processes; none outlives the module."""
    from tests.helpers.train_process import TrainProcess  # not above: it imports torch

    processes = []

    def start_process(*words, **options):
        process = TrainProcess(tmp_path_factory.mktemp("process"), words, **options)
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.close()

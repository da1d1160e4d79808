"""What only a GPU can show: recorded training steps, CUDA graphs, and reproducible bits."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from geoseg import create_model
from geoseg.inference import ModelRunner, _CudaGraph
from geoseg.synthetic import make_fresh_dataset
from tests.geoseg.models.test_models import SMALL
from tests.helpers.synthetic_data import make_sets
from train.experiments import find_experiments
from train.loop import Trainer, TrainingError
from train.sampling import PreparedSet
from train.schedules import Linear
from train.teacher import Teacher
from train.tuning import choose_tuning

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda")


@pytest.fixture(scope="module")
def sets():
    return make_sets(160, GPU)


def train(sets, number, without=(), epochs=2, stop=None, teacher=None, **changes):
    (experiment,) = find_experiments([number])
    experiment = replace(experiment, batch=32, epochs=epochs, **changes)
    tuning = choose_tuning(GPU, 1, precision="fp32", without=without)
    trainer = Trainer(experiment, *sets, tuning=tuning, teacher=teacher)
    while trainer.epoch < epochs:
        if trainer.run_epoch(lambda _: trainer.step != stop) is None:
            break
    return trainer


def test_pipes_are_made_on_the_gpu():
    dataset = make_fresh_dataset(256, wells=16, device=GPU)
    assert dataset.images.is_cuda
    assert 0.02 < dataset.masks.float().mean().item() < 0.2
    again = make_fresh_dataset(256, wells=16, device=GPU)
    assert (dataset.masks == again.masks).float().mean() > 0.999  # cumulative sums differ a little


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("number", ["300", "402", "200", "500", "704"])
def test_a_recorded_step_equals_an_eager_step(sets, number):
    recorded, eager = (train(sets, number, without) for without in ((), ("graph",)))
    assert recorded._recorded
    assert not eager._recorded
    torch.testing.assert_close(weights(recorded), weights(eager), atol=1e-5, rtol=1e-4)


def test_a_recorded_step_runs_the_teacher_for_every_batch(sets):
    teacher = Teacher([create_model("vanilla", widths=(4,))], {}).to(GPU)
    recorded, eager = (train(sets, "300", without, teacher=teacher) for without in ((), ("graph",)))
    assert recorded._recorded
    torch.testing.assert_close(weights(recorded), weights(eager), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(weights(eager), weights(train(sets, "300")), atol=1e-4)


@pytest.mark.parametrize("number", ["300", "402", "200", "9402", "500", "704"])
def test_equal_seeds_and_resuming_give_equal_bits(sets, number):
    whole = train(sets, number)
    assert torch.equal(weights(whole), weights(train(sets, number)))
    part = train(sets, number, stop=3)
    rest = Trainer(part.experiment, *sets, tuning=part.tuning)
    rest.restore(part.state())
    while rest.epoch < 2:
        rest.run_epoch(lambda _: True)
    assert torch.equal(weights(whole), weights(rest))


def test_a_recorded_step_uses_the_current_learning_rate(sets):
    still = train(sets, "300", learning_rate=0.0, schedule=Linear(0.5))
    fresh = Trainer(still.experiment, *sets, tuning=still.tuning)
    assert torch.equal(weights(still), weights(fresh))
    moved = train(sets, "300", learning_rate=1e-3, schedule=Linear(0.5))
    assert not torch.equal(weights(moved), weights(fresh))


def test_a_non_finite_loss_is_never_saved(sets):
    pairs, wells, names = sets[0]
    broken = pairs.clone()
    broken[7, 0, 3, 3] = torch.nan
    (experiment,) = find_experiments(["402"])
    sides = PreparedSet(broken, wells, names), sets[1]
    trainer = Trainer(replace(experiment, batch=32), *sides, tuning=choose_tuning(GPU, 1))
    with pytest.raises(TrainingError, match=names[7]):
        trainer.run_epoch(lambda _: True)
    with pytest.raises(TrainingError, match=names[7]):
        trainer.state()


def fast_runner(name, **arguments):
    torch.manual_seed(1)
    model = create_model(name, **arguments).eval().to(GPU)
    return model, ModelRunner(model, torch.float32)


@pytest.mark.parametrize(("name", "arguments"), SMALL)
def test_a_cuda_graph_equals_its_model(name, arguments):
    model, runner = fast_runner(name, **arguments)
    with torch.inference_mode():
        for height in (36, 36, 35, 36):
            x = torch.randn(1, model.arguments["in_channels"], height, 36, device=GPU)
            torch.testing.assert_close(runner(x), model(x), atol=1e-3, rtol=1e-3)
    assert len(runner._recordings) == 2
    assert all(isinstance(graph, _CudaGraph) for graph in runner._recordings.values())


def test_threads_share_a_cuda_graph():
    model, runner = fast_runner("unet", width=4)
    images = [torch.full((1, 1, 36, 36), float(i), device=GPU) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(torch.inference_mode()(runner), images))
    with torch.inference_mode():
        for image, answer in zip(images, answers, strict=True):
            torch.testing.assert_close(answer, model(image), atol=1e-3, rtol=1e-3)


def test_inference_falls_back_when_capture_fails(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", fail)
    model, runner = fast_runner("vanilla", widths=(4,))
    x = torch.zeros(1, 1, 36, 36, device=GPU)
    with torch.inference_mode():
        torch.testing.assert_close(runner(x), model(x), atol=1e-3, rtol=1e-3)

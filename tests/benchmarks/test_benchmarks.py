"""The benchmarks run, their contenders agree with geoseg, and the tables are current."""

import asyncio
import json

import numpy as np
import pytest
import torch

from benchmarks import textbook
from benchmarks.server import make_checkpoints
from geoseg.checkpoint import load_checkpoint
from geoseg.segmenter import Segmenter
from geoseg.synthetic import make_synthetic_dataset
from geoseg.synthetic.__main__ import write_dataset
from tests.helpers import ROOT
from train.experiments import find_experiments


@pytest.fixture
def scripts(monkeypatch):
    """Put the folder of the benchmarks on the path, as Python does when it runs one."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_tables_of_the_documents_match_the_committed_results(scripts):
    import columns
    import inference
    import load
    import page
    import seeds
    import time_to_quality
    import training
    import wells

    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    text_of_all = "".join(path.read_text() for path in documents)
    for table, file in (
        (training.table, training.OUTPUT),
        (inference.table, inference.OUTPUT),
        (seeds.table, seeds.OUTPUT),
        (time_to_quality.tables, time_to_quality.OUTPUT),
        (load.table, load.OUTPUT),
        (page.table, page.OUTPUT),
        (columns.table, columns.OUTPUT),
        (wells.table, wells.OUTPUT),
    ):
        results = json.loads(file.read_text())
        written = table(results)
        for text in written if isinstance(written, tuple) else (written,):
            assert f"-->\n{text}\n<!--" in text_of_all


def test_pipes_are_generated_faster_than_they_are_trained_on():
    assert json.loads((ROOT / "benchmarks" / "synthetic.json").read_text())["made_over_trained"] > 1


def test_columns_brought_to_36_are_segmented_as_well_as_36(scripts):
    import columns

    results = json.loads(columns.OUTPUT.read_text())
    for rows in results["iou"].values():
        assert rows["36"]["as it is"] == rows["36"]["brought"]
    segmenter = Segmenter([ROOT / "checkpoints" / "402-unet.safetensors"], "cpu")
    card = segmenter.cards["402-unet"]
    found = columns.measure_ious(segmenter, "402-unet", 144, wells=2, rows=108)
    assert found["brought"] > found["as it is"] + 0.1
    assert segmenter.cards["402-unet"] == card


def test_geosegs_loop_takes_the_given_steps_across_epochs(scripts):
    import training

    (experiment,) = find_experiments(["3"])
    ours = training.Ours(experiment, make_synthetic_dataset(4, 160), torch.device("cpu"))
    assert ours.steps == 3  # of 120 patches in batches of 32; the rest is left out
    for steps, place in ((2, (0, 2)), (3, (1, 2)), (1, (1, 3)), (4, (3, 1))):
        ours.run(steps)
        assert (ours.trainer.epoch, ours.trainer.step) == place


def test_patches_until_a_score_is_reached(scripts):
    from time_to_quality import patches_until

    assert patches_until([0.1, 0.5, 0.4, 0.6], 0.5, 100) == 200
    assert patches_until([0.1, 0.5], 0.6, 100) is None


def test_joints_and_grooves_of_known_wells_are_found(scripts):
    import wells

    results = wells.measure(2, 2000, None)
    assert results["joints"]["recall"] > 0.9
    assert results["joints"]["precision"] > 0.9
    grooves = results["generator's masks"]
    assert grooves["recall"] > 0.9
    assert grooves["precision"] > 0.9
    assert abs(grooves["depth bias"]) < 0.1
    committed = json.loads(wells.OUTPUT.read_text())["generator's masks"]
    assert min(committed["recall"], committed["precision"]) > 0.9
    assert abs(committed["depth bias"]) < 0.1


def test_fast_inference_is_faster_for_every_family_and_agrees(scripts):
    import inference

    families = json.loads(inference.OUTPUT.read_text())["families"]
    assert families.keys() == inference.FAMILIES.keys()
    for family in families.values():
        fast = family["1"]["bf16 weights, recorded (`fast`)"]
        assert fast["ratio"] > max(1.5, family["1"]["channels_last (`exact`)"]["ratio"])
        assert fast["agreement"] >= 0.999


def test_every_contender_that_needs_only_torch_is_measured(scripts, monkeypatch):
    import contenders
    import inference

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    chosen, absent = contenders.present()
    assert set(absent.values()) == {"onnxruntime", "openvino"}
    assert not any(name.startswith(("ONNX", "OpenVINO")) for name in chosen)
    quick = [name for name in chosen if "Inductor" not in name]  # it compiles for a minute
    model = load_checkpoint(ROOT / "checkpoints" / "402-unet.safetensors")
    rows = inference.measure(model, make_synthetic_dataset(4, 40).images[:12], 1, quick, 1)
    assert list(rows) == [inference.PLAIN, *quick]
    for name in quick:
        assert rows[name]["agreement"] >= 0.998
        assert 0 < rows[name]["least"] <= rows[name]["ratio"] <= rows[name]["most"]


@pytest.mark.long
def test_simulated_users_load_the_real_page(scripts, tmp_path):
    import load

    make_checkpoints(tmp_path)
    arguments = ["--device", "cpu", "--checkpoints", str(tmp_path)]
    results = asyncio.run(load.measure(arguments, (1, 4), 0.5))
    assert [row["users"] for row in results["levels"]] == [1, 4]
    for row in results["levels"]:
        assert row["errors"] == 0
        assert row["requests"] >= row["users"]
        assert 0 < row["p50"] <= row["p95"] <= row["p99"]
    assert results["stored_bytes"] == {"before": 0, "after": 0}
    assert results["memory_mb"]["growth"] < 0.25
    assert "| 4 |" in load.table(results)


@pytest.mark.parametrize("url", ["http://example.org", "http://10.0.0.1:7860", "7860", ""])
def test_load_is_allowed_only_on_this_machine(scripts, url):
    import load

    with pytest.raises(ValueError, match="not on this machine"):
        load.require_local_url(url)
    assert load.require_local_url("http://[::1]:7860/") == "http://[::1]:7860"


@pytest.mark.parametrize("number", ["200", "300", "402", "1004", "3000"])
@pytest.mark.parametrize("size", [(36, 36), (36, 72), (35, 29)])
def test_textbook_models_have_the_same_logits_and_gradients(number, size):
    (experiment,) = find_experiments([number])
    torch.manual_seed(0)
    ours = experiment.create_model()
    theirs = textbook.load(textbook.MODELS[experiment.architecture](), ours.state_dict())
    image = torch.randn(
        2, ours.arguments["in_channels"], *size, generator=torch.Generator().manual_seed(1)
    )
    answers = [model(image) for model in (ours, theirs)]
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)
    for answer in answers:
        answer.square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)


def test_the_textbook_loop_trains_from_files(tmp_path):
    from rich.console import Console

    write_dataset(make_synthetic_dataset(4, 80), tmp_path, Console(quiet=True))
    (experiment,) = find_experiments(["402"])
    files = textbook.PatchFiles(tmp_path, experiment)
    image, label = files[0]
    assert image.shape == label.shape == (1, 36, 36)
    assert image.isfinite().all()
    assert set(np.unique(label)) <= {0, 1}
    loop = textbook.Loop(experiment, tmp_path, torch.device("cpu"))
    loop.loader = torch.utils.data.DataLoader(files, 16, shuffle=True)
    before = [p.clone() for p in loop.model.parameters()]
    loop.run(2)
    for old, new in zip(before, loop.model.parameters(), strict=True):
        assert not torch.equal(old, new)

"""One file of measurements has one answer, whichever way it comes to a model."""

import numpy as np
import pytest

from benchmarks.server import serve
from geoseg import Segmenter, load_checkpoint, read_logs, save_checkpoint
from geoseg.measurements import MeasurementOptions, summarise_assumptions
from tests.helpers.inputs import make_inputs, write_input
from tests.helpers.synthetic_data import make_checkpoint
from tests.helpers.ways_in import WAYS, Bench, read_by_python, write_data_set

INPUTS = make_inputs()
ACCEPTED = [name for name, one in INPUTS.items() if not one.refusal]
FOLDERS = ("data set", "evaluation")  # ways that sum up the notes, and take no stack


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Write every input and a model whose threshold no probability is near; run a server."""
    folder = tmp_path_factory.mktemp("ways")
    files = {
        name: write_input(folder, i, one.array) for i, (name, one) in enumerate(INPUTS.items())
    }
    (folder / "checkpoints").mkdir()
    path = make_checkpoint(folder / "checkpoints" / "1-stacked.safetensors", "stacked", width=4)
    logs = [log for name in ACCEPTED for log in read_logs(files[name], INPUTS[name].options)]
    segmenter = Segmenter([path], "cpu")
    found = [segmenter.probabilities(log)["1-stacked"].ravel() for log in logs]
    values = np.unique(np.concatenate(found).astype(np.float64))
    values = values[np.isfinite(values)]
    values = values[int(0.85 * len(values)) : int(0.95 * len(values))]
    place = int(np.diff(values).argmax())
    threshold = float(values[place : place + 2].mean())
    save_checkpoint(path, load_checkpoint(path), threshold=threshold)
    with serve(["--checkpoints", str(path.parent), "--preload"]) as url:
        yield Bench(Segmenter([path], "cpu"), path, url, folder, INPUTS, files)


@pytest.fixture(scope="module")
def answers(bench):
    """Give the answers of a way, which is taken once for all inputs."""
    taken = {"read_logs": read_by_python(bench)}
    for name, answer in taken["read_logs"].items():
        write_data_set(bench, name, answer.masks)

    def take(way):
        if way not in taken:
            taken[way] = WAYS[way](bench)
        return taken[way]

    return take


@pytest.mark.parametrize("way", [way for way in WAYS if way != "read_logs"])
@pytest.mark.parametrize("name", INPUTS)
def test_every_way_in_gives_the_same_masks_and_notes(name, way, answers, bench):
    expected, options = answers("read_logs")[name], INPUTS[name].options
    if way == "page" and options != MeasurementOptions():
        assert name not in answers(way)  # its options are those of app.py, for all files
        return
    found = answers(way)[name]
    if way in FOLDERS and name == "stack":
        assert "import" in found.refusal
        return
    if way == "arrays" and name in ("only nulls", "text"):  # all NaN, and a TypeError
        assert not any(mask.any() for mask in found.masks)
        return
    if expected.refusal:
        words = expected.refusal.split(" ", 1)[1].rstrip(".")
        assert words in found.refusal
        return
    assert not found.refusal
    assert len(found.masks) == len(expected.masks)
    for mask, other in zip(found.masks, expected.masks, strict=True):
        np.testing.assert_array_equal(mask, other)
    assert set(found.scores) <= {1}
    summed = way in FOLDERS or (way == "segment" and name == "stack")
    logs = read_logs(bench.files[name], options)
    notes = summarise_assumptions(logs) if summed else expected.notes
    arrays = INPUTS[name].array.reshape(len(logs), *logs[0].image.shape)
    if way == "arrays" and options == MeasurementOptions():  # logged where values were changed
        pairs = zip(logs, arrays, strict=True)
        changed = [log for log, a in pairs if not np.array_equal(log.image, a, equal_nan=True)]
        notes = tuple(note for log in changed for note in log.notes)
    if way in FOLDERS:
        notes = tuple(f"train/images: {note}" for note in notes)
    assert found.notes == notes


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_are_understood(name, answers):
    one, found = INPUTS[name], answers("read_logs")[name]
    assert one.refusal in found.refusal
    assert bool(one.refusal) == bool(found.refusal)
    if one.notes:
        assert len(found.notes) == len(one.notes), found.notes
        assert all(word in note for word, note in zip(one.notes, found.notes, strict=True))
    if one.refusal:
        return
    assert any(mask.any() for mask in found.masks)
    if one.same_as:
        (mask,), (other,) = found.masks, answers("read_logs")[one.same_as].masks
        assert (mask != other).sum() <= 1  # of 1,296: rounding to another unit

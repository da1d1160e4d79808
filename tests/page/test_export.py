"""A set is exported as a zip with distinct names."""

import io
import threading
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.server import make_patch
from geoseg.page import PatchSet
from geoseg.page import export as module
from geoseg.page.batches import Work
from geoseg.page.browse import Entry
from geoseg.page.export import ExportError, export
from geoseg.page.synthetic_patches import SyntheticPatches, with_letters
from geoseg.segmenter import Segmenter
from geoseg.synthetic.toy_labels import MODES


@pytest.fixture(scope="module")
def work(segmenter) -> Work:
    return Work(segmenter, threading.Lock())


@pytest.fixture
def run(work, tmp_path) -> Callable[..., zipfile.ZipFile]:
    """Export, and open the file."""

    def export_all(patches, probabilities=False, **message) -> zipfile.ZipFile:
        path = tmp_path / "set.zip"
        steps = list(
            export(work, patches, {"models": ["402-unet"], **message}, path, probabilities)
        )
        assert steps == [(done, len(patches)) for done in range(len(patches) + 1)]
        archive = zipfile.ZipFile(path)
        assert archive.testzip() is None
        return archive

    return export_all


def test_equal_names_stay_distinct_in_the_zip(run):
    names = ["a.npy", "a.npy", "a.npy", "a (2).npy"]
    patches = PatchSet("", tuple(Entry(name, make_patch(1)) for name in names))
    found = run(patches).namelist()
    assert len(set(found)) == len(found) == 5


@pytest.mark.parametrize("mode", MODES)
def test_toy_labels_can_be_exported(run, mode):
    patches = PatchSet("", tuple(Entry(f"{i}.npy", make_patch(i + 1)) for i in range(3)))
    assert len(run(with_letters(patches, {"letters": mode})).namelist()) == 4


def test_failed_exports_give_the_reason(run, monkeypatch):
    patches = PatchSet("", (Entry("a.npy", make_patch(1)),))
    with pytest.raises(ExportError, match="No model is ticked"):
        run(patches, models=[])
    with pytest.raises(ExportError, match="Synthetic pipes have no end"):
        run(SyntheticPatches())
    monkeypatch.setattr(module, "MAX_BYTES", 36 * 36)
    run(patches)
    with pytest.raises(ExportError, match="The set is too large"):
        run(patches, probabilities=True)

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(Segmenter, "probabilities", fail)
    with pytest.raises(ExportError, match="It failed: there is not enough memory"):
        run(patches)


def test_masks_are_empty_at_nulls(run):
    patch = make_patch(1)
    patch[3:5] = np.nan
    archive = run(PatchSet("", (Entry("a.npy", patch),)), threshold=0)
    mask = np.load(io.BytesIO(archive.read("masks/402-unet/a.npy")))
    assert not mask[3:5].any()
    assert mask[:3].all()

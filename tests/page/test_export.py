"""A set is exported as a zip with distinct names."""

import base64
import io
import threading
import zipfile

import numpy as np
import pytest

from benchmarks.server import make_patch
from geoseg.page import PatchSet
from geoseg.page import export as module
from geoseg.page.batches import Work
from geoseg.page.browse import Entry
from geoseg.page.export import export
from geoseg.page.pipes import Pipes, stamped
from geoseg.page.ranking import Ranking
from geoseg.segmenter import Segmenter
from geoseg.synthetic.toy_labels import MODES


@pytest.fixture(scope="module")
def work(segmenter) -> Work:
    return Work(segmenter, threading.Lock())


def last(work: Work, patches, **message) -> dict:
    *_, answer = export(work, patches, {"models": ["402-unet"], **message})
    return answer


def names_of(answer: dict) -> list[str]:
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(answer["zip"])))
    assert archive.testzip() is None
    return sorted(archive.namelist())


def test_equal_names_stay_distinct_in_the_zip(work):
    names = ["a.npy", "a.npy", "a.npy", "a (2).npy"]
    patches = PatchSet("", tuple(Entry(name, make_patch(1)) for name in names))
    found = names_of(last(work, patches))
    assert len(set(found)) == len(found) == 5


@pytest.mark.parametrize("mode", MODES)
def test_toy_labels_can_be_scored_and_exported(work, mode):
    patches = PatchSet("", tuple(Entry(f"{i}.npy", make_patch(i + 1)) for i in range(3)))
    toys = stamped(patches, {"toy": mode})
    assert len(names_of(last(work, toys))) == 4
    *_, answer = Ranking(work).answers(toys, {"models": ["402-unet", "300-vanilla"]})
    assert len(answer["models"]) == 2


def test_failed_exports_give_the_reason(work, monkeypatch):
    patches = PatchSet("", (Entry("a.npy", make_patch(1)),))
    assert last(work, patches, models=[])["error"] == "no_model"
    assert last(work, Pipes())["error"] == "endless"
    monkeypatch.setattr(module, "MAX_BYTES", 36 * 36)
    assert "zip" in last(work, patches)
    assert last(work, patches, probabilities=True)["error"] == "too_large"

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(Segmenter, "probabilities", fail)
    answer = last(work, patches)
    assert (answer["error"], answer["reason"]) == ("failed", "there is not enough memory")


def test_masks_are_empty_at_nulls(work):
    patch = make_patch(1)
    patch[3:5] = np.nan
    answer = last(work, PatchSet("", (Entry("a.npy", patch),)), threshold=0)
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(answer["zip"])))
    mask = np.load(io.BytesIO(archive.read("masks/402-unet/a.npy")))
    assert not mask[3:5].any()
    assert mask[:3].all()

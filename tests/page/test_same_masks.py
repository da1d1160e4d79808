"""The page, its endpoints and the command line give one file the same mask."""

import asyncio
import base64
import io

import numpy as np
import pytest

from geoseg import Normalisation, create_model, save_checkpoint
from geoseg.__main__ import main
from geoseg.page.api import endpoints
from geoseg.page.live import answer
from geoseg.page.request import Request
from geoseg.page.users import read_uploads
from geoseg.segmenter import Segmenter
from geoseg.synthetic import synthesize
from tests.helpers import ROOT
from tests.helpers.agents import as_data_url

RING = ROOT / "checkpoints" / "3000-ring-unet.safetensors"


def to_npy(image):
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


@pytest.mark.parametrize("columns", [24, 72, 100])
def test_of_any_number_of_columns(columns, tmp_path):
    content = to_npy(synthesize(1, 108, columns=columns, seed=7).images[0].numpy())
    (tmp_path / "x.npy").write_bytes(content)
    out = tmp_path / "out"
    assert main(["segment", f"{tmp_path}/x.npy", "-o", str(out), "--checkpoint", str(RING)]) == 0
    mask = np.load(out / "x" / "mask.npy")
    assert mask.shape == (108, columns)
    assert 0.02 < mask.mean() < 0.5
    segmenter = Segmenter([RING])
    shown = answer(segmenter, read_uploads([("x.npy", content)]), Request.parse({}, [RING.stem]))
    (model,) = shown["models"]
    probability = np.frombuffer(base64.b64decode(model["probability"]), "<f4").reshape(mask.shape)
    np.testing.assert_array_equal(probability > model["threshold"], mask == 1)
    told = asyncio.run(endpoints(segmenter)["segment"](as_data_url(content)))
    np.testing.assert_array_equal(told["models"][RING.stem]["mask"], mask)


def test_of_a_unit_that_was_said(tmp_path):
    """Values of this spread are taken for millimetres unless inches are said."""
    path = tmp_path / "1-fixed.safetensors"
    model = create_model("stacked", width=4)
    save_checkpoint(path, model, normalisation=Normalisation(scale=0.5), threshold=0.45)
    image = np.random.default_rng(0).normal(0, 0.5, (36, 36)).astype(np.float32)
    image -= image.mean(1, keepdims=True)
    segmenter = Segmenter([path])
    expected = segmenter.probabilities(image, interpret=False)["1-fixed"]
    call = endpoints(segmenter)["segment"](
        as_data_url(to_npy(image)), unit="inch", probabilities=True
    )
    told = asyncio.run(call)
    assert told["notes"] == []
    np.testing.assert_array_equal(np.float32(told["models"]["1-fixed"]["probability"]), expected)

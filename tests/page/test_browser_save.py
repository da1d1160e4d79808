"""What the page saves, in Chromium: pictures, arrays, a set, a link, and the tab Help."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.browser import Screen
from benchmarks.server import MODELS, make_patch
from geoseg.page import load_set
from geoseg.page.live import view

pytestmark = pytest.mark.browser
NAMES = list(MODELS)


@pytest.fixture
def screen(screen) -> Screen:
    """Open the page with its tab Save."""
    screen.press("w")
    screen.page.locator("#save-picture").wait_for()
    return screen


def saved(screen: Screen, button: str) -> tuple[str, bytes]:
    """Press a button of the tab; return the name and the content of the downloaded file."""
    with screen.page.expect_download() as waiting:
        screen.page.locator(f"#save-{button}").click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def zipped(screen: Screen, button: str) -> zipfile.ZipFile:
    """Save the whole set; return the file."""
    screen.page.locator(f"#save-{button}").click()
    screen.page.locator("#save-zip").wait_for()
    name, content = saved(screen, "zip")
    assert name == "geoseg.zip"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def copied_link(screen: Screen) -> str:
    """Press the button that copies a link; return the link that is shown."""
    screen.page.locator("#save-copy").click()
    box = screen.page.locator("#save-link textarea")
    box.wait_for()
    screen.page.wait_for_function("document.querySelector('#save-link textarea').value")
    return box.input_value()


def test_saved_arrays_equal_those_on_the_screen(screen):
    screen.press("ArrowRight", "ArrowRight")
    screen.slide("shift", 5)
    screen.slide("threshold", 0.55)
    name, content = saved(screen, "patch")
    assert name == "well_9_patch_10.npy"
    patch = np.load(io.BytesIO(content))
    assert patch.dtype == np.float32
    np.testing.assert_array_equal(patch, screen.array("patch"))
    name, content = saved(screen, "probability")
    assert name == f"well_9_patch_10.{NAMES[0]}.probability.npy"
    probability = np.load(io.BytesIO(content))
    np.testing.assert_array_equal(probability, screen.array("probability", NAMES[0]))
    _, content = saved(screen, "mask")
    mask = np.load(io.BytesIO(content))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, probability > np.float32(0.55))


def test_the_saved_picture_shows_the_panels(screen):
    name, content = saved(screen, "picture")
    assert name == "well_9_patch_0.png"
    picture = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    # Four panels of 648 pixels with 48 between them; below, a line of settings and a legend.
    assert picture.shape == (2 * (34 + 66 + 324 + 62 + 2 * 19 + 12), 4 * 648 + 5 * 48, 3)
    patch = screen.array("patch")
    grey = np.clip((patch + 0.05) / 0.1, 0, 1) * 255
    cells = picture[200 - 28 + 9 :: 18, 48 + 9 :: 18][:36, :36].mean(-1)
    plain = screen.array("classes", NAMES[0]) == 0
    assert np.abs(cells - grey)[plain].mean() < 8


def read_picture(screen: Screen) -> tuple[list[str], np.ndarray]:
    """Return the texts of the saved picture, and its colours."""
    screen.page.evaluate("""() => { window.texts = [];
        const write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
            texts.push(text);
            write.call(this, text, ...rest);
        }; }""")
    _, content = saved(screen, "picture")
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    return screen.page.evaluate("texts"), np.array(picture)


def test_the_saved_picture_has_settings_and_a_legend(screen):
    screen.slide("shift", 5)
    screen.slide("noise", 0.002)
    screen.slide("seed", 3)
    screen.press("Enter", "c", "a")
    texts, picture = read_picture(screen)
    low, high = screen.page.locator(".gs-ramp span").all_inner_texts()
    legend = screen.page.locator(".gs-legend .gs-key").all_inner_texts()
    assert len(legend) == 5
    for text in (
        *("well_9_patch_0.npy", "shift 5", "noise 0.0020 of seed 3", "threshold as trained"),
        *("maps: errors", f"grey from {low} to {high}", "overlay 35 %", *NAMES, *legend),
    ):
        assert text in texts
    assert not any("zoomed" in text for text in texts)
    limit = screen.page.evaluate("geoseg.scene.models[0].judgedAt.toFixed(2)")
    assert any(text.endswith(f"threshold {limit}") for text in texts)
    # The legend has the colours of the selected palette.
    foot = {tuple(rgb) for rgb in picture[-2 * (2 * 19 + 12) :].reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (255, 255, 255), (240, 140, 0), (40, 130, 220), (240, 228, 66)} <= foot


def test_the_saved_picture_shows_the_zoomed_part(screen):
    frame = screen.page.locator(".gs-patch .gs-frame")
    frame.hover()  # which waits until the panels have made room for the tab
    width = frame.bounding_box()["width"]
    frame.dblclick(position={"x": width - 1, "y": 1})  # zooms fourfold into the corner
    screen.press("Shift+ArrowRight", "Shift+ArrowUp", "t")
    screen.slide("opacity", 0)
    texts, picture = read_picture(screen)
    assert "zoomed: rows 0 to 8, columns 27 to 35" in texts
    assert "overlay" not in " ".join(texts)
    grey = np.clip((screen.array("patch") + 0.05) / 0.1, 0, 1) * 255
    cells = picture[172 + 36 :: 72, 48 + 36 :: 72][:9, :9].mean(-1)
    np.testing.assert_allclose(cells, grey[:9, 27:], atol=2)


@pytest.mark.parametrize("button", ["masks", "both"])
def test_the_zip_holds_the_masks_of_the_library(screen, images, segmenter, button):
    screen.slide("shift", 4)
    screen.slide("noise", 0.002)
    screen.slide("seed", 3)
    archive = zipped(screen, button)
    patches = load_set([str(images)], "")
    both = button == "both"
    assert len(archive.namelist()) == 1 + len(patches) * len(NAMES) * (1 + both)
    about = json.loads(archive.read("about.json"))
    assert (about["shift"], about["noise"], about["seed"]) == (4, 0.002, 3)
    for entry in patches.entries:
        shown = view(entry, 4, 0.002, 3).patch
        for model, expected in segmenter.segment(shown).items():
            place = f"{model}/{entry.name}"
            mask = np.load(io.BytesIO(archive.read(f"masks/{place}")))
            assert mask.dtype == np.uint8
            assert (mask != expected.mask).mean() < 0.002  # rounding differs in a batch
            assert about["thresholds"][model] == segmenter.cards[model].threshold
            if both:
                probability = np.load(io.BytesIO(archive.read(f"probabilities/{place}")))
                np.testing.assert_allclose(probability, expected.probability, atol=1e-4)
    assert "5 patches" in screen.page.locator("#save-zip").inner_text()


def test_what_cannot_be_exported_is_told(screen):
    for name in NAMES:
        screen.page.get_by_role("checkbox", name=name).uncheck()
    screen.settle()
    screen.page.locator("#save-masks").click()
    screen.page.get_by_text("No model is ticked; tick one below the panels.").first.wait_for()
    screen.page.locator("#save-cancel").wait_for(state="hidden")
    assert screen.page.locator("#save-zip").is_hidden()
    screen.press("r", "y")
    screen.page.locator("#synthetic-start").click()
    screen.page.wait_for_function("geoseg.state.source === 'synthetic'")
    screen.press("w")
    screen.page.locator("#save-masks").click()
    screen.page.get_by_text("Synthetic pipes have no end").first.wait_for()
    screen.page.locator("#save-cancel").wait_for(state="hidden")


def test_a_link_restores_the_view(screen, open_page):
    screen.press("ArrowRight", "p", "c", "t", "PageDown")
    screen.page.get_by_role("checkbox", name=NAMES[0]).uncheck()
    screen.slide("shift", 11)
    screen.slide("noise", 0.001)
    screen.slide("seed", 42)
    screen.slide("threshold", 0.3)
    screen.slide("opacity", 60)
    link = copied_link(screen)
    assert re.search(r"#.*patch=well_9_patch_5.npy", link)
    other = open_page(link=link)
    for key in (
        *("index", "models", "focus", "shift", "noise", "seed", "threshold", "opacity"),
        *("display", "palette", "truth"),
    ):
        assert other.state(key) == screen.state(key), key
    assert other.name == "well_9_patch_5.npy"
    np.testing.assert_array_equal(other.array("patch"), screen.array("patch"))
    # The address of the page becomes the link a moment later.
    screen.page.wait_for_function(f"location.href === {json.dumps(link)}")


def test_an_invalid_link_opens_the_page_with_defaults(open_page, url):
    words = "shift=99&noise=-3&seed=1e999&threshold=x&models=a,b&display=<b>&palette=__proto__"
    other = open_page(link=f"{url}/#{words}&patch=gone.npy&constructor=1&sheet=none&well=7")
    assert other.state("shift") == 99 % 36
    assert other.state("noise") == 0
    assert other.state("threshold") is None
    assert other.state("models") == []
    assert other.state("display") == "errors"
    assert other.name == "well_9_patch_0.npy"
    assert "no patch called gone.npy" in other.page.locator(".gs-notice").inner_text()


def test_uploads_reopen_only_in_their_own_tab(screen, open_page, tmp_path):
    file = tmp_path / "mine.npy"
    np.save(file, make_patch(21))
    screen.upload(file)
    link = copied_link(screen)
    assert screen.page.get_by_text("files open in this tab only").is_visible()
    assert sorted(zipped(screen, "masks").namelist()) == [
        "about.json",
        *(f"masks/{name}/mine.npy" for name in NAMES),
    ]
    other = open_page(link=link)
    assert other.name == "well_9_patch_0.npy"
    assert (
        "Your files are not on the server any more" in other.page.locator(".gs-notice").inner_text()
    )
    screen.page.goto(link)
    screen.page.reload()
    screen.settle()
    assert screen.name == "mine.npy"
    screen.page.get_by_text("Close your files").click()
    screen.settle()
    screen.page.goto(link)  # closed uploads are deleted
    screen.page.reload()
    screen.settle()
    assert screen.name == "well_9_patch_0.npy"


def test_the_help_lists_keys_colours_and_limits(screen):
    screen.press("?")
    screen.page.locator("#help-keys").wait_for()
    for words in ("previous and next patch", "groove missed", "512 .npy files", "Use via API"):
        assert screen.page.get_by_text(words).first.is_visible()

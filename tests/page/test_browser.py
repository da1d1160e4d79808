"""The page in Chromium: browsing, sliders, displays, uploads."""

import re

import numpy as np
import pytest

from benchmarks.browser import READ
from benchmarks.server import MODELS, make_patch
from geoseg.metrics import METRICS, scores

pytestmark = pytest.mark.browser
NAMES = list(MODELS)
COUNT = 5
BLACK, GREEN, RED, BLUE = (0, 0, 0), (46, 204, 88), (255, 56, 50), (64, 125, 255)


def test_every_slider_has_a_name(screen):
    for name in ("Shift", "Noise", "Threshold", "Overlay"):
        assert screen.page.get_by_role("slider", name=name).count() == 1
    assert screen.page.get_by_role("spinbutton", name="Seed").count() == 1


def test_the_first_patch_is_segmented_without_a_click(screen):
    assert screen.name == "well_9_patch_0.npy"
    assert screen.page.locator(".gs-count").inner_text() == f"of {COUNT}"
    for model in NAMES:
        assert screen.colours(f"[data-model='{model}']") <= {BLACK, GREEN, RED, BLUE}
        facts = screen.page.locator(f"[data-model='{model}'] .gs-facts").inner_text()
        assert re.fullmatch(r"[\d,]+ parameters, \d+\.\d\sms", facts)
    size = screen.page.evaluate("[document.documentElement.scrollHeight, innerHeight]")
    assert size[0] <= size[1], "the page scrolls at 1366x768"


def test_arrow_keys_browse_and_wrap_around(screen):
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_5.npy"
    screen.press("ArrowLeft", "ArrowLeft")
    assert screen.name == "well_9_patch_20.npy"
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_0.npy"
    screen.page.get_by_label("Previous patch").click()
    screen.settle()
    assert screen.name == "well_9_patch_20.npy"
    screen.page.locator(".gs-position").fill("3")
    screen.page.keyboard.press("Enter")
    screen.settle()
    assert screen.name == "well_9_patch_10.npy"


def test_no_key_press_is_lost(screen):
    for _ in range(33):
        screen.page.keyboard.press("ArrowRight")
    screen.settle()
    assert screen.page.evaluate("geoseg.scene.index") == 33 % COUNT


def test_page_keys_focus_the_models_and_wrap_around(screen):
    def focus() -> list[str]:
        return screen.page.locator(".gs-focus").evaluate_all("all => all.map(c => c.dataset.model)")

    tints = []
    for model in [*NAMES, NAMES[0]]:
        assert focus() == [model]
        assert model in screen.page.locator(".gs-patch .gs-note").inner_text()
        tints.append(screen.colours(".gs-patch"))
        screen.press("PageDown")
    assert tints[0] == tints[3]
    assert tints[0] != tints[1]
    screen.press("PageUp", "PageUp")
    assert focus() == [NAMES[-1]]
    screen.page.locator(f"[data-model='{NAMES[1]}']").click()
    assert focus() == [NAMES[1]]


@pytest.mark.parametrize("shift", [1, 7, 35])
def test_shifting_the_patch_shifts_the_mask_of_a_circular_model(screen, shift):
    owner = {"patch": None, "truth": None, "probability": NAMES[0], "classes": NAMES[0]}
    before = {what: screen.array(what, model) for what, model in owner.items()}
    screen.slide("shift", shift)
    for what, model in owner.items():
        turned, expected = screen.array(what, model), np.roll(before[what], shift, 1)
        if what == "probability":
            np.testing.assert_allclose(turned, expected, atol=1e-4)
        else:
            np.testing.assert_array_equal(turned, expected)


def test_noise_depends_only_on_its_seed(screen):
    clean = screen.array("patch")
    screen.slide("noise", 0.003)
    first = screen.array("patch"), screen.array("probability", NAMES[2])
    assert np.std(first[0] - clean) == pytest.approx(0.003, rel=0.1)
    screen.slide("seed", 8)
    assert not np.array_equal(screen.array("patch"), first[0])
    screen.slide("seed", 0)
    np.testing.assert_array_equal(screen.array("patch"), first[0])
    np.testing.assert_allclose(screen.array("probability", NAMES[2]), first[1], atol=1e-6)
    screen.slide("noise", 0)
    np.testing.assert_array_equal(screen.array("patch"), clean)


def test_a_fast_drag_ends_at_its_last_value_and_releases_the_arrow_keys(screen):
    before = screen.array("patch")
    box = screen.page.locator("#control-shift input[type=range]").bounding_box()
    mouse, y = screen.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 8, y)
    mouse.down()
    for step in range(1, 61):
        mouse.move(box["x"] + 8 + step * (box["width"] - 40) / 60, y)
    mouse.up()
    screen.settle()
    shift = screen.state("shift")
    assert 20 < shift < 35
    shown = screen.page.locator("#control-shift input[type=range]")
    assert shown.input_value() == str(shift)
    np.testing.assert_array_equal(screen.array("patch"), np.roll(before, shift, 1))
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_5.npy"
    assert screen.state("shift") == shift


def test_scores_are_those_of_the_library_at_any_threshold(screen):
    asked = screen.page.evaluate("geoseg.asked")
    for threshold in (None, 0.4, 0.52, 1):
        if threshold is not None:
            screen.slide("threshold", threshold)
        for model in screen.page.evaluate("geoseg.facts.models"):
            own = model["threshold"] if threshold is None else threshold
            probability = screen.array("probability", model["name"]).astype(np.float32)
            expected = scores(probability, screen.array("truth"), threshold=own)
            shown = [f"{expected[metric]:.3f}" for metric in METRICS]
            assert screen.shown_scores(model["name"]) == shown
    assert screen.page.evaluate("geoseg.asked") == asked, "the server was asked"


def test_nulls_and_missing_labels_are_shown_differently(screen):
    screen.press("ArrowRight", "ArrowRight")
    assert "108 nulls" in screen.page.locator(".gs-patch .gs-note").inner_text()
    assert "no measurement" in screen.page.locator(".gs-legend").inner_text()
    assert (screen.array("classes", NAMES[0])[4:7] == 4).all()
    screen.press("ArrowRight", "ArrowRight")
    assert "no labels" in screen.page.locator(".gs-patch .gs-note").inner_text()
    assert not screen.page.locator(".gs-scores").first.is_visible()
    assert screen.colours(f"[data-model='{NAMES[0]}']") == {BLACK, (92, 214, 232)}


def test_keys_toggle_the_display_and_reset_it(screen):
    def outline(card: str) -> bool:
        return bool(screen.page.locator(f"{card} .gs-truth").get_attribute("d"))

    card = f"[data-model='{NAMES[0]}']"
    assert outline(".gs-patch")
    screen.press("t")
    assert not outline(".gs-patch")
    screen.press("t", "e")
    assert screen.colours(card) == {BLACK, (92, 214, 232)}
    assert outline(card)
    screen.press("p")
    assert len(screen.colours(card)) > 20
    screen.press("p", "c")
    assert screen.colours(card) <= {BLACK, (255, 255, 255), (240, 140, 0), (40, 130, 220)}
    assert screen.page.locator(".gs-ramp span").first.inner_text() == "\u22120.050"
    patch = np.sort(screen.array("patch").ravel())
    for lowest in (patch[round(0.01 * (patch.size - 1))], patch[0], -0.05):
        screen.press("a")
        ramp = screen.page.locator(".gs-ramp span").first.inner_text()
        assert ramp == f"\u2212{-lowest:.3f}"
    screen.press("a", "Equal")
    screen.slide("shift", 9)
    screen.press("r")
    initial = {"shift": 0, "grey": "fixed", "palette": "classic", "display": "errors"}
    assert initial == {key: screen.state(key) for key in initial}
    assert screen.page.evaluate("geoseg.zoom.view.k") == 1


def test_uncertainty_and_disagreement_show_the_right_values(screen):
    probabilities = {model: screen.array("probability", model) for model in NAMES}
    screen.press("d")
    for model, own in probabilities.items():
        others = np.mean([p for name, p in probabilities.items() if name != model], 0)
        shown = screen.array("disagreement", model)
        np.testing.assert_allclose(shown, np.abs(own - others), atol=1e-6)
    assert "mean of the other models" in screen.page.locator(".gs-legend").inner_text()
    assert len(screen.colours(f"[data-model='{NAMES[0]}']")) > 20
    screen.press("u")
    assert "undecided" in screen.page.locator(".gs-legend").inner_text()
    undecided = 1 - np.abs(2 * probabilities[NAMES[0]] - 1)
    colours = screen.page.locator(f"[data-model='{NAMES[0]}'] canvas").evaluate(READ)
    brightness = np.array(colours).reshape(-1, 4)[:, :3].sum(1)
    assert np.corrcoef(brightness, undecided.ravel())[0, 1] > 0.95
    screen.press("u")
    assert screen.state("display") == "errors"
    # Disagreement needs two models.
    for model in NAMES[:2]:
        screen.page.get_by_role("checkbox", name=model).uncheck()
    screen.settle()
    screen.press("d")
    assert "two models" in screen.page.locator(".gs-notice").inner_text()
    assert screen.state("display") == "errors"


def test_models_can_be_shown_and_hidden(screen):
    boxes = [screen.page.get_by_role("checkbox", name=model) for model in NAMES]
    boxes[0].uncheck()
    screen.settle()
    cards = screen.page.locator(".gs-card[data-model]")
    assert cards.evaluate_all("all => all.map(c => c.dataset.model)") == NAMES[1:]
    assert screen.page.evaluate("geoseg.scene.models.length") == 2
    boxes[1].uncheck()
    boxes[2].uncheck()
    screen.settle()
    assert "No model is chosen" in screen.page.locator(".gs-panels").inner_text()
    boxes[2].check()
    screen.settle()
    assert cards.count() == 1


def test_help_lists_the_keys_which_work_while_it_is_open(screen):
    screen.press("?")
    keys = screen.page.locator("#help-keys")
    keys.wait_for()
    for word in ("Page Down", "errors", "palette"):
        assert word in keys.inner_text()
    assert "512 .npy files" in screen.page.locator("#help-limits").inner_text()
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_5.npy"
    screen.press("Escape", "ArrowLeft", "ArrowRight")
    assert screen.name == "well_9_patch_5.npy"


def test_the_pointer_reads_the_same_pixel_everywhere(screen):
    box = screen.page.locator(f"[data-model='{NAMES[1]}'] canvas").bounding_box()
    screen.page.mouse.move(box["x"] + box["width"] * 7.5 / 36, box["y"] + box["height"] * 2.5 / 36)
    text = screen.page.locator(".gs-readout").inner_text()
    assert text.startswith("Row 2, column 7")
    assert f"{NAMES[0]} {screen.array('probability', NAMES[0])[2, 7]:.3f}" in text
    marks = screen.page.locator(".gs-pointer").evaluate_all(
        "all => all.map(p => p.getAttribute('d'))"
    )
    assert set(marks) == {"M7 2h1v1h-1z"}


def test_uploads_report_broken_files_and_show_the_others(screen, open_page, tmp_path):
    files = [tmp_path / f"mine_{i}.npy" for i in (10, 9, 1)]
    for i, file in enumerate(files):
        np.save(file, make_patch(20 + i))
    broken = tmp_path / "<img src=x onerror=alert(1)>.npy"
    broken.write_bytes(b"\x93NUMPY\x01\x00")
    note = tmp_path / "note.txt"
    note.write_text("hello")
    screen.upload(*files, broken, note)
    notice = screen.page.locator(".gs-notice")
    assert "3 patches opened" in notice.inner_text()
    assert f"{broken.name} The file is truncated" in notice.inner_text()
    assert "note.txt The file is not a .npy file" in notice.inner_text()
    assert notice.locator("img").count() == 0
    seen = [screen.name]
    for _ in range(3):
        screen.press("ArrowRight")
        seen.append(screen.name)
    assert seen == ["mine_1.npy", "mine_9.npy", "mine_10.npy", "mine_1.npy"]
    np.testing.assert_allclose(screen.array("patch"), make_patch(22))
    # Another user does not see the uploads, even if the browser asks for them.
    other = open_page()
    other.page.evaluate("geoseg.state.source = 'uploads'")
    other.press("ArrowRight")
    assert other.name == "well_9_patch_5.npy"
    screen.page.get_by_text("Close your files").click()
    screen.page.wait_for_function("geoseg.state.source === 'start'")
    screen.settle()
    assert screen.name == "well_9_patch_0.npy"


def test_files_can_be_dropped_anywhere(screen, tmp_path):
    np.save(tmp_path / "mine.npy", make_patch(9))
    data = screen.page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'mine.npy'));
            return transfer;
        }""",
        list((tmp_path / "mine.npy").read_bytes()),
    )
    screen.page.dispatch_event(".gs-legend", "dragenter", {"dataTransfer": data})
    assert screen.page.locator(".gs-dropping").count() == 1
    screen.page.dispatch_event(".gs-legend", "drop", {"dataTransfer": data})
    assert screen.page.locator(".gs-dropping").count() == 0
    screen.page.wait_for_function("geoseg.state.source === 'uploads'")
    screen.settle()
    assert screen.name == "mine.npy"
    np.testing.assert_allclose(screen.array("patch"), make_patch(9))


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_a_long_message_hides_no_name_and_scrolls_inside(open_page, tmp_path, width, height):
    screen = open_page(width, height)
    files = [tmp_path / f"bad_{i}.npy" for i in range(40)]
    for file in files:
        file.write_bytes(b"nothing")
    screen.page.locator("#header input[type=file]").set_input_files([str(file) for file in files])
    screen.page.get_by_text("None of these files can be shown.").wait_for()
    notice = screen.page.locator(".gs-notice").bounding_box()
    assert notice["height"] < 0.25 * height
    assert notice["y"] + notice["height"] <= height
    for head in screen.page.locator(".gs-head").all()[: 4 if width > 400 else 1]:
        box = head.bounding_box()
        assert box["y"] + box["height"] <= notice["y"]
    text = screen.page.locator(".gs-notice-text")
    assert text.evaluate("text => text.scrollHeight > 3 * text.clientHeight")
    text.evaluate("text => text.scrollTo(0, text.scrollHeight)")
    assert screen.page.get_by_label("Close this message").is_visible()


def test_an_upload_without_readable_files_changes_nothing(screen, tmp_path):
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"nothing")
    screen.page.locator("#header input[type=file]").set_input_files(str(bad))
    screen.page.get_by_text("None of these files can be shown.").wait_for()
    assert "bad.npy" in screen.page.locator(".gs-notice").inner_text()
    screen.press("Escape", "ArrowRight")
    assert screen.page.locator(".gs-notice").is_hidden()
    assert screen.name == "well_9_patch_5.npy"


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1280, 720)])
def test_the_page_does_not_scroll(open_page, width, height):
    screen = open_page(width, height)
    for models in (3, 2, 1):
        size = screen.page.evaluate("[document.documentElement.scrollHeight, innerHeight]")
        assert size[0] <= size[1], models
        screen.page.get_by_role("checkbox", name=NAMES[models - 1]).uncheck()
        screen.settle()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (360, 740), (1024, 768), (2560, 1440)])
def test_nothing_scrolls_sideways(open_page, width, height):
    screen = open_page(width, height, "dark")
    across = screen.page.evaluate("""Math.max(...[...document.querySelectorAll('.gs *')]
        .filter(element => !element.closest('.gs-film')) // which scrolls by itself
        .map(element => element.getBoundingClientRect().right))""")
    assert across <= width
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_two_uploads_of_equally_many_files_are_both_shown(screen, tmp_path):
    for i in (1, 2):
        file = tmp_path / f"mine_{i}.npy"
        np.save(file, make_patch(40 + i))
        screen.page.locator("#header input[type=file]").set_input_files(str(file))
        screen.page.wait_for_function(f"geoseg.scene.name === 'mine_{i}.npy'")
        screen.settle()
    assert screen.page.locator(".gs-notice").is_hidden()


def test_the_readout_follows_to_the_next_patch(screen):
    box = screen.page.locator(".gs-patch canvas").bounding_box()
    screen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    screen.press("ArrowRight")
    value = f"{abs(screen.array('patch')[18, 18]):.4f}"
    assert value in screen.page.locator(".gs-readout").inner_text()


def test_a_link_pasted_into_the_open_page_is_followed(screen):
    screen.page.evaluate("location.hash = 'shift=7&display=mask&patch=well_9_patch_10.npy'")
    screen.page.wait_for_function("geoseg.scene.name === 'well_9_patch_10.npy' && geoseg.settled")
    assert (screen.state("shift"), screen.state("display")) == (7, "mask")
    screen.slide("threshold", 0.3)
    assert screen.state("threshold") == 0.3
    own = screen.page.get_by_role("checkbox", name="Each model's threshold")
    own.check()
    screen.page.wait_for_function("geoseg.state.threshold === null")

"""Views in Chromium: the strip, search, prefetching, zoom, touch, full screen, accessibility."""

import re

import numpy as np
import pytest

from benchmarks.browser import READ, Screen
from benchmarks.server import MODELS
from geoseg.page.catalogue import small_picture

pytestmark = pytest.mark.browser
NAMES = list(MODELS)
COUNT, ALL = 60, 66  # patches of well 9, and of the whole set

# Contrast of every visible text against the nearest painted background, by WCAG 2.2.
CONTRAST = """() => {
    const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const numbers = text => text.match(/[\\d.]+/g) // color-mix() counts to 1
        .map((v, i) => v * (i < 3 && text.startsWith('color(') ? 255 : 1));
    const ground = node => {
        for (let at = node; at; at = at.parentElement) {
            const colour = numbers(getComputedStyle(at).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.99) return colour;
        }
        return [255, 255, 255];
    };
    const faults = [];
    const seen = { visibilityProperty: true, opacityProperty: true };
    for (const node of document.querySelectorAll('.gs *')) {
        const own = [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!own || !node.checkVisibility(seen)) continue;
        if (node.closest(':disabled, .gs-frame')) continue; // no text to be read; over a picture
        const [a, b] = [numbers(getComputedStyle(node).color), ground(node)].map(luminance);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) faults.push(`${node.className} ${node.textContent}: ${ratio.toFixed(2)}`);
    }
    return faults;
}"""


@pytest.fixture(scope="module")
def url(large_set_url) -> str:
    """Return the address of the page of the large set."""
    return large_set_url


def selected(screen: Screen) -> list[str]:
    return screen.page.locator(".gs-cell[aria-selected=true]").evaluate_all(
        "all => all.map(cell => cell.title)"
    )


def test_the_strip_shows_the_set_and_opens_a_patch(screen):
    assert selected(screen) == ["1: well_3_patch_2.npy"]
    cells = screen.page.locator(".gs-cell")
    assert 15 < cells.count() < 40, "only visible cells are made"
    cells.nth(3).click()
    screen.settle()
    assert screen.name == "well_9_patch_10.npy"
    assert selected(screen) == ["4: well_9_patch_10.npy"]
    picture = screen.page.locator(".gs-cell canvas").nth(3)
    screen.page.wait_for_function("document.querySelectorAll('.gs-cell canvas')[3].width")
    shown = np.array(picture.evaluate(READ)).reshape(36, 36, 4)[..., 0]
    np.testing.assert_array_equal(shown, small_picture(screen.array("patch").astype(np.float32)))
    # Browsing backwards goes from the first patch to the last, and the strip follows.
    screen.press(*["ArrowLeft"] * 4)
    assert screen.name == "z4.npy"
    assert selected(screen) == ["66: z4.npy"]
    box = screen.page.locator(".gs-cell[aria-selected=true]").bounding_box()
    film = screen.page.locator(".gs-film").bounding_box()
    assert film["x"] <= box["x"] <= film["x"] + film["width"] - box["width"]


def test_the_set_can_be_filtered_by_well(screen):
    well = screen.page.get_by_label("Wells that are shown")
    wells = ["Every well", "Well 3", "Well 9", "Well 12", "Without a well"]
    assert well.locator("option").all_inner_texts() == wells
    well.select_option("Well 12")
    screen.settle()
    assert screen.name == "well_12_patch_2.npy"
    assert screen.page.locator(".gs-count").inner_text() == "of 1"
    screen.press("ArrowRight")
    assert screen.name == "well_12_patch_2.npy"
    well.select_option("Well 9")
    screen.settle()
    screen.press("ArrowLeft")
    assert screen.name == "well_9_patch_295.npy"
    assert screen.page.locator(".gs-position").input_value() == str(COUNT)
    well.select_option("Every well")
    assert screen.page.locator(".gs-count").inner_text() == f"of {ALL}"


def test_a_patch_is_found_by_its_name(screen):
    screen.page.keyboard.press("/")
    screen.page.keyboard.type("PATCH_150")
    screen.press("Enter")
    assert screen.name == "well_9_patch_150.npy"
    screen.press("ArrowRight")
    assert screen.name == "well_9_patch_155.npy"
    screen.page.keyboard.press("/")
    screen.page.keyboard.type("nowhere")
    screen.press("Enter")
    assert screen.name == "well_9_patch_155.npy"
    assert "No patch has nowhere in its name" in screen.page.locator(".gs-notice").inner_text()


def test_neighbours_of_the_patch_are_prefetched(screen):
    screen.press("ArrowRight")
    screen.page.wait_for_timeout(600)
    screen.page.evaluate("geoseg.transport.call = () => {}")  # no request reaches the server
    screen.page.keyboard.press("ArrowRight")
    screen.page.wait_for_function("geoseg.scene.name === 'well_9_patch_5.npy'", timeout=1000)
    screen.page.keyboard.press("ArrowLeft")
    screen.page.wait_for_function("geoseg.scene.name === 'well_9_patch_0.npy'", timeout=1000)


def test_a_model_runs_once_for_an_input(screen):
    screen.page.evaluate("""() => {
        window.asked = [];
        const { call } = geoseg.transport;
        geoseg.transport.call = (name, message, heard) => {
            if (name === 'look') asked.push(message.models);
            call(name, message, heard);
        };
    }""")
    box = screen.page.get_by_role("checkbox", name=NAMES[1])
    box.uncheck()
    box.check()
    screen.press("e", "p", "c", "t", "a", "u")
    screen.slide("threshold", 0.2)
    screen.slide("shift", 3)
    screen.slide("shift", 0)
    screen.settle()
    assert screen.page.evaluate("asked") == [NAMES]


# Replaces the server by one that answers at once, with patches of 65,536 pixels.
LARGE = """() => {
    window.asked = [];
    const floats = btoa('\\0'.repeat(2 ** 18));
    geoseg.transport.call = (kind, { index, source, models }, heard) => {
        if (kind !== 'look') return;
        asked.push(index);
        setTimeout(() => heard({
            source, index, label: '', count: 50, name: `large ${index}`, facts: {},
            shape: [256, 256], patch: floats, truth: null, stages: {}, notes: [],
            models: models.map(name => (
                { name, parameters: 1, milliseconds: 1, threshold: 0.5, probability: floats })),
        }, true));
    };
}"""


def test_the_cache_of_answers_is_bounded_by_size(screen):
    """With three models an answer has 2 MiB; 32 of them are kept, and far more small ones."""

    def asked(*places: int) -> list[int]:
        for place in places:
            screen.page.locator(".gs-position").fill(str(place + 1))
            screen.press("Enter")
            assert screen.page.evaluate("geoseg.scene.index") == place
        return screen.page.evaluate("asked.splice(0)")

    screen.page.evaluate(LARGE)
    assert asked(*range(1, 41)) == [*range(1, 41)]
    assert asked(40, 11, 10, 40, 3) == [3]


def test_all_panels_share_the_zoom(screen):
    frame = screen.page.locator(".gs-patch .gs-frame")
    box = frame.bounding_box()
    x, y = box["x"] + box["width"] * 9.5 / 36, box["y"] + box["height"] * 27.5 / 36
    screen.page.mouse.move(x, y)
    before = screen.page.locator(".gs-readout").inner_text()
    assert before.startswith("Row 27, column 9")
    screen.page.mouse.wheel(0, -400)
    screen.page.wait_for_function("geoseg.zoom.view.k > 3")
    screen.page.mouse.move(x + 1, y)
    assert screen.page.locator(".gs-readout").inner_text().startswith("Row 27, column 9")
    sizes = screen.page.locator(".gs-frame canvas").evaluate_all(
        "all => all.map(c => Math.round(c.getBoundingClientRect().width))"
    )
    assert len(set(sizes)) == 1
    assert sizes[0] > 3 * box["width"]
    screen.page.mouse.down()
    screen.page.mouse.move(x - 60, y, steps=4)
    screen.page.mouse.up()
    screen.page.mouse.move(x, y)
    column = int(re.search(r"column (\d+)", screen.page.locator(".gs-readout").inner_text())[1])
    assert column > 9, "dragging moves the picture"
    screen.press("0")
    assert screen.page.evaluate("geoseg.zoom.view.k") == 1
    screen.press("+")
    assert screen.page.evaluate("geoseg.zoom.view.k") == pytest.approx(1.5)
    screen.press("-")
    frame.dblclick()
    assert screen.page.evaluate("geoseg.zoom.view.k") == pytest.approx(4)
    frame.dblclick()
    assert screen.page.evaluate("geoseg.zoom.view.k") == 1


def touch(session, kind: str, *points: tuple[float, float]) -> None:
    where = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": where})


def test_touch_gestures_browse_and_zoom(open_page):
    screen = open_page(390, 844, has_touch=True)
    finger = screen.page.context.new_cdp_session(screen.page)
    box = screen.page.locator(".gs-patch .gs-frame").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch(finger, "Start", (x + 60, y))
    for step in range(1, 7):
        touch(finger, "Move", (x + 60 - 20 * step, y))
    touch(finger, "End")
    screen.page.wait_for_function("geoseg.scene.name === 'well_9_patch_0.npy'")
    touch(finger, "Start", (x - 20, y), (x + 20, y))
    for step in range(1, 7):
        touch(finger, "Move", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
    touch(finger, "End")
    assert 2 < screen.page.evaluate("geoseg.zoom.view.k") < 6
    assert screen.name == "well_9_patch_0.npy"
    screen.page.get_by_label("Next patch").tap()
    screen.settle()
    assert screen.name == "well_9_patch_5.npy"


def test_full_screen_can_be_entered_and_left(screen):
    screen.page.keyboard.press("f")
    screen.page.wait_for_function("document.fullscreenElement !== null")
    screen.page.get_by_role("button", name="Full screen").click()
    screen.page.wait_for_function("document.fullscreenElement === null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_every_text_has_contrast_and_every_control_a_name(open_page, scheme, width):
    screen = open_page(width, 844, scheme)
    for sheet in (None, "set", "labels", "probe", "synthetic", "save", "help"):
        if sheet:
            screen.page.evaluate(f"geoseg.open('{sheet}')")
            screen.page.get_by_role("tab", name=sheet.capitalize(), selected=True).wait_for()
        assert screen.page.evaluate(CONTRAST) == [], sheet
        assert screen.page.evaluate("document.documentElement.scrollWidth") <= width
        for role in ("button", "slider", "checkbox", "spinbutton", "combobox", "textbox"):
            nameless = screen.page.get_by_role(role).evaluate_all(
                "all => all.filter(c => !(c.getAttribute('aria-label') || c.textContent.trim() "
                "|| [...(c.labels || [])].map(l => l.textContent.trim()).join('')))"
                ".map(c => c.outerHTML)"
            )
            assert nameless == [], (sheet, role)
